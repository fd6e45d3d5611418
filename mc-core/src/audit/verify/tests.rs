//! Every change to a stored log is found, and at the right place.

use std::sync::Arc;

use proptest::prelude::*;

use crate::audit::frame;
use crate::audit::testing::Log;
use crate::audit::{Fault, Reason, Report, Scope, Verifier};
use crate::event::{PartContent, Record};
use crate::id::{Actor, AuthMethod, CommandId, Digest, RunId};
use crate::time::Timestamp;

/// Verifies `records` against what is stored beside `log`.
fn verify(log: &Log, records: &[Record]) -> Report {
    let mut verifier = Verifier::new(log.workspace, Scope::Workspace);
    for record in records {
        verifier.record(record, log);
        if let Some(tile) = verifier.completed_tile() {
            verifier.tile_root(log.tiles.get(usize::try_from(tile).unwrap()));
        }
    }
    for (run, (head, next)) in &log.heads {
        verifier.chain_head(*run, head, *next);
    }
    if !log.heads.contains_key(&RunId::ZERO) {
        verifier.chain_head(RunId::ZERO, &Digest::ZERO, 0);
    }
    verifier.frontier(&log.frontier);
    verifier.finish()
}

fn fault(log: &Log, records: &[Record]) -> Fault {
    verify(log, records).first_bad.expect("a fault")
}

/// Where a change of the event `index` that keeps all numbers may be located: not after it, and
/// in its tile or in the right subtree of the frontier, at an event of the same run.
fn is_near(log: &Log, index: usize, found: Fault) -> bool {
    let seq = log.records[index].seq;
    let at = &log.records[usize::try_from(found.seq).unwrap()];
    found.seq <= seq && seq - found.seq < 256 && at.run_id == log.records[index].run_id
}

fn reseq(records: &mut [Record]) {
    for (seq, record) in (0..).zip(records) {
        record.seq = seq;
    }
}

/// Changes one field to another legal value.
fn change(record: &mut Record, which: u8) {
    match which {
        0 => record.actor = changed_actor(&record.actor),
        1 => record.auth_method = AuthMethod::ApiKey,
        2 => record.schema_ver += 1,
        3 => record.cmd_id = CommandId::from_bytes([9; 16]),
        4 => record.kind = Arc::from("result.late"),
        5 => record.facts = Arc::from(record.facts.replacen('{', "{\"a\":1,", 1)),
        6 => record.ts = Timestamp::from_unix_us(record.ts.as_unix_us() + 1),
        _ => record.parts.clear(),
    }
}

fn changed_actor(actor: &Actor) -> Actor {
    match actor {
        Actor::System => Actor::Agent("writer".parse().unwrap()),
        Actor::Agent(_) | Actor::Operator(_) => Actor::System,
    }
}

#[test]
fn a_log_as_it_was_written_has_no_fault() {
    let log = Log::random(11, 600);
    let report = verify(&log, &log.records);
    assert_eq!(report.first_bad, None);
    assert_eq!((report.events, report.tiles_verified), (600, 2));
    assert_eq!(report.tree, Some(log.frontier.head()));
    let parts: usize = log.records.iter().map(|record| record.parts.len()).sum();
    let counted = report.parts_verified + report.redacted;
    assert_eq!(counted, u64::try_from(parts).unwrap());
    assert!(report.end_verified && report.redacted > 0 && report.parts_verified > 0);
    let seals = log
        .records
        .iter()
        .filter(|record| &*record.kind == "run.sealed")
        .count();
    assert_eq!(report.runs - report.unsealed, u64::try_from(seals).unwrap());
}

#[test]
fn an_empty_log_verifies_and_says_so() {
    let log = Log::random(1, 0);
    let report = verify(&log, &[]);
    assert_eq!((report.first_bad, report.events), (None, 0));
    assert!(report.end_verified);
}

