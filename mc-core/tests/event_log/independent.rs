//! A second program for the same bytes: written from `docs/event-log.md`, with SHA-256 alone.
//!
//! It uses nothing of the audit module, so the format does not only agree with itself.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{file, hex_lines, unhex};

fn sha(pieces: &[&[u8]]) -> Vec<u8> {
    Sha256::digest(pieces.concat()).to_vec()
}

fn big(value: u64, bytes: usize) -> Vec<u8> {
    value.to_be_bytes()[8 - bytes..].to_vec()
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

fn lp(text: &str) -> Vec<u8> {
    [&big(count(text.as_bytes()), 2), text.as_bytes()].concat()
}

fn part_commitment(salt: &[u8], media_type: &str, bytes: &[u8]) -> Vec<u8> {
    let length = big(count(bytes), 8);
    sha(&[b"mc-part/v1\n", salt, &length, &lp(media_type), bytes])
}

fn content_commitment(parts: &[Vec<u8>]) -> Vec<u8> {
    if parts.is_empty() {
        return vec![0; 32];
    }
    sha(&[b"mc-content/v1\n", &parts.concat()])
}

fn genesis(run: &[u8], facts: &str) -> Vec<u8> {
    let facts: Value = serde_json::from_str(facts).unwrap();
    match facts["definition_hash"].as_str() {
        Some(hash) if run != [0; 16] => sha(&[b"mc-run/v1\n", run, &unhex(hash)]),
        _ => vec![0; 32],
    }
}

fn root(leaves: &[Vec<u8>]) -> Vec<u8> {
    match leaves {
        [] => sha(&[]),
        [leaf] => leaf.clone(),
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            sha(&[&[1], &root(&leaves[..k]), &root(&leaves[k..])])
        }
    }
}

fn header(workspace: &[u8], seq: u64, record: &Value, prev: &[u8]) -> Vec<u8> {
    let text = |key: &str| record[key].as_str().unwrap();
    let number = |key: &str| record[key].as_u64().unwrap();
    let parts = record["parts"].as_array().unwrap().iter().map(|part| {
        let text = |key: &str| part[key].as_str().unwrap();
        part_commitment(
            &unhex(text("salt")),
            text("media_type"),
            text("bytes").as_bytes(),
        )
    });
    let parts: Vec<Vec<u8>> = parts.collect();
    let facts = text("facts").as_bytes();
    [
        b"mc-event/v1\n".to_vec(),
        workspace.to_vec(),
        big(seq, 8),
        unhex(text("run")),
        big(number("run_seq"), 8),
        prev.to_vec(),
        big(number("epoch"), 8),
        big(number("ts"), 8),
        lp(text("type")),
        lp(text("actor")),
        lp(text("auth_method")),
        big(number("schema_ver"), 2),
        unhex(text("cmd")),
        big(count(facts), 4),
        sha(&[b"mc-facts/v1\n", facts]),
        big(u64::try_from(parts.len()).unwrap(), 2),
        content_commitment(&parts),
    ]
    .concat()
}

#[test]
fn the_documentation_alone_gives_the_golden_bytes() {
    let all: Value = serde_json::from_str(&file("records.json")).unwrap();
    let workspace = unhex(all["workspace"].as_str().unwrap());
    let mut heads = BTreeMap::<String, Vec<u8>>::new();
    let (mut headers, mut leaves) = (Vec::new(), Vec::new());
    for (seq, record) in (0..).zip(all["records"].as_array().unwrap()) {
        let run = record["run"].as_str().unwrap();
        let first = genesis(&unhex(run), record["facts"].as_str().unwrap());
        let prev = heads.get(run).unwrap_or(&first);
        let bytes = header(&workspace, seq, record, prev);
        let hash = sha(&[&[0], &bytes]);
        heads.insert(run.to_owned(), hash.clone());
        headers.push(bytes);
        leaves.push(hash);
    }
    assert_eq!(headers, hex_lines("headers.hex"));
    assert_eq!(leaves, hex_lines("event_hashes.hex"));
    let roots: Vec<Vec<u8>> = (1..=leaves.len())
        .map(|size| root(&leaves[..size]))
        .collect();
    assert_eq!(roots, hex_lines("roots.hex"));
}

