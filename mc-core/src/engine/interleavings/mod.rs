//! The engine's edges under a scheduler of threads that explores their orders.
//!
//! Commands, the driver, attempts, waiters and subscribers each have a thread; another one may go
//! next wherever a lock of the engine is taken or given back, or the log writes. A wake-up that is
//! lost stands still for good, and the scheduler tells. What is *not* here: order within one thread,
//! time and crashes (`sim`), and the ledger (`tests/ledger_shuttle.rs`).

mod guard;
mod log;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, future};

pub(super) use self::guard::Guard;
use self::log::{ModelLog, Next};
use super::*;
use crate::budget::{AccountId, Limit, OnExceed};
use crate::error::ErrorKind;
use crate::event::run::AbortReason;
use crate::id::AuthMethod;
use crate::money::NanoUsd;
use crate::resilience::CallFailure;
use crate::sequencer::Settings;
use crate::sim::{SeededEntropy, SimClock};
use crate::time::Timestamp;
use crate::workflow::Workflow;
pub(super) use shuttle::sync::Mutex;

/// Every task has a thread of the scheduler.
#[derive(Debug)]
struct Threads;

impl Spawner for Threads {
    fn spawn_driver(&self, task: Task) {
        drop(future::spawn(task));
    }

    fn spawn_handler(&self, task: Task) {
        drop(future::spawn(task));
    }
}

/// Gives its input back.
struct Echo;

#[async_trait]
impl AgentExecutor for Echo {
    async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        future::yield_now().await;
        Ok(input.into())
    }
}

const GRACE: std::time::Duration = std::time::Duration::from_secs(1);

const TWO: &str = "{ workflow: w, steps: { a: { agent: echo }, b: { agent: echo, needs: [a] } } }";

async fn open(log: &ModelLog) -> MissionControl {
    let parts = Parts {
        log: Arc::new(log.clone()),
        clock: Arc::new(SimClock::starting_at(Timestamp::EPOCH)),
        entropy: Arc::new(SeededEntropy::new(1)),
        spawner: Arc::new(Threads),
        settings: Settings::default(),
        auth_method: AuthMethod::Library,
        switch: None,
    };
    let control = Engine::open(parts).await.unwrap();
    control.register_agent("echo", Echo).await.unwrap();
    let workflow = Workflow::from_yaml(TWO).unwrap();
    control.publish(workflow).await.unwrap();
    control.start_dispatch().await.unwrap();
    control
}

/// What the orders are drawn from: every test run explores the same ones.
const SEED: u64 = 7;

/// Explores orders of a model: some drawn, some with few changes of thread.
fn explore(model: fn()) {
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        Runner::new(scheduler, config).run(model);
    };
    run(Box::new(RandomScheduler::new_from_seed(SEED, 100)));
    run(Box::new(PctScheduler::new_from_seed(SEED, 3, 100)));
}

/// Starts a run, and watches it to its end; what it was told has to be on disk.
async fn host(control: MissionControl, log: ModelLog) {
    let started = control.start("w", json!({"x": 1}), StartOptions::by("ann"));
    let run = started.await.unwrap();
    assert_eq!(log.count(run.id(), "run.created"), 1, "I8: a start");
    let subscriber = future::spawn(events_of(run.events()));
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.output(), Some(&json!({"x": 1})));
    assert_eq!(log.count(run.id(), "run.completed"), 1, "I8: an end");
    // What was written and not handed out goes out again.
    let again = log.count(run.id(), "attempt.interrupted");
    assert_eq!(log.count(run.id(), "step.dispatched"), 2 + again);
    let seen = subscriber.await.unwrap();
    assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>());
}

async fn events_of(mut events: RunEvents) -> Vec<u64> {
    let mut seen = Vec::new();
    while let Some(news) = events.next().await.unwrap() {
        if let RunNews::Event(event) = news {
            seen.push(event.run_seq);
        }
    }
    seen
}

async fn hosts_to_the_end(log: ModelLog, next: Next) {
    let control = open(&log).await;
    log.set(next);
    let hosts: Vec<_> = (0..2)
        .map(|_| future::spawn(host(control.clone(), log.clone())))
        .collect();
    for host in hosts {
        host.await.unwrap();
    }
    control.shutdown(GRACE).await.unwrap();
}

#[test]
fn whoever_waits_for_a_run_is_woken_and_told_only_what_is_on_disk() {
    explore(|| future::block_on(hosts_to_the_end(ModelLog::default(), Next::Works)));
}

#[test]
fn a_commit_that_fails_is_told_to_nobody_as_done_and_loses_nobody() {
    explore(|| future::block_on(hosts_to_the_end(ModelLog::default(), Next::Fails)));
}

#[test]
fn a_commit_that_fails_although_it_was_written_is_answered_once() {
    explore(|| future::block_on(hosts_to_the_end(ModelLog::default(), Next::FailsAfter)));
}

/// Two wait for the same run; when both have gone, nothing is kept for them.
async fn watchers_come_and_go() {
    let log = ModelLog::default();
    let control = open(&log).await;
    let started = control.start("w", json!({"x": 1}), StartOptions::by("ann"));
    let run = started.await.unwrap();
    let waits = |run: RunHandle| async move { run.outcome().await.map(drop) };
    let others: Vec<_> = (0..2).map(|_| future::spawn(waits(run.clone()))).collect();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert!(inner::lock(&run.inner.watchers).is_empty());
    control.shutdown(GRACE).await.unwrap();
}

