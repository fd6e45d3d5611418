//! Rows beside the events: read back as they were written.

use std::sync::Arc;

use mc_core::budget::Limit;
use mc_core::id::{AgentName, Digest, LabelKey, WorkflowName};
use mc_core::money::NanoUsd;
use mc_core::ports::{AccountRow, KeyRow, RunRow, WorkflowRow};
use mc_core::run::RunStatus;
use mc_core::time::Timestamp;

use super::Bench;
use crate::build::{folded_row, run_id};

/// A row with every field away from its default.
fn full_row(n: u64) -> RunRow {
    let mut row = folded_row(run_id(n), &[]);
    let summary = &mut row.summary;
    summary.version = u32::MAX;
    summary.agents = ["a", "b-c"]
        .map(|name| AgentName::new(name).unwrap())
        .to_vec();
    summary.status = RunStatus::Failed;
    summary.paused = true;
    summary.sealed = true;
    summary.labels = vec![(LabelKey::new("team").unwrap(), Arc::from("\u{e4} b"))];
    summary.ended_at = Some(Timestamp::from_unix_us(i64::MAX));
    summary.spent = NanoUsd::from_nano(i64::MIN);
    summary.held = NanoUsd::from_nano(i64::MAX);
    summary.limit = Limit {
        money: Some(NanoUsd::from_nano(-1)),
        input_tokens: Some(0),
        output_tokens: None,
        calls: Some(u64::MAX),
    };
    summary.note = Arc::from("budget");
    row.state = Arc::from(vec![0xab; 5_000]);
    row.needs.attention = true;
    row.needs.due = Some(Timestamp::from_unix_us(-1));
    row.needs.agents = vec![AgentName::new("a").unwrap()];
    row
}

pub(super) async fn a_runs_row_is_read_back_as_it_was_written(mut bench: Bench) {
    let mut bare = folded_row(run_id(2), &[]);
    bare.summary.workflow = None;
    bare.state = Arc::from([]);
    for row in [full_row(1), bare] {
        bench.story.row(row.clone());
        bench.append().await;
        let read = bench.log().run_row(row.summary.run_id).await.unwrap();
        assert_eq!(read, Some(row.clone()));
        bench.reopen().await;
        let read = bench.log().run_row(row.summary.run_id).await.unwrap();
        assert_eq!(read, Some(row));
    }
    assert_eq!(bench.log().run_row(run_id(3)).await.unwrap(), None);
}

pub(super) async fn the_later_row_of_a_batch_is_the_one(mut bench: Bench) {
    let mut later = full_row(1);
    later.needs = folded_row(run_id(1), &[]).needs;
    bench.story.row(full_row(1)).row(later.clone());
    bench.append().await;
    assert_eq!(bench.log().run_row(run_id(1)).await.unwrap(), Some(later));
    assert!(bench.log().runs_in_need(None, 9).await.unwrap().is_empty());
    assert_eq!(bench.log().next_due().await.unwrap(), None);
}

fn account(id: &str, state: &[u8]) -> AccountRow {
    AccountRow {
        account: Arc::from(id),
        state: Arc::from(state),
    }
}

fn workflow(version: u32, active: bool) -> WorkflowRow {
    WorkflowRow {
        workflow: WorkflowName::new("research").unwrap(),
        version,
        hash: Digest::of(&[&version.to_be_bytes()]),
        published_at: Timestamp::from_unix_us(5),
        active,
        definition: Arc::from(&b"{}"[..]),
    }
}

pub(super) async fn shared_rows_are_recovered(mut bench: Bench) {
    let batch = bench.story.open_batch();
    batch.accounts = vec![account("workspace", b"1"), account("agent:a", &[7; 3_000])];
    batch.workflows = vec![workflow(1, true)];
    bench.append().await;
    let batch = bench.story.open_batch();
    batch.accounts = vec![account("workspace", b"2")];
    batch.workflows = vec![workflow(1, false), workflow(2, true)];
    bench.append().await;
    let accounts = [account("agent:a", &[7; 3_000]), account("workspace", b"2")];
    assert_eq!(bench.log().accounts().await.unwrap(), accounts);
    let recovered = bench.reopen().await;
    assert_eq!(recovered.accounts, accounts);
    assert_eq!(recovered.workflows, [workflow(1, false), workflow(2, true)]);
}

pub(super) async fn keys_find_their_run(mut bench: Bench) {
    let row = |name: &str, key: &str, n| KeyRow {
        workflow: WorkflowName::new(name).unwrap(),
        key: Arc::from(key),
        run_id: run_id(n),
        request: Digest::of(&[key.as_bytes()]),
    };
    let rows = [row("a", "k", 1), row("a", "k/2", 2), row("ab", "k", 3)];
    bench.story.event(run_id(1), "run.started");
    bench.story.open_batch().keys = rows.to_vec();
    bench.append().await;
    bench.reopen().await;
    let head = bench.log().head().await.unwrap();
    for row in rows {
        let found = bench
            .log()
            .run_by_key(&row.workflow, &row.key)
            .await
            .unwrap();
        assert_eq!(found, (Some(row), head));
    }
    let other = WorkflowName::new("b").unwrap();
    assert_eq!(
        bench.log().run_by_key(&other, "k").await.unwrap(),
        (None, head)
    );
}

pub(super) async fn tile_roots_are_kept(mut bench: Bench) {
    for _ in 0..600 {
        bench.story.event(run_id(1), "step.dispatched");
    }
    let batch = bench.story.batch();
    let roots = batch.tiles.clone();
    bench.log().append(bench.lease, batch).await.unwrap();
    bench.reopen().await;
    assert_eq!(roots.len(), 2);
    for (tile, root) in roots {
        assert_eq!(bench.log().tile_root(tile).await.unwrap(), Some(root));
    }
    assert_eq!(bench.log().tile_root(2).await.unwrap(), None);
}
