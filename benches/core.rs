//! What the core costs: money, calls, hashing, replay, validation. Names are `area/op/size`.
//!
//! `cargo bench --bench core`; ratios to `baseline/sha256/64_bytes` hold on other machines too.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark that cannot be set up is to stop, with its place"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mc_testkit::Simulation;
use mission_control::core::audit::{NoBlobs, Sealer, frame};
use mission_control::core::budget::{Hold, Movement, Path, post};
use mission_control::core::ports::EventLog;
use mission_control::core::run::replay;
use mission_control::store::MemoryLog;
use mission_control::testing::Scenario;
use mission_control::{
    Account, AccountId, Admission, AgentError, AgentExecutor, Amount, Digest, Limit, ModelAnswer,
    ModelRequest, NanoUsd, OnExceed, Record, RunBudget, RunId, SessionOptions, StartOptions,
    StepContext, StepOutcome, Timestamp, Usage, Workflow,
};
use serde_json::{Value, json};

struct Noop;

#[mission_control::async_trait]
impl AgentExecutor for Noop {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!({ "summary": "x".repeat(200) }).into())
    }
}

fn baseline(c: &mut Criterion) {
    let block = [7_u8; 55];
    c.bench_function("baseline/sha256/64_bytes", |b| {
        b.iter(|| Digest::of(&[black_box(&block)]));
    });
}

fn ledger(c: &mut Criterion) {
    let limit = Limit::usd(NanoUsd::MAX);
    let agent = AccountId::Agent("writer".parse().unwrap());
    let workflow = AccountId::Workflow("flow".parse().unwrap());
    let run = AccountId::Run(RunId::NIL);
    let step = AccountId::Step(RunId::NIL, "draft".parse().unwrap());
    let path: Path = [AccountId::Workspace, agent, workflow, run, step]
        .into_iter()
        .collect();
    let mut books: BTreeMap<AccountId, Account> = path
        .iter()
        .map(|id| (id.clone(), Account::new(limit, OnExceed::Abort)))
        .collect();
    let amount = Amount {
        money: NanoUsd::from_nano(3),
        calls: 1,
        ..Amount::ZERO
    };
    let less = Amount {
        money: NanoUsd::from_nano(1),
        calls: 1,
        ..Amount::ZERO
    };
    c.bench_function("budget/reserve_settle/depth_5", |b| {
        b.iter(|| {
            assert!(mission_control::core::budget::fits(&books, &path, &amount));
            post(&mut books, &path, &Movement::Reserve(amount)).unwrap();
            let settle = Movement::Settle {
                held: amount,
                actual: less,
            };
            post(&mut books, &path, &settle).unwrap();
        });
    });
    let plenty = Amount {
        money: NanoUsd::from_nano(i64::MAX / 2),
        calls: u64::MAX / 2,
        ..Amount::ZERO
    };
    post(&mut books, &path, &Movement::Reserve(plenty)).unwrap();
    let mut hold = Hold::open(path.clone(), plenty).unwrap();
    c.bench_function("budget/reserve_settle/in_escrow", |b| {
        b.iter(|| {
            hold.draw(1, black_box(amount)).unwrap();
            let settled = hold.settle(1, less).unwrap();
            post(&mut books, hold.path(), &settled.movement()).unwrap();
        });
    });
}

/// A whole governed call inside a durable block: admission, journal, events, settlement.
fn call(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_control, session) = runtime.block_on(async {
        let log = Arc::new(MemoryLog::new());
        let control = mission_control::Builder::new().open_log(log).await.unwrap();
        let limit = Limit::usd("9000000000".parse().unwrap());
        let budget = Some(RunBudget {
            limit,
            on_exceed: OnExceed::Abort,
        });
        let options = SessionOptions {
            budget,
            ..SessionOptions::default()
        };
        let session = control.guard("writer", options).await.unwrap();
        (control, session)
    });
    let model = "recorded/GPT_4".parse().unwrap();
    let request = ModelRequest::text(model, "hello")
        .input_tokens(1)
        .max_output_tokens(1);
    let answer = ModelAnswer::text("hi", Usage::text(1, 1));
    c.bench_function("calls/reserve_settle/in_escrow", |b| {
        b.iter(|| {
            runtime.block_on(async {
                match session.reserve(&request).await.unwrap() {
                    Admission::Allowed(permit) => permit.settle(&answer).await.unwrap(),
                    other => panic!("{other:?}"),
                }
            });
        });
    });
}

/// The records of one long chain.
fn records(steps: usize) -> Vec<Record> {
    let step = |i: usize| match i {
        0 => "n0: { agent: noop }".to_owned(),
        i => format!("n{i}: {{ agent: noop, needs: [n{}] }}", i - 1),
    };
    let all: Vec<String> = (0..steps).map(step).collect();
    let yaml = format!("{{ workflow: chain, steps: {{ {} }} }}", all.join(", "));
    let log = Arc::new(MemoryLog::new());
    let world = Scenario::new(
        1,
        Timestamp::from_unix_us(1_767_225_600_000_000),
        log.clone(),
    );
    let run = world.run(async {
        let control = world.open().await.unwrap();
        control.register_agent("noop", Noop).await.unwrap();
        control
            .publish(Workflow::from_yaml(yaml).unwrap())
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        let run = control
            .start("chain", json!({}), StartOptions::by("bench"))
            .await
            .unwrap();
        run.outcome().await.unwrap();
        run.id()
    });
    let world = Simulation::new(2, Timestamp::EPOCH);
    world
        .block_on(log.read_run(run.unwrap(), 0, 100_000))
        .unwrap()
        .unwrap()
}

fn log(c: &mut Criterion) {
    let records = records(500);
    let count = records.len();
    c.bench_function(&format!("run/replay/{count}_events"), |b| {
        b.iter(|| replay(black_box(&records)).unwrap());
    });
    let inline: Vec<Record> = records.into_iter().take(256).collect();
    c.bench_function("audit/seal/event", |b| {
        let mut sealer = Sealer::new("00000000-0000-7000-8000-000000000000".parse().unwrap());
        let mut at = 0;
        b.iter(|| {
            at = (at + 1) % inline.len();
            sealer.seal(&inline[at], &Digest::ZERO, &NoBlobs)
        });
    });
    c.bench_function("audit/frame/256_events", |b| {
        b.iter(|| frame::encode(black_box(&inline)));
    });
}

fn validate(c: &mut Criterion) {
    let step = |i: usize| {
        let needs: Vec<String> = (i.saturating_sub(5)..i)
            .map(|n| format!("\"n{n}\""))
            .collect();
        format!(
            "\"n{i}\": {{ \"agent\": \"noop\", \"needs\": [{}] }}",
            needs.join(", ")
        )
    };
    let all: Vec<String> = (0..1_000).map(step).collect();
    let json = format!(
        "{{ \"workflow\": \"wide\", \"steps\": {{ {} }} }}",
        all.join(", ")
    );
    c.bench_function("workflow/validate/1000_steps", |b| {
        b.iter(|| Workflow::from_json(black_box(&json)).unwrap());
    });
}

criterion_group!(benches, baseline, ledger, call, log, validate);
criterion_main!(benches);
