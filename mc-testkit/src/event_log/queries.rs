//! Queries: the same answers as a plain scan, in pages that hold while the log grows.

use std::sync::Arc;

use mc_core::error::ErrorKind;
use mc_core::event::Record;
use mc_core::id::{Actor, AgentName, LabelKey, OperatorName, WorkflowName};
use mc_core::money::NanoUsd;
use mc_core::ports::{Cursor, EventLog, EventQuery, MAX_PAGE, RunQuery, RunRow, RunSummary};
use mc_core::run::RunStatus;
use mc_core::time::Timestamp;

use super::Bench;
use crate::build::{folded_row, run_id};

const KINDS: [&str; 3] = ["step.dispatched", "step.completed", "approval.decided"];

fn label(n: u64) -> (LabelKey, Arc<str>) {
    (
        LabelKey::new("team").unwrap(),
        Arc::from(format!("t{}", n % 4)),
    )
}

fn row(n: u64) -> RunRow {
    let mut row = folded_row(run_id(n), &[]);
    let summary = &mut row.summary;
    summary.workflow =
        (!n.is_multiple_of(5)).then(|| WorkflowName::new(&format!("w{}", n % 3)).unwrap());
    summary.agents = vec![AgentName::new(&format!("a{}", n % 2)).unwrap()];
    summary.status = RunStatus::ALL[(n % 5) as usize];
    summary.labels = vec![label(n)];
    summary.spent = NanoUsd::from_nano(i64::try_from(n * 10).unwrap());
    row
}

async fn every_run(log: &dyn EventLog, mut query: RunQuery) -> Vec<RunSummary> {
    let mut out = Vec::new();
    loop {
        let page = log.query_runs(query.clone()).await.unwrap();
        out.extend(page.items);
        match page.next {
            None => return out,
            next => query.cursor = next,
        }
    }
}

async fn every_event(log: &dyn EventLog, mut query: EventQuery) -> Vec<Record> {
    let mut out = Vec::new();
    loop {
        let page = log.query_events(query.clone()).await.unwrap();
        out.extend(page.items);
        match page.next {
            None => return out,
            next => query.cursor = next,
        }
    }
}

pub(super) async fn runs_are_found_by_every_field(mut bench: Bench) {
    let rows: Vec<RunRow> = (0..60).map(row).collect();
    for row in &rows {
        bench.story.row(row.clone());
    }
    bench.append().await;
    // A status that was left behind must not be found any more.
    let mut moved = row(7);
    moved.summary.status = RunStatus::Pending;
    bench.story.row(moved.clone());
    bench.append().await;
    let mut summaries: Vec<RunSummary> = rows.into_iter().map(|row| row.summary).collect();
    summaries[7] = moved.summary;
    for query in run_queries(&summaries) {
        let expected: Vec<RunSummary> = summaries
            .iter()
            .rev()
            .filter(|run| run_fits(&query, run))
            .cloned()
            .collect();
        let found = every_run(bench.log(), query.clone()).await;
        assert_eq!(found, expected, "{query:?}");
    }
}

fn run_queries(runs: &[RunSummary]) -> Vec<RunQuery> {
    let bare = RunQuery {
        limit: 7,
        ..RunQuery::default()
    };
    let mut queries = vec![bare.clone()];
    for n in [0_usize, 7, 22, 41] {
        let run = &runs[n];
        let by_workflow = RunQuery {
            workflow: run.workflow.clone(),
            ..bare.clone()
        };
        let by_agent = RunQuery {
            agent: run.agents.first().cloned(),
            ..bare.clone()
        };
        let by_status = RunQuery {
            status: Some(run.status),
            ..bare.clone()
        };
        let by_label = RunQuery {
            label: run.labels.first().cloned(),
            ..bare.clone()
        };
        let by_all = RunQuery {
            workflow: run.workflow.clone(),
            agent: run.agents.first().cloned(),
            status: Some(run.status),
            label: run.labels.first().cloned(),
            ..bare.clone()
        };
        let by_time = RunQuery {
            started_from: Some(runs[10].started_at),
            started_before: Some(runs[n + 11].started_at),
            ..bare.clone()
        };
        let by_cost = RunQuery {
            spent_at_least: Some(NanoUsd::from_nano(100)),
            spent_at_most: Some(run.spent),
            ..bare.clone()
        };
        queries.extend([
            by_workflow,
            by_agent,
            by_status,
            by_label,
            by_all,
            by_time,
            by_cost,
        ]);
    }
    let nobody = RunQuery {
        agent: AgentName::new("nobody").ok(),
        ..bare
    };
    queries.push(nobody);
    queries
}