#[test]
fn one_run_verifies_by_itself_and_says_whether_it_is_sealed() {
    let log = Log::random(11, 600);
    let sealed: Vec<RunId> = log
        .records
        .iter()
        .filter(|record| &*record.kind == "run.sealed")
        .map(|record| record.run_id)
        .collect();
    for run in log.heads.keys() {
        let mut verifier = Verifier::new(log.workspace, Scope::Run(*run));
        for record in log.records.iter().filter(|record| record.run_id == *run) {
            verifier.record(record, &log);
        }
        let report = verifier.finish();
        assert_eq!((report.first_bad, report.tree), (None, None));
        assert_eq!(report.end_verified, sealed.contains(run));
    }
}

#[test]
fn a_blob_that_was_changed_or_lost_is_found_at_its_event() {
    let log = Log::random(11, 100);
    let has_blob = |record: &&Record| {
        let mut parts = record.parts.iter();
        parts.any(|part| matches!(part.content, PartContent::Blob(_)))
    };
    let seq = log.records.iter().find(has_blob).unwrap().seq;
    let mut lost = log.clone();
    lost.blobs.clear();
    assert_eq!(
        fault(&lost, &log.records),
        Fault::new(seq, Reason::PartMissing)
    );
    let mut other = log.clone();
    for bytes in other.blobs.values_mut() {
        *bytes = bytes.iter().map(|byte| byte ^ 1).collect();
    }
    let found = fault(&other, &log.records);
    assert_eq!(
        (found.reason, found.seq >= seq),
        (Reason::PartCommitment, true)
    );
}

#[test]
fn a_changed_tile_root_frontier_or_chain_head_is_found() {
    let log = Log::random(11, 600);
    let mut tile = log.clone();
    tile.tiles[1] = Digest::ZERO;
    assert_eq!(
        fault(&tile, &log.records),
        Fault::new(256, Reason::TileRoot)
    );
    let mut head = log.clone();
    let run = *head.heads.keys().last().unwrap();
    head.heads.insert(run, (Digest::ZERO, head.heads[&run].1));
    let last = log
        .records
        .iter()
        .rfind(|record| record.run_id == run)
        .unwrap();
    assert_eq!(
        fault(&head, &log.records),
        Fault::new(last.seq, Reason::ChainHead)
    );
    let mut row = log.clone();
    row.heads.remove(&run);
    assert_eq!(fault(&row, &log.records).reason, Reason::ChainHead);
}

#[test]
fn events_behind_the_seal_are_a_fault() {
    let mut log = Log::random(11, 600);
    let seal = log
        .records
        .iter()
        .find(|record| &*record.kind == "run.sealed")
        .unwrap();
    let mut more = seal.clone();
    more.seq = 600;
    more.run_seq += 1;
    more.ts = log.records[599].ts;
    more.epoch = log.records[599].epoch;
    more.kind = Arc::from("result.late");
    log.append(more);
    assert_eq!(fault(&log, &log.records), Fault::new(600, Reason::Seal));
}

#[test]
fn time_and_epoch_never_go_back() {
    let mut log = Log::random(11, 3);
    let mut late = log.records[2].clone();
    late.seq = 3;
    late.run_seq = log.heads[&late.run_id].1;
    late.kind = Arc::from("step.dispatched");
    let mut early = late.clone();
    late.ts = Timestamp::from_unix_us(0);
    let mut backwards = log.clone();
    backwards.append(late);
    assert_eq!(
        fault(&backwards, &backwards.records),
        Fault::new(3, Reason::TsOrder)
    );
    early.epoch = 0;
    log.append(early);
    assert_eq!(fault(&log, &log.records), Fault::new(3, Reason::EpochOrder));
}

#[test]
fn facts_that_are_not_an_object_are_a_fault() {
    for facts in ["[]", "{", "{} ", "{\"a\":}", ""] {
        let mut log = Log::random(11, 9);
        let mut record = log.records[8].clone();
        (record.seq, record.run_seq) = (9, log.heads[&record.run_id].1);
        record.facts = Arc::from(facts);
        log.append(record);
        assert_eq!(
            fault(&log, &log.records),
            Fault::new(9, Reason::FactsJson),
            "{facts}"
        );
    }
}

