//! Today's code reads and writes the golden bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use mc_core::audit::{
    ExportVerifier, Frontier, Line, RunFacts, Scope, Sealer, Verifier, decode_header, frame,
    parse_line, part_commitment, run_genesis,
};
use mc_core::event::{MediaType, Part, PartContent, Record};
use mc_core::id::{CommandId, Digest, RunId, WorkspaceId};
use mc_core::time::Timestamp;
use serde_json::Value;

use super::{file, hex_lines, unhex};

type Blobs = BTreeMap<Digest, Arc<[u8]>>;

fn id<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value.as_str().unwrap()).try_into().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn record(seq: usize, value: &Value, blobs: &mut Blobs) -> Record {
    Record {
        seq: u64::try_from(seq).unwrap(),
        run_id: RunId::from_bytes(id(&value["run"])),
        run_seq: value["run_seq"].as_u64().unwrap(),
        epoch: value["epoch"].as_u64().unwrap(),
        ts: Timestamp::from_unix_us(value["ts"].as_i64().unwrap()),
        kind: Arc::from(text(&value["type"])),
        actor: text(&value["actor"]).parse().unwrap(),
        auth_method: text(&value["auth_method"]).parse().unwrap(),
        schema_ver: u16::try_from(value["schema_ver"].as_u64().unwrap()).unwrap(),
        cmd_id: CommandId::from_bytes(id(&value["cmd"])),
        facts: Arc::from(text(&value["facts"])),
        parts: value["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| part(value, blobs))
            .collect(),
    }
}

fn part(value: &Value, blobs: &mut Blobs) -> Part {
    let bytes: Arc<[u8]> = text(&value["bytes"]).as_bytes().into();
    let media_type = MediaType::parse(text(&value["media_type"])).unwrap();
    let salt = id(&value["salt"]);
    let len = u64::try_from(bytes.len()).unwrap();
    let (salt, content) = match text(&value["storage"]) {
        "inline" => (salt, PartContent::Inline(bytes)),
        "blob" => {
            let digest = Digest::of(&[&bytes]);
            blobs.insert(digest, bytes);
            (salt, PartContent::Blob(digest))
        }
        _ => {
            let commitment = part_commitment(&salt, media_type, &bytes);
            ([0; 16], PartContent::Erased(commitment))
        }
    };
    Part {
        salt,
        len,
        media_type,
        content,
    }
}

fn golden() -> (WorkspaceId, Vec<Record>, Blobs) {
    let all: Value = serde_json::from_str(&file("records.json")).unwrap();
    let mut blobs = Blobs::new();
    let records = all["records"].as_array().unwrap().iter().enumerate();
    let records = records
        .map(|(seq, value)| record(seq, value, &mut blobs))
        .collect();
    (
        WorkspaceId::from_bytes(id(&all["workspace"])),
        records,
        blobs,
    )
}

/// Headers and event hashes of the golden records.
fn sealed() -> (Vec<Vec<u8>>, Vec<Digest>) {
    let (workspace, records, blobs) = golden();
    let find = |_: RunId, digest: &Digest| blobs.get(digest).cloned();
    let mut sealer = Sealer::new(workspace);
    let mut heads = BTreeMap::<RunId, Digest>::new();
    let (mut headers, mut hashes) = (Vec::new(), Vec::new());
    for record in &records {
        let definition = RunFacts::read(&record.facts).unwrap().definition_hash;
        let genesis = run_genesis(record.run_id, definition.as_ref());
        let prev = *heads.get(&record.run_id).unwrap_or(&genesis);
        let hash = sealer.seal(record, &prev, &find).unwrap();
        heads.insert(record.run_id, hash);
        headers.push(sealer.header().to_vec());
        hashes.push(hash);
    }
    (headers, hashes)
}

#[test]
fn headers_and_hashes_are_the_golden_ones() {
    let (headers, hashes) = sealed();
    assert_eq!(headers, hex_lines("headers.hex"));
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect();
    assert_eq!(hashes, hex_lines("event_hashes.hex"));
}

#[test]
fn golden_headers_say_what_their_records_say() {
    let (workspace, records, _) = golden();
    for (record, bytes) in records.iter().zip(hex_lines("headers.hex")) {
        let header = decode_header(&bytes).unwrap();
        assert_eq!((header.workspace_id, header.seq), (workspace, record.seq));
        assert_eq!((header.kind, &header.actor), (&*record.kind, &record.actor));
        assert_eq!(header.ts, record.ts);
    }
}

#[test]
fn roots_of_one_to_ten_leaves_are_the_golden_ones() {
    let mut frontier = Frontier::new();
    for (hash, root) in sealed().1.into_iter().zip(hex_lines("roots.hex")) {
        frontier.push(hash);
        assert_eq!(
            frontier.root().as_bytes().to_vec(),
            root,
            "{}",
            frontier.size()
        );
    }
    assert_eq!(frontier.size(), 10);
}

#[test]
fn the_golden_frame_is_read_and_written() {
    let (_, records, _) = golden();
    let [bytes] = hex_lines("frame.hex").try_into().unwrap();
    assert_eq!(frame::decode(0, &bytes).unwrap(), records);
    assert_eq!(frame::encode(&records), bytes);
}

#[test]
fn golden_export_lines_are_read_and_written() {
    for line in file("export.jsonl").lines() {
        let read = parse_line(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(read.to_bytes()).unwrap(), line);
    }
}

#[test]
fn the_golden_records_make_the_golden_export() {
    let (_, records, blobs) = golden();
    let find = |_: RunId, digest: &Digest| blobs.get(digest).cloned();
    let headers = sealed().0;
    let lines = records.iter().zip(&headers).map(|(record, header)| {
        let line = mc_core::audit::EventLine::of(record, header, &find).unwrap();
        String::from_utf8(Line::Event(line).to_bytes()).unwrap()
    });
    let export = file("export.jsonl");
    let expected: Vec<&str> = export.lines().skip(1).take(records.len()).collect();
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn the_golden_log_verifies_as_records_and_as_lines() {
    let (workspace, records, blobs) = golden();
    let find = |_: RunId, digest: &Digest| blobs.get(digest).cloned();
    let mut verifier = Verifier::new(workspace, Scope::Workspace);
    for record in &records {
        verifier.record(record, &find);
    }
    let by_record = verifier.finish();
    let export = file("export.jsonl");
    let mut lines = export.lines().map(str::as_bytes);
    let mut verifier = ExportVerifier::open(lines.next().unwrap()).unwrap();
    lines.for_each(|line| verifier.line(line));
    let by_line = verifier.finish();
    assert_eq!((by_record.first_bad, by_line.first_bad), (None, None));
    assert_eq!(by_record.tree, by_line.tree);
    assert_eq!((by_line.events, by_line.runs, by_line.unsealed), (10, 2, 1));
    assert_eq!((by_line.parts_verified, by_line.redacted), (4, 1));
    assert!(by_line.end_verified && !by_record.end_verified);
}

/// What the export of the golden redriven run says, cut behind so many lines.
fn redriven(lines: usize) -> (Option<mc_core::audit::Fault>, u64, bool) {
    let export = file("redriven.jsonl");
    let mut lines = export.lines().take(lines).map(str::as_bytes);
    let mut verifier = ExportVerifier::open(lines.next().unwrap()).unwrap();
    lines.for_each(|line| verifier.line(line));
    let report = verifier.finish();
    (report.first_bad, report.unsealed, report.end_verified)
}

#[test]
fn a_redriven_run_is_whole_at_each_of_its_seals_and_open_in_between() {
    for (lines, sealed) in [(4, false), (5, true), (6, false), (8, false), (9, true)] {
        let expected = (None, u64::from(!sealed), sealed);
        assert_eq!(redriven(lines), expected, "{lines}");
    }
}

#[test]
fn behind_a_seal_comes_nothing_but_a_redrive() {
    let export = file("redriven.jsonl");
    let lines: Vec<&str> = export.lines().collect();
    let mut verifier = ExportVerifier::open(lines[0].as_bytes()).unwrap();
    lines[1..=4]
        .iter()
        .for_each(|line| verifier.line(line.as_bytes()));
    verifier.line(lines[6].as_bytes());
    let fault = verifier.finish().first_bad.unwrap();
    assert_eq!(fault.seq, 8);
}
