//! The plug is pulled on a whole engine, between any two operations of its disk, with every loss.
//!
//! What the provider has seen by then is covered by what the accounts count as spent or in doubt, the
//! limit holds, and the run goes on to its end once the doubt is settled.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not test functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mc_testkit::{Crash, CrashBackend, TEST_PRICES};
use mission_control::store::RedbLog;
use mission_control::testing::Scenario;
use mission_control::{
    AccountId, AgentError, AgentExecutor, Amount, Limit, MissionControl, ModelAnswer, ModelRequest,
    NanoUsd, OnExceed, Outcome, PriceTable, RunHandle, Settings, StartOptions, StepContext,
    StepOutcome, Timestamp, Usage, Workflow,
};
use serde_json::{Value, json};

/// Thousandths of a dollar: what a call may cost at most, and what it costs.
const BOUND: i64 = 50;
const COST: i64 = 20;
const LIMIT: i64 = 400;

const FLOW: &str = "
workflow: w
steps:
  a: { agent: it, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 60 } }
  b: { agent: it, needs: [a], for_each: \"[1, 2]\" }
  c: { agent: it, needs: [b] }
";

/// Makes one call; the provider notes it on the disk's journal before it answers.
struct Caller {
    disk: CrashBackend,
    sent: Arc<AtomicU64>,
}

#[mission_control::async_trait]
impl AgentExecutor for Caller {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let request = ModelRequest::text("test/m".parse().unwrap(), ctx.step().as_str())
            .input_tokens(0)
            .max_output_tokens(BOUND.unsigned_abs());
        let answered = ctx.model_call(&request, |_| async {
            self.disk
                .mark(self.sent.fetch_add(1, Ordering::Relaxed) + 1);
            ctx.sleep(Duration::from_secs(1)).await;
            let usage = Usage {
                output_text: COST.unsigned_abs(),
                ..Usage::default()
            };
            Ok(ModelAnswer::text("ok", usage))
        });
        answered.await?;
        Ok(json!({"ok": true}).into())
    }
}

fn mills(mills: i64) -> NanoUsd {
    NanoUsd::from_nano(mills * 1_000_000)
}

fn scenario(disk: &CrashBackend, seed: u64) -> Scenario {
    let log = RedbLog::inline(disk.clone()).unwrap();
    let start = Timestamp::from_unix_us(1_767_225_600_000_000);
    Scenario::new(seed, start, Arc::new(log))
}

async fn open(scenario: &Scenario, disk: &CrashBackend, sent: u64) -> MissionControl {
    let settings = Settings {
        prices: Arc::new(PriceTable::parse(TEST_PRICES).unwrap()),
        ..Settings::default()
    };
    let control = scenario.open_with(settings).await.unwrap();
    let caller = Caller {
        disk: disk.clone(),
        sent: Arc::new(AtomicU64::new(sent)),
    };
    control.register_agent("it", caller).await.unwrap();
    control
}

async fn begin(control: &MissionControl) -> RunHandle {
    let limit = Limit::usd(mills(LIMIT));
    let set = control.set_limit(
        ("ann", "as tested"),
        AccountId::Workspace,
        limit,
        OnExceed::Abort,
    );
    set.await.unwrap();
    control
        .publish(Workflow::from_yaml(FLOW).unwrap())
        .await
        .unwrap();
    control.start_dispatch().await.unwrap();
    let run = control.start("w", json!({}), StartOptions::by("ann"));
    run.await.unwrap()
}

/// The provider's bill so far is covered, and the limit holds.
fn is_covered(control: &MissionControl, sent: u64, place: &str) {
    let account = control.account(&AccountId::Workspace).unwrap_or_default();
    let counted = account.spent().money.as_nano() + account.in_doubt().money.as_nano();
    let billed = i64::try_from(sent).unwrap() * mills(COST).as_nano();
    assert!(
        counted >= billed,
        "{place}: {counted} counted, {billed} billed"
    );
    let exposure = account.exposure().money;
    assert!(
        exposure <= mills(LIMIT),
        "{place}: {exposure} is over the limit"
    );
}

/// One intent has one effect key, however often it is dispatched.
async fn keeps_its_effect_keys(control: &MissionControl, run: &RunHandle, place: &str) {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in control.log().read_run(run.id(), 0, 10_000).await.unwrap() {
        if &*event.kind == "step.dispatched" {
            let facts: Value = serde_json::from_str(&event.facts).unwrap();
            let step = facts["step"].as_str().unwrap().to_owned();
            let key = facts["effect_key"].as_str().unwrap().to_owned();
            keys.entry(step).or_default().insert(key);
        }
    }
    assert!(
        keys.values().all(|keys| keys.len() == 1),
        "{place}: {keys:?}"
    );
}

async fn goes_on(control: &MissionControl, run: &RunHandle, place: &str) {
    control.start_dispatch().await.unwrap();
    for (hold, _) in run.doubts().await.unwrap() {
        let actual = Amount {
            money: mills(COST),
            ..Amount::ZERO
        };
        run.reconcile("ann", &hold, actual, "the bill")
            .await
            .unwrap();
    }
    let outcome = run.outcome().await.unwrap();
    assert!(
        matches!(outcome, Outcome::Completed(_)),
        "{place}: {outcome:?}"
    );
    keeps_its_effect_keys(control, run, place).await;
    let account = control.account(&AccountId::Workspace).unwrap();
    assert!(account.reserved().is_zero(), "{place}: {account:?}");
}

fn survives(crash: Crash, id: mission_control::RunId) -> bool {
    let place = format!("step {} {:?}", crash.step, crash.loss);
    let sent = crash.marked.unwrap_or(0);
    let disk = CrashBackend::of_image(crash.image);
    let scenario = scenario(&disk, 7);
    scenario
        .run(async {
            let control = open(&scenario, &disk, sent).await;
            is_covered(&control, sent, &place);
            let run = control.run(id);
            let known = run.state().await.is_ok();
            if known {
                goes_on(&control, &run, &place).await;
            } else {
                assert_eq!(sent, 0, "{place}: a call went out for a run that is lost");
            }
            known
        })
        .unwrap_or_else(|stalled| panic!("{place}: {stalled}"))
}

#[test]
fn a_crash_at_any_moment_loses_no_bill_and_no_run() {
    let made = CrashBackend::new();
    drop(RedbLog::inline(made.clone()).unwrap());
    let disk = CrashBackend::of_image(made.image());
    let scenario = scenario(&disk, 1);
    let id = scenario
        .run(async {
            let control = open(&scenario, &disk, 0).await;
            let run = begin(&control).await;
            run.outcome().await.unwrap();
            run.id()
        })
        .unwrap();
    let (mut shown, mut taken_up) = (0, 0);
    disk.journal().crashes(3, |crash| {
        shown += 1;
        taken_up += u32::from(survives(crash, id));
    });
    assert!(
        taken_up > 50,
        "only {taken_up} of {shown} images had the run"
    );
}
