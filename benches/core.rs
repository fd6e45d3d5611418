//! What the core costs: money, calls, hashing, replay, validation. Names are `area/op/size`.
//!
//! `cargo bench --bench core`; ratios to `baseline/sha256/64_bytes` hold on other machines too.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark that cannot be set up is to stop, with its place"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mc_testkit::Simulation;
use mission_control::core::audit::{NoBlobs, Scope, Sealer, Verifier, frame};
use mission_control::core::budget::{Hold, Movement, Path, post};
use mission_control::core::id::{Actor, AuthMethod, CommandId};
use mission_control::core::ports::{Entropy, EventLog};
use mission_control::core::pricing::PriceLayers;
use mission_control::core::run::replay;
use mission_control::core::sequencer::{
    AttemptRequest, Command, Instant, OpenSession, Prices, Request, Settings, Token, recover,
};
use mission_control::store::MemoryLog;
use mission_control::testing::Scenario;
use mission_control::{
    Account, AccountId, Admission, AgentError, AgentExecutor, Amount, Digest, Limit, ModelAnswer,
    ModelRequest, NanoUsd, OnExceed, OsEntropy, RunBudget, RunId, SessionOptions, StartOptions,
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

/// A log with one long chain, and the chain's run.
fn chain(steps: usize) -> (Arc<MemoryLog>, RunId) {
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
    (log, run.unwrap())
}

fn read<T>(read: impl Future<Output = mission_control::Result<T>>) -> T {
    let world = Simulation::new(2, Timestamp::EPOCH);
    world.block_on(read).unwrap().unwrap()
}

fn verify(c: &mut Criterion) {
    let (log, _) = chain(500);
    let records = read(log.read_workspace(0, 100_000));
    let found = read(log.acquire()).workspace.unwrap();
    let count = records.len();
    c.bench_function(&format!("audit/verify/{count}_events"), |b| {
        b.iter(|| {
            let mut verifier = Verifier::new(found.workspace_id, Scope::Workspace);
            for record in &records {
                verifier.record(black_box(record), &NoBlobs);
            }
            assert!(verifier.finish().first_bad.is_none());
        });
    });
}

fn log(c: &mut Criterion) {
    let (log, run) = chain(500);
    let records = read(log.read_run(run, 0, 100_000));
    let count = records.len();
    c.bench_function(&format!("run/replay/{count}_events"), |b| {
        b.iter(|| replay(black_box(&records)).unwrap());
    });
    let inline: Vec<_> = records.into_iter().take(256).collect();
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

/// A command decided and applied, without its hash: what an agent says of a decision.
fn decide(c: &mut Criterion) {
    let log = MemoryLog::new();
    let found = read(log.acquire());
    let (entropy, now): (Arc<dyn Entropy>, _) = (Arc::new(OsEntropy), Timestamp::EPOCH);
    let instant = Instant {
        now,
        monotonic: std::time::Duration::ZERO,
        random: 7,
    };
    let settings = Settings::default();
    let table = Arc::clone(&settings.prices);
    let settings = (
        settings,
        Prices::new(PriceLayers::of(Arc::clone(&table)), table, BTreeMap::new()),
    );
    let (mut sequencer, _) =
        recover(&found, settings, &entropy, instant, AuthMethod::Library).unwrap();
    let command = |request| {
        Arc::new(Command {
            id: CommandId::NIL,
            actor: Actor::Agent("writer".parse().unwrap()),
            auth_method: AuthMethod::Library,
            request,
        })
    };
    let run_id = RunId::from_bytes([7; 16]);
    let open = Request::OpenSession(OpenSession {
        run_id,
        agent: "writer".parse().unwrap(),
        agent_version: None,
        budget: None,
        policy: Settings::default().run_policy,
        labels: BTreeMap::new(),
        tags: BTreeSet::new(),
    });
    sequencer.submit(&command(open), instant, None);
    let token = Token {
        epoch: found.lease.epoch,
        run_id,
        step: "session".parse().unwrap(),
        attempt: 1,
    };
    let said = Arc::new([json!(1), json!("because"), json!(2)]);
    let request = Request::Attempt(token, AttemptRequest::Decision(said));
    let command = command(request);
    c.bench_function("sequencer/decide_apply/64_events", |b| {
        b.iter(|| {
            for _ in 0..64 {
                black_box(sequencer.submit(&command, instant, None));
            }
            let (closed, promised) = sequencer.close_batch().unwrap().unwrap();
            assert!(closed.placed.len() >= 64);
            sequencer.committed(promised.next_seq);
        });
    });
}

criterion_group!(
    benches, baseline, ledger, call, decide, log, verify, validate
);
criterion_main!(benches);
