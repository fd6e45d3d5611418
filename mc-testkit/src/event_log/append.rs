//! Appending: what is acknowledged is there, what is refused left no trace.

use mc_core::error::{Detail, ErrorKind};
use mc_core::event::Record;
use mc_core::id::RunId;
use mc_core::ports::{Batch, Lease};

use super::Bench;
use crate::build::{folded_row, run_id};

async fn everything(bench: &Bench) -> Vec<Record> {
    bench.log().read_workspace(0, usize::MAX).await.unwrap()
}

pub(super) async fn what_is_appended_is_read_back(mut bench: Bench) {
    let mut expected = Vec::new();
    for n in 0..5 {
        bench.story.event(run_id(n), "run.started");
        bench.story.part(b"a prompt");
        bench.story.event(RunId::ZERO, "clock.jumped");
        let batch = bench.story.batch();
        expected.extend(batch.records.clone());
        bench.log().append(bench.lease, batch).await.unwrap();
    }
    assert_eq!(everything(&bench).await, expected);
    let log = bench.log();
    assert_eq!(log.read_workspace(3, 4).await.unwrap(), expected[3..7]);
    assert!(log.read_workspace(10, 5).await.unwrap().is_empty());
    assert!(log.read_workspace(u64::MAX, 5).await.unwrap().is_empty());
    assert!(log.read_workspace(0, 0).await.unwrap().is_empty());
    assert_eq!(log.head().await.unwrap().next_seq, 10);
}

pub(super) async fn runs_are_read_by_themselves(mut bench: Bench) {
    for n in 0..300_u64 {
        bench.story.event(run_id(n % 7), "step.dispatched");
        if n % 11 == 0 {
            bench.append().await;
        }
    }
    bench.append().await;
    let all = everything(&bench).await;
    for n in 0..7 {
        compare_run(&bench, n, &of_run(&all, run_id(n))).await;
    }
    assert!(of_log(&bench, 99, 0, 9).await.is_empty());
}

async fn compare_run(bench: &Bench, n: u64, expected: &[Record]) {
    assert_eq!(of_log(bench, n, 0, usize::MAX).await, expected);
    assert_eq!(of_log(bench, n, 17, 5).await, expected[17..22]);
    assert!(of_log(bench, n, 300, 5).await.is_empty());
    assert!(of_log(bench, n, 0, 0).await.is_empty());
}

fn of_run(all: &[Record], run: RunId) -> Vec<Record> {
    all.iter()
        .filter(|event| event.run_id == run)
        .cloned()
        .collect()
}

async fn of_log(bench: &Bench, n: u64, from: u64, limit: usize) -> Vec<Record> {
    bench.log().read_run(run_id(n), from, limit).await.unwrap()
}

/// Appends what must be refused, and sees that nothing of it is there.
async fn refused(bench: &Bench, lease: Lease, batch: Batch) -> mc_core::error::Error {
    let log = bench.log();
    let (head, events) = (log.head().await.unwrap(), everything(bench).await);
    let error = log.append(lease, batch).await.unwrap_err();
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(everything(bench).await, events);
    assert_eq!(log.run_row(run_id(9)).await.unwrap(), None);
    error
}

pub(super) async fn a_stale_lease_is_refused_without_a_trace(mut bench: Bench) {
    bench.story.event(run_id(1), "run.started");
    bench.append().await;
    let stale = bench.lease;
    let current = bench.log().acquire().await.unwrap().lease;
    bench.story.event(run_id(9), "run.started");
    bench.story.row(folded_row(run_id(9), &[]));
    let batch = bench.story.batch();
    let error = refused(&bench, stale, batch.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let detail = Detail::StaleEpoch {
        held: stale.epoch,
        current: current.epoch,
    };
    assert_eq!(error.detail(), Some(&detail));
    bench.log().append(current, batch).await.unwrap();
}

pub(super) async fn a_batch_that_does_not_begin_at_the_head_is_refused_without_a_trace(
    mut bench: Bench,
) {
    bench.story.event(run_id(1), "run.started");
    let first = bench.story.batch();
    bench.story.event(run_id(9), "run.started");
    bench.story.row(folded_row(run_id(9), &[]));
    let second = bench.story.batch();
    let early = refused(&bench, bench.lease, second.clone()).await;
    assert_eq!(early.kind(), ErrorKind::Conflict);
    bench
        .log()
        .append(bench.lease, first.clone())
        .await
        .unwrap();
    let again = refused(&bench, bench.lease, first).await;
    assert_eq!(again.kind(), ErrorKind::Conflict);
    bench.log().append(bench.lease, second).await.unwrap();
}

pub(super) async fn events_out_of_order_are_refused_without_a_trace(mut bench: Bench) {
    for _ in 0..3 {
        bench.story.event(run_id(9), "step.dispatched");
    }
    let good = bench.story.batch();
    let mut gap = good.clone();
    gap.records.remove(1);
    assert_eq!(
        refused(&bench, bench.lease, gap).await.kind(),
        ErrorKind::Internal
    );
    let mut earlier = good.clone();
    earlier.records[2].ts = mc_core::time::Timestamp::EPOCH;
    assert_eq!(
        refused(&bench, bench.lease, earlier).await.kind(),
        ErrorKind::Internal
    );
    bench.log().append(bench.lease, good).await.unwrap();
}

pub(super) async fn a_batch_without_events_writes_its_rows(mut bench: Bench) {
    bench.story.row(folded_row(run_id(1), &[]));
    bench.append().await;
    assert!(bench.log().run_row(run_id(1)).await.unwrap().is_some());
    assert_eq!(bench.log().head().await.unwrap().next_seq, 0);
}

pub(super) async fn a_large_batch_comes_back_whole(mut bench: Bench) {
    for n in 0..3_000_u64 {
        let facts = format!("{{\"n\":{n},\"text\":\"{}\"}}", "abc".repeat(90));
        bench
            .story
            .event(run_id(n % 50), "model_call.answered")
            .facts = facts.into();
        bench.story.part(&n.to_be_bytes().repeat(30));
    }
    let batch = bench.story.batch();
    let expected = batch.records.clone();
    bench.log().append(bench.lease, batch).await.unwrap();
    assert_eq!(everything(&bench).await, expected);
    assert_eq!(
        bench.log().read_workspace(2_999, 9).await.unwrap(),
        expected[2_999..]
    );
}

pub(super) async fn every_acknowledged_batch_is_there_after_a_reopen(mut bench: Bench) {
    for round in 1..=4_u64 {
        for n in 0..round * 70 {
            bench.story.event(run_id(n), "step.dispatched");
        }
        bench.append().await;
        let before = everything(&bench).await;
        let recovered = bench.reopen().await;
        assert_eq!(everything(&bench).await, before);
        assert_eq!(recovered.head.next_seq, before.len() as u64);
        assert_eq!(recovered.last_ts, before.last().map(|event| event.ts));
        assert_eq!(
            recovered.workspace.unwrap().next_run_seq,
            recovered.head.next_seq
        );
    }
}

pub(super) async fn each_acquisition_raises_the_epoch(mut bench: Bench) {
    let first = bench.lease.epoch;
    let second = bench.log().acquire().await.unwrap();
    let third = bench.reopen().await;
    assert!(first < second.lease.epoch && second.lease.epoch < third.lease.epoch);
    assert_eq!(third.head.epoch, third.lease.epoch);
    assert_eq!(bench.log().head().await.unwrap(), third.head);
    assert!(third.workspace.is_none() && third.last_ts.is_none());
}