fn base64(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Takes a header's fields at the offsets of the table: run, previous hash, facts hash, content.
fn fields(header: &[u8]) -> (&[u8], &[u8], &[u8], &[u8]) {
    let end = header.len();
    (
        &header[36..52],
        &header[60..92],
        &header[end - 66..end - 34],
        &header[end - 32..],
    )
}

fn commitments(parts: &Value) -> Vec<Vec<u8>> {
    let parts = parts.as_array().unwrap().iter().map(|part| {
        if part["bytes"].is_null() {
            return base64(&part["commitment"]);
        }
        let media_type = part["media_type"].as_str().unwrap();
        part_commitment(&base64(&part["salt"]), media_type, &base64(&part["bytes"]))
    });
    parts.collect()
}

#[test]
fn the_golden_export_verifies_by_the_documentation_alone() {
    let export = file("export.jsonl");
    let lines: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (tree, events) = lines[1..].split_last().unwrap();
    let mut heads = BTreeMap::<Vec<u8>, Vec<u8>>::new();
    let mut leaves = Vec::new();
    for (seq, line) in (0_u64..).zip(events) {
        let header = base64(&line["header"]);
        let facts = line["facts"].as_str().unwrap();
        let (run, prev, facts_hash, content) = fields(&header);
        assert_eq!(
            (line["seq"].as_u64(), &header[28..36]),
            (Some(seq), &big(seq, 8)[..])
        );
        assert_eq!(facts_hash, sha(&[b"mc-facts/v1\n", facts.as_bytes()]));
        assert_eq!(content, content_commitment(&commitments(&line["parts"])));
        let expected = heads
            .get(run)
            .cloned()
            .unwrap_or_else(|| genesis(run, facts));
        assert_eq!(prev, expected, "{seq}");
        let hash = sha(&[&[0], &header]);
        heads.insert(run.to_vec(), hash.clone());
        leaves.push(hash);
    }
    assert_eq!(tree["tree_size"], 10);
    let nodes: Vec<Vec<u8>> = tree["frontier"]
        .as_array()
        .unwrap()
        .iter()
        .map(base64)
        .collect();
    assert_eq!(nodes, [root(&leaves[..8]), root(&leaves[8..])]);
}

#[test]
fn the_golden_redriven_run_verifies_by_the_documentation_alone() {
    let export = file("redriven.jsonl");
    let mut lines = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(lines.next().unwrap()["run"].is_string());
    let (mut head, mut sealed, mut seals) = (Vec::new(), false, 0);
    for (run_seq, line) in (0_u64..).zip(lines) {
        let header = base64(&line["header"]);
        let facts = line["facts"].as_str().unwrap();
        let (run, prev, facts_hash, content) = fields(&header);
        let first = run_seq == 0;
        assert_eq!(
            prev,
            if first {
                genesis(run, facts)
            } else {
                head.clone()
            }
        );
        assert_eq!(header[52..60], big(run_seq, 8));
        assert_eq!(facts_hash, sha(&[b"mc-facts/v1\n", facts.as_bytes()]));
        assert_eq!(content, content_commitment(&commitments(&line["parts"])));
        let kind = line["type"].as_str().unwrap();
        assert!(!sealed || kind == "run.redriven", "{kind} follows a seal");
        sealed = kind == "run.sealed";
        if sealed {
            let facts: Value = serde_json::from_str(facts).unwrap();
            let named = unhex(facts["last_event_hash"].as_str().unwrap());
            let count = facts["event_count"].as_u64();
            assert_eq!((count, named), (Some(run_seq), head));
            seals += 1;
        }
        head = sha(&[&[0], &header]);
    }
    assert!(sealed && seals == 2);
}