#[test]
fn nothing_is_kept_for_those_who_waited_for_a_run() {
    explore(|| future::block_on(watchers_come_and_go()));
}

/// What a call of one token costs: the account has room for one.
const ROOM: i64 = 60_000;

/// Calls once in a session of its own; the call turns out never to have been sent.
async fn calls(control: MissionControl, log: ModelLog) {
    let opened = control.guard("host", SessionOptions::default());
    let session = opened.await.unwrap();
    let request = ModelRequest::text("recorded/GPT_4".parse().unwrap(), "p")
        .input_tokens(0)
        .max_output_tokens(1);
    let Admission::Allowed(permit) = session.reserve(&request).await.unwrap() else {
        panic!("there is room in the end");
    };
    let reserved = log.count(session.id(), "model_call.reserved");
    assert_eq!(reserved, 1, "I8: a permit");
    let account = control.account(&AccountId::Workspace).unwrap();
    assert!(account.exposure().money.as_nano() <= ROOM);
    let unsent = ProviderError::new(CallFailure::NotSent, "given up");
    permit.fail(&unsent).await.unwrap();
    session.close().await.unwrap();
}

/// Three callers share an account that has room for one of their calls at a time.
async fn callers_take_turns() {
    let log = ModelLog::default();
    let control = open(&log).await;
    let account = AccountId::Workspace;
    let limit = Limit::usd(NanoUsd::from_nano(ROOM));
    let set = control.set_limit(
        ("ann", "as tested"),
        account.clone(),
        limit,
        OnExceed::Abort,
    );
    set.await.unwrap();
    let callers: Vec<_> = (0..3)
        .map(|_| future::spawn(calls(control.clone(), log.clone())))
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let account = control.account(&account).unwrap();
    assert!(account.reserved().is_zero() && account.in_doubt().is_zero());
    assert_eq!(account.spent().money.as_nano(), 0);
    control.shutdown(GRACE).await.unwrap();
}

#[test]
fn callers_that_share_an_account_take_turns_and_each_gets_its_own() {
    explore(|| future::block_on(callers_take_turns()));
}

/// Waits for a run's end, or until it is told that the engine was shut down.
async fn until_the_end(control: MissionControl, log: ModelLog) {
    let started = control.start("w", json!({"x": 1}), StartOptions::by("ann"));
    let run = match started.await {
        Ok(run) => run,
        Err(refused) => return assert_eq!(refused.kind(), ErrorKind::Unavailable),
    };
    assert_eq!(log.count(run.id(), "run.created"), 1, "I8: a start");
    match run.outcome().await {
        Ok(_) => assert_eq!(log.count(run.id(), "run.completed"), 1, "I8: an end"),
        Err(refused) => assert_eq!(refused.kind(), ErrorKind::Unavailable),
    }
}

async fn shut_down_at_any_moment() {
    let log = ModelLog::default();
    let control = open(&log).await;
    let hosts: Vec<_> = (0..2)
        .map(|_| future::spawn(until_the_end(control.clone(), log.clone())))
        .collect();
    future::yield_now().await;
    control.shutdown(GRACE).await.unwrap();
    for host in hosts {
        host.await.unwrap();
    }
}

#[test]
fn a_shutdown_at_any_moment_leaves_nobody_waiting() {
    explore(|| future::block_on(shut_down_at_any_moment()));
}

/// What a session takes at a time where there is no limit.
const BLOCK: i64 = 250_000_000;

/// A host lets its permit and its session go while a commit fails.
async fn lets_go(next: Next) {
    let log = ModelLog::default();
    let control = open(&log).await;
    let opened = control.guard("host", SessionOptions::default());
    let session = opened.await.unwrap();
    let request = ModelRequest::text("recorded/GPT_4".parse().unwrap(), "p")
        .input_tokens(0)
        .max_output_tokens(1);
    let permit = session.reserve(&request).await.unwrap();
    log.set(next);
    let other = future::spawn(until_the_end(control.clone(), log.clone()));
    drop(permit);
    let run = control.run(session.id());
    drop(session);
    let doubted = match run.outcome().await.unwrap() {
        Outcome::Completed(_) => ROOM,
        // The commit that failed was that of its end: it counts as lost, and its block whole.
        Outcome::Aborted(AbortReason::HostLost) => BLOCK,
        other @ (Outcome::Failed { .. } | Outcome::Aborted(_)) => panic!("{other:?}"),
    };
    other.await.unwrap();
    let account = control.account(&AccountId::Workspace).unwrap();
    assert_eq!(account.in_doubt().money.as_nano(), doubted);
    assert!(account.reserved().is_zero() && account.spent().is_zero());
    control.shutdown(GRACE).await.unwrap();
}

#[test]
fn what_is_let_go_while_a_commit_fails_is_counted_and_ends() {
    explore(|| future::block_on(lets_go(Next::Fails)));
    explore(|| future::block_on(lets_go(Next::FailsAfter)));
}