#[test]
fn every_reason_has_its_own_code() {
    let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Reason::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_changed_field_is_found_in_its_tile_and_run(seed: u64, len in 1_u64..600, pick: u64, which in 0_u8..8) {
        let log = Log::random(seed, len);
        let mut records = log.records.clone();
        let index = usize::try_from(pick % len).unwrap();
        change(&mut records[index], which);
        prop_assume!(records != log.records);
        let found = fault(&log, &records);
        prop_assert!(is_near(&log, index, found), "{index}: {found}");
    }

    #[test]
    fn a_deleted_event_is_found_where_it_was(seed: u64, len in 2_u64..600, pick: u64) {
        let log = Log::random(seed, len);
        let mut records = log.records.clone();
        let seq = pick % (len - 1);
        records.remove(usize::try_from(seq).unwrap());
        prop_assert_eq!(fault(&log, &records), Fault::new(seq, Reason::DenseSeq));
        reseq(&mut records);
        let found = fault(&log, &records);
        prop_assert!(found.seq >= seq - seq % 256, "{}", found);
    }

    #[test]
    fn a_doubled_or_swapped_event_is_found_where_it_stands(seed: u64, len in 2_u64..600, pick: u64) {
        let log = Log::random(seed, len);
        let seq = pick % (len - 1);
        let index = usize::try_from(seq).unwrap();
        let mut doubled = log.records.clone();
        doubled.insert(index, doubled[index].clone());
        prop_assert_eq!(fault(&log, &doubled), Fault::new(seq, Reason::DenseSeq));
        let mut swapped = log.records.clone();
        swapped.swap(index, index + 1);
        prop_assert_eq!(fault(&log, &swapped), Fault::new(seq, Reason::DenseSeq));
        reseq(&mut swapped);
        prop_assert!(fault(&log, &swapped).seq <= seq + 1);
    }

    #[test]
    fn an_inserted_event_is_found(seed: u64, len in 2_u64..600, pick: u64) {
        let log = Log::random(seed, len);
        let index = usize::try_from(pick % len).unwrap();
        let mut records = log.records.clone();
        let mut foreign = records[index].clone();
        foreign.run_id = RunId::from_bytes([7; 16]);
        foreign.run_seq = 0;
        foreign.kind = Arc::from("step.dispatched");
        records.insert(index, foreign);
        reseq(&mut records);
        let found = fault(&log, &records);
        let seq = u64::try_from(index).unwrap();
        prop_assert_eq!(found, Fault::new(seq, Reason::ChainHead));
    }

    #[test]
    fn a_cut_tail_is_found_where_it_begins(seed: u64, len in 1_u64..600, pick: u64) {
        let log = Log::random(seed, len);
        let cut = pick % len;
        let records = &log.records[..usize::try_from(cut).unwrap()];
        prop_assert_eq!(fault(&log, records), Fault::new(cut, Reason::Truncated));
    }

    #[test]
    fn a_damaged_frame_is_found_at_its_event(seed: u64, len in 8_u64..80, pick: u64, flip in 1_u8..) {
        let log = Log::random(seed, len);
        let mut verifier = Verifier::new(log.workspace, Scope::Workspace);
        let middle = usize::try_from(len / 2).unwrap();
        let (one, two) = log.records.split_at(middle);
        let mut frame = frame::encode(two);
        let place = usize::try_from(pick).unwrap() % frame.len();
        frame[place] ^= flip;
        for record in one {
            verifier.record(record, &log);
        }
        let error = frame::decode(len / 2, &frame).unwrap_err();
        verifier.damaged(Fault::from_error(&error).unwrap());
        let found = verifier.finish().first_bad.unwrap();
        prop_assert!(found.seq >= len / 2 && found.seq < len);
        prop_assert!(found.reason.as_str().starts_with("frame_"));
    }
}
