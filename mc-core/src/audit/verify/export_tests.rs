//! Every change to an export is found at its event.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;

use crate::audit::testing::Log;
use crate::audit::{ExportVerifier, Fault, Line, Reason, Report, parse_line};
use crate::id::RunId;

fn verify(lines: &[Vec<u8>]) -> Report {
    let (first, rest) = lines.split_first().unwrap();
    let mut verifier = ExportVerifier::open(first).unwrap();
    for line in rest {
        verifier.line(line);
    }
    verifier.finish()
}

fn fault(lines: &[Vec<u8>]) -> Fault {
    verify(lines).first_bad.expect("a fault")
}

fn sealed_run(log: &Log) -> RunId {
    let seal = log
        .records
        .iter()
        .find(|record| &*record.kind == "run.sealed");
    seal.unwrap().run_id
}

/// Flips a byte of the hashed bytes of one line.
fn flip_header(line: &[u8], place: usize, flip: u8) -> Vec<u8> {
    let Line::Event(mut event) = parse_line(line).unwrap() else {
        panic!("an event");
    };
    let place = place % event.header.len();
    event.header[place] ^= flip;
    Line::Event(event).to_bytes()
}

#[test]
fn an_export_as_it_was_written_has_no_fault() {
    let log = Log::random(11, 600);
    let report = verify(&log.export());
    assert_eq!((report.first_bad, report.events), (None, 600));
    assert_eq!(report.tree, Some(log.frontier.head()));
    assert!(report.end_verified && report.redacted > 0);
}

#[test]
fn the_export_of_a_run_is_whole_only_with_its_seal() {
    let log = Log::random(11, 600);
    let mut lines = log.export_run(sealed_run(&log));
    let report = verify(&lines);
    assert_eq!((report.first_bad, report.unsealed), (None, 0));
    assert!(report.end_verified);
    lines.pop();
    let report = verify(&lines);
    assert_eq!((report.first_bad, report.unsealed), (None, 1));
    assert!(!report.end_verified);
}

#[test]
fn a_line_of_another_run_or_behind_the_end_is_refused() {
    let log = Log::random(11, 600);
    let run = sealed_run(&log);
    let mut lines = log.export_run(run);
    let other = log
        .records
        .iter()
        .position(|record| record.run_id != run)
        .unwrap();
    lines.insert(1, log.export().remove(other + 1));
    assert_eq!(fault(&lines).reason, Reason::Workspace);
    let mut behind = log.export();
    behind.push(behind[1].clone());
    assert_eq!(fault(&behind), Fault::new(600, Reason::Line));
    let mut opened = log.export();
    opened.insert(4, opened[0].clone());
    assert_eq!(fault(&opened), Fault::new(3, Reason::Line));
}

#[test]
fn an_export_begins_with_its_opening() {
    let lines = Log::random(11, 3).export();
    for line in &lines[1..] {
        assert!(ExportVerifier::open(line).is_err());
    }
    assert!(ExportVerifier::open(b"").is_err());
    assert!(ExportVerifier::open(br#"{"format":"mc-export/v2"}"#).is_err());
}

#[test]
fn erased_bytes_may_not_come_back_changed() {
    let log = Log::random(11, 60);
    let mut lines = log.export();
    let at = lines
        .iter()
        .position(|line| line.ends_with(br#""}]}"#))
        .unwrap();
    let text = String::from_utf8(lines[at].clone()).unwrap();
    let tail = &text[text.rfind("\":\"").unwrap() + 3..];
    let value = tail.strip_suffix("\"}]}").unwrap();
    let mut bytes = BASE64_STANDARD.decode(value).unwrap();
    bytes.push(1);
    let other = text.replace(value, &BASE64_STANDARD.encode(&bytes));
    lines[at] = other.into_bytes();
    assert_eq!(fault(&lines).seq, u64::try_from(at).unwrap() - 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_byte_of_a_line_is_found_at_its_event(seed: u64, len in 1_u64..40, pick: u64, flip in 1_u8..) {
        let mut lines = Log::random(seed, len).export();
        let at = 1 + usize::try_from(pick % len).unwrap();
        let place = usize::try_from(pick).unwrap() % lines[at].len();
        lines[at][place] ^= flip;
        prop_assert!(fault(&lines).seq < u64::try_from(at).unwrap());
    }

    #[test]
    fn a_flipped_byte_of_a_header_is_found_at_its_event(seed: u64, len in 1_u64..200, pick: u64, place: usize, flip in 1_u8..) {
        let log = Log::random(seed, len);
        let mut lines = log.export();
        let seq = pick % len;
        let at = 1 + usize::try_from(seq).unwrap();
        lines[at] = flip_header(&lines[at], place, flip);
        let found = fault(&lines);
        // The last event of a run has no later event that links to it: only the tree tells.
        let run = log.records[at - 1].run_id;
        let is_last = log.heads[&run].1 == log.records[at - 1].run_seq + 1;
        prop_assert!(found.seq == seq || is_last && found.seq < seq, "{seq}: {found}");
    }

    #[test]
    fn a_deleted_doubled_or_swapped_line_is_found(seed: u64, len in 2_u64..100, pick: u64) {
        let lines = Log::random(seed, len).export();
        let seq = pick % (len - 1);
        let at = 1 + usize::try_from(seq).unwrap();
        let mut deleted = lines.clone();
        deleted.remove(at);
        prop_assert_eq!(fault(&deleted), Fault::new(seq, Reason::DenseSeq));
        let mut doubled = lines.clone();
        doubled.insert(at, doubled[at].clone());
        prop_assert_eq!(fault(&doubled), Fault::new(seq, Reason::DenseSeq));
        let mut swapped = lines;
        swapped.swap(at, at + 1);
        prop_assert_eq!(fault(&swapped), Fault::new(seq, Reason::DenseSeq));
    }

    #[test]
    fn a_cut_export_is_found(seed: u64, len in 1_u64..100, pick: u64) {
        let mut lines = Log::random(seed, len).export();
        let cut = pick % len;
        let tree = lines.pop().unwrap();
        lines.truncate(1 + usize::try_from(cut).unwrap());
        let report = verify(&lines);
        prop_assert_eq!((report.first_bad, report.end_verified), (None, false));
        lines.push(tree);
        prop_assert_eq!(fault(&lines), Fault::new(cut, Reason::Truncated));
    }

    #[test]
    fn a_flipped_byte_in_a_runs_export_is_found(seed: u64, pick: u64, place: usize, flip in 1_u8..) {
        let log = Log::random(seed, 120);
        prop_assume!(log.records.iter().any(|record| &*record.kind == "run.sealed"));
        let mut lines = log.export_run(sealed_run(&log));
        let at = 1 + usize::try_from(pick).unwrap() % (lines.len() - 2);
        let Line::Event(event) = parse_line(&lines[at]).unwrap() else { panic!("an event") };
        lines[at] = flip_header(&lines[at], place, flip);
        let found = fault(&lines);
        prop_assert_eq!(found.seq, event.seq, "byte {}: {}", place % event.header.len(), found);
    }
}