/// The meaning of a query, said a second time.
fn run_fits(query: &RunQuery, run: &RunSummary) -> bool {
    let mut fits = true;
    if let Some(workflow) = &query.workflow {
        fits &= run.workflow.as_ref() == Some(workflow);
    }
    if let Some(agent) = &query.agent {
        fits &= run.agents.contains(agent);
    }
    if let Some(label) = &query.label {
        fits &= run.labels.contains(label);
    }
    fits &= query.status.is_none_or(|status| status == run.status);
    fits &= query.started_from.is_none_or(|from| from <= run.started_at);
    fits &= query
        .started_before
        .is_none_or(|before| before > run.started_at);
    fits &= query.spent_at_least.is_none_or(|least| least <= run.spent);
    fits && query.spent_at_most.is_none_or(|most| most >= run.spent)
}

fn actor(n: u64) -> Actor {
    match n % 3 {
        0 => Actor::System,
        1 => Actor::Agent(AgentName::new("writer").unwrap()),
        _ => Actor::Operator(OperatorName::new("writer").unwrap()),
    }
}

/// Adds events of many kinds, actors, runs and times, in batches of odd sizes.
async fn tell(bench: &mut Bench, count: u64) {
    let start = bench.story.next_seq();
    for n in start..start + count {
        bench.story.at(time(n));
        let kind = if n % 97 == 0 {
            "clock.jumped"
        } else {
            KINDS[(n % 3) as usize]
        };
        bench.story.event(run_id(n % 5), kind).actor = actor(n / 3);
        if n % 37 == 0 {
            bench.append().await;
        }
    }
    bench.append().await;
}

/// Some events share a time.
fn time(n: u64) -> Timestamp {
    let us = 1_767_225_600_000_000 + i64::try_from(n / 4).unwrap() * 10;
    Timestamp::from_unix_us(us)
}

fn event_queries(count: u64) -> Vec<EventQuery> {
    let bare = EventQuery {
        limit: 50,
        ..EventQuery::default()
    };
    let mut queries = vec![bare.clone()];
    for kind in KINDS.into_iter().chain(["clock.jumped", "nothing"]) {
        let kind = Some(Arc::from(kind));
        queries.push(EventQuery {
            kind: kind.clone(),
            ..bare.clone()
        });
        for n in 0..3 {
            let by_actor = EventQuery {
                actor: Some(actor(n)),
                ..bare.clone()
            };
            let by_both = EventQuery {
                kind: kind.clone(),
                ..by_actor.clone()
            };
            let by_run = EventQuery {
                run_id: Some(run_id(n)),
                ..by_both.clone()
            };
            queries.extend([by_actor, by_both, by_run]);
        }
    }
    let mut timed = Vec::new();
    for (from, before) in [
        (0, count),
        (count / 3, count / 2),
        (count - 9, count * 2),
        (9, 3),
    ] {
        for query in queries.iter().step_by(3) {
            let (from, before) = (Some(time(from)), Some(time(before)));
            timed.push(EventQuery {
                from,
                before,
                ..query.clone()
            });
            timed.push(EventQuery {
                from,
                ..query.clone()
            });
            timed.push(EventQuery {
                before,
                ..query.clone()
            });
        }
    }
    queries.extend(timed);
    queries
}

/// The meaning of a query, said a second time.
fn event_fits(query: &EventQuery, event: &Record) -> bool {
    let mut fits = query.kind.as_ref().is_none_or(|kind| *kind == event.kind);
    if let Some(actor) = &query.actor {
        fits &= *actor == event.actor;
    }
    fits &= query.run_id.is_none_or(|run| run == event.run_id);
    fits &= query.from.is_none_or(|from| from <= event.ts);
    fits && query.before.is_none_or(|before| before > event.ts)
}

