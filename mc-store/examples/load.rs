//! A load as the engine gives it, and what it costs: `cargo run --release --example load -- 400 128`.
//!
//! Chains of ten no-op steps with an output of 200 bytes, so many waves of so many runs: with 128
//! runs, every commit has 256 events and 128 rows of about 1 KB. Prints events a second, bytes an event, the bytes by table and
//! how long filtered pages take.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "an example that measures, and rates for people to read"
)]

use std::sync::Arc;
use std::time::Instant;

use mc_core::event::{MediaType, Part, PartContent};
use mc_core::id::{Actor, AgentName, CommandId};
use mc_core::ports::{Entropy as _, EventLog, EventQuery, Lease, RunQuery, RunRow};
use mc_core::run::RunStatus;
use mc_store::RedbLog;
use mc_testkit::{SeededEntropy, Story, folded_row, run_id};

const STEPS: u64 = 11;

#[derive(Clone, Copy)]
struct Load {
    waves: u64,
    runs: u64,
}

impl Load {
    const fn events(self) -> u64 {
        self.waves * self.runs * 2
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let load = Load {
        waves: args.next().unwrap_or(400),
        runs: args.next().unwrap_or(128),
    };
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("load.redb");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let log = RedbLog::open(&path).unwrap();
    runtime.block_on(append_all(&log, load));
    runtime.block_on(pages(&log));
    runtime.block_on(sizes(&log, load.events()));
    drop(log);
    let closed = std::fs::metadata(&path).unwrap().len();
    say(&format!(
        "closed: {} bytes an event",
        closed / load.events()
    ));
}

fn say(line: &str) {
    println!("{line}");
}

async fn append_all(log: &RedbLog, load: Load) {
    let lease = log.acquire().await.unwrap().lease;
    let chance = SeededEntropy::new(1);
    let mut story = Story::new();
    let (mut building, start) = (0.0, Instant::now());
    for wave in 0..load.waves {
        let begun = Instant::now();
        tell(&mut story, (wave, load.runs), &chance);
        let batch = story.batch();
        building += begun.elapsed().as_secs_f64();
        log.append(Lease { ..lease }, batch).await.unwrap();
    }
    let spent = start.elapsed().as_secs_f64() - building;
    let (events, waves) = (load.events(), load.waves);
    say(&format!(
        "{events} events in {waves} commits: {:.0} events/s, {:.2} ms a commit",
        events as f64 / spent,
        spent * 1e3 / waves as f64,
    ));
}

/// One wave: each run completes a step and has the next dispatched.
fn tell(story: &mut Story, (wave, runs): (u64, u64), chance: &SeededEntropy) {
    let (cohort, step) = (wave / STEPS, wave % STEPS);
    for n in 0..runs {
        let run = run_id(cohort * runs + n);
        let mut command = [0; 16];
        chance.fill(&mut command);
        let agent = AgentName::new("writer").unwrap();
        let done = story.event(run, "step.completed");
        done.actor = Actor::Agent(agent);
        if n == 0 {
            // One scattered event a wave, for queries that hit a frame each.
            done.kind = Arc::from("approval.decided");
        }
        done.cmd_id = CommandId::from_bytes(command);
        done.facts =
            format!("{{\"step\":\"step_{step}\",\"attempt\":1,\"cost_nano_usd\":0}}").into();
        done.parts = vec![output(chance)];
        let next = story.event(run, "step.dispatched");
        next.cmd_id = CommandId::from_bytes(command);
        next.facts = format!(
            "{{\"step\":\"step_{}\",\"attempt\":1,\"effect_key\":\"{:016x}{:016x}\"}}",
            step + 1,
            chance.next_u64(),
            chance.next_u64()
        )
        .into();
        story.row(row(run, step, chance));
    }
}

fn output(chance: &SeededEntropy) -> Part {
    let mut salt = [0; 16];
    chance.fill(&mut salt);
    let text = format!("{{\"text\":\"{:0>185x}\"}}", chance.next_u64());
    let bytes: Arc<[u8]> = Arc::from(text.as_bytes());
    Part {
        salt,
        len: bytes.len() as u64,
        media_type: MediaType::Json,
        content: PartContent::Inline(bytes),
    }
}

fn row(run: mc_core::id::RunId, step: u64, chance: &SeededEntropy) -> RunRow {
    let mut row = folded_row(run, &[]);
    let mut state = Vec::new();
    for step in 0..=step {
        let line = format!("{{\"step\":\"step_{step}\",\"status\":\"completed\",\"attempt\":1}}");
        state.extend_from_slice(line.as_bytes());
        state.extend_from_slice(&chance.next_u64().to_be_bytes());
        state.extend_from_slice(&chance.next_u64().to_be_bytes());
    }
    row.state = Arc::from(state);
    let ended = step + 1 == STEPS;
    row.summary.status = if ended {
        RunStatus::Completed
    } else {
        RunStatus::Running
    };
    row.needs.attention = !ended;
    row
}

async fn pages(log: &RedbLog) {
    let kind = |kind: &str| EventQuery {
        kind: Some(Arc::from(kind)),
        ..EventQuery::default()
    };
    let writer = Some(Actor::Agent(AgentName::new("writer").unwrap()));
    let both = EventQuery {
        actor: writer,
        ..kind("step.completed")
    };
    page_times(log, "dense", &both).await;
    page_times(log, "scattered", &kind("approval.decided")).await;
    let runs = RunQuery {
        status: Some(RunStatus::Completed),
        ..RunQuery::default()
    };
    let begun = Instant::now();
    let found = log.query_runs(runs).await.unwrap().items.len();
    let spent = begun.elapsed().as_secs_f64() * 1e3;
    say(&format!("a page of {found} runs: {spent:.2} ms"));
}

async fn page_times(log: &RedbLog, name: &str, query: &EventQuery) {
    let mut times = Vec::new();
    let mut cursor = None;
    for _ in 0..200 {
        let begun = Instant::now();
        let query = EventQuery {
            cursor,
            ..query.clone()
        };
        let page = log.query_events(query).await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        cursor = page.next;
    }
    times.sort_by(f64::total_cmp);
    say(&format!(
        "pages of 100 {name} events: p50 {:.2} ms, p99 {:.2} ms",
        times[100], times[197]
    ));
}

async fn sizes(log: &RedbLog, events: u64) {
    let bytes = log.bytes().await.unwrap();
    say(&format!("file: {} bytes an event", bytes.file / events));
    for table in bytes.tables.iter().filter(|table| table.rows > 0) {
        let each = |bytes: u64| bytes as f64 / events as f64;
        say(&format!(
            "{:>14} {:>9} rows {:>8.2} stored {:>7.2} metadata {:>8.2} unused, bytes an event",
            table.name,
            table.rows,
            each(table.stored),
            each(table.metadata),
            each(table.unused),
        ));
    }
}