async fn compare(bench: &Bench, count: u64) {
    let all = bench.log().read_workspace(0, usize::MAX).await.unwrap();
    for query in event_queries(count) {
        let expected = all.iter().filter(|event| event_fits(&query, event));
        let found = every_event(bench.log(), query.clone()).await;
        assert!(found.iter().eq(expected), "{query:?}");
    }
}

pub(super) async fn events_are_found_by_every_field(mut bench: Bench) {
    tell(&mut bench, 100).await;
    compare(&bench, 100).await;
}

pub(super) async fn events_in_long_logs_are_found_like_in_a_plain_scan(mut bench: Bench) {
    tell(&mut bench, 900).await;
    bench.reopen().await;
    tell(&mut bench, 412).await;
    compare(&bench, 1_312).await;
}

pub(super) async fn pages_join_without_gaps_or_repeats(mut bench: Bench) {
    tell(&mut bench, 600).await;
    for limit in [1, 7, 100, 600] {
        let query = EventQuery {
            limit,
            kind: Some(Arc::from(KINDS[0])),
            ..EventQuery::default()
        };
        let page = bench.log().query_events(query.clone()).await.unwrap();
        assert!(page.items.len() <= limit);
        let found = every_event(bench.log(), query).await;
        assert!(found.is_sorted_by(|one, next| one.seq < next.seq));
        assert_eq!(
            found.len(),
            (0..600).filter(|n| n % 3 == 0 && n % 97 != 0).count()
        );
    }
}

pub(super) async fn pages_stay_stable_while_the_log_grows(mut bench: Bench) {
    for n in 0..30 {
        bench.story.row(row(n));
    }
    tell(&mut bench, 300).await;
    let runs = RunQuery {
        limit: 10,
        ..RunQuery::default()
    };
    let events = EventQuery {
        limit: 10,
        actor: Some(actor(0)),
        ..EventQuery::default()
    };
    let mut next_runs = bench.log().query_runs(runs.clone()).await.unwrap();
    let first_events = bench.log().query_events(events.clone()).await.unwrap();
    for n in 30..60 {
        bench.story.row(row(n));
    }
    tell(&mut bench, 300).await;
    let mut seen: Vec<_> = next_runs.items.iter().map(|run| run.run_id).collect();
    while let Some(cursor) = next_runs.next {
        let query = RunQuery {
            cursor: Some(cursor),
            ..runs.clone()
        };
        next_runs = bench.log().query_runs(query).await.unwrap();
        seen.extend(next_runs.items.iter().map(|run| run.run_id));
    }
    assert_eq!(seen, (0..30).rev().map(run_id).collect::<Vec<_>>());
    let query = EventQuery {
        cursor: first_events.next,
        ..events.clone()
    };
    let mut joined = first_events.items;
    joined.extend(every_event(bench.log(), query).await);
    assert_eq!(joined, every_event(bench.log(), events).await);
}

pub(super) async fn forged_cursors_and_large_pages_are_refused(mut bench: Bench) {
    tell(&mut bench, 300).await;
    let query = EventQuery {
        limit: 1,
        ..EventQuery::default()
    };
    let cursor = bench.log().query_events(query).await.unwrap().next.unwrap();
    let mut changed = cursor.as_str().to_owned();
    let last = changed.pop().unwrap();
    changed.push(if last == '0' { '1' } else { '0' });
    for forged in [changed.as_str(), "", "1", "\u{e4}"] {
        let forged = Some(Cursor::new(forged));
        let events = EventQuery {
            cursor: forged.clone(),
            ..EventQuery::default()
        };
        let error = bench.log().query_events(events).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let runs = RunQuery {
            cursor: forged,
            ..RunQuery::default()
        };
        let error = bench.log().query_runs(runs).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let other = EventQuery {
        cursor: Some(cursor),
        actor: Some(actor(0)),
        ..EventQuery::default()
    };
    assert!(bench.log().query_events(other).await.is_err());
    let large = EventQuery {
        limit: MAX_PAGE + 1,
        ..EventQuery::default()
    };
    assert!(bench.log().query_events(large).await.is_err());
}
