//! Many reasons to dispatch come at the same moment, from many threads, and there is one approval: it is
//! used up once, by one dispatch, and what was approved is done once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first broken promise"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mc_testkit::TEST_PRICES;
use mission_control::store::MemoryLog;
use mission_control::{
    AccountId, Admission, AgentError, AgentExecutor, ApprovalFilter, ApprovalId, Builder, Limit,
    MissionControl, ModelRequest, NanoUsd, OnExceed, Outcome, Permit, Policy, PriceTable, RiskTier,
    RunHandle, SessionOptions, Settings, StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const RACERS: usize = 100;
const ROUNDS: usize = 25;
/// Calls of a tool, or items, that are alike.
const ALIKE: usize = 16;

const PAY: &str = "
workflow: pay
steps:
  a: { agent: payer, risk: financial, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 50 } }
";
const MANY: &str = "
workflow: pay
steps:
  a: { agent: payer, risk: financial, for_each: inputs.all, max_parallel: 16, input: { to: eve } }
";
const TOOLS: &str = "{ workflow: pay, steps: { a: { agent: spender } } }";
const POLICY: &str = "tools: { pay: { risk: financial } }";

/// Counts how often it acts.
#[derive(Clone)]
struct Payer(Arc<AtomicUsize>);

#[mission_control::async_trait]
impl AgentExecutor for Payer {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(json!("paid").into())
    }
}

/// Makes the same call of the same tool several times at once; how many were made.
struct Spender(Arc<AtomicUsize>);

#[mission_control::async_trait]
impl AgentExecutor for Spender {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let params = json!({"to": "eve"});
        let calls = (0..ALIKE).map(|_| {
            ctx.tool_call("pay", RiskTier::Financial, &params, || async {
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(json!("paid"))
            })
        });
        let made = futures::future::join_all(calls).await;
        Ok(json!(made.iter().filter(|call| call.is_ok()).count()).into())
    }
}

/// A store, and how often was paid.
struct Bench {
    control: MissionControl,
    paid: Arc<AtomicUsize>,
}

impl Bench {
    async fn of(workflow: &str) -> Self {
        let settings = Settings {
            prices: Arc::new(PriceTable::parse(TEST_PRICES).unwrap()),
            ..Settings::default()
        };
        let builder = Builder::new().with_settings(settings);
        let log = Arc::new(MemoryLog::new());
        let control = builder.open_log(log).await.unwrap();
        let paid = Arc::new(AtomicUsize::new(0));
        let (payer, spender) = (Payer(Arc::clone(&paid)), Spender(Arc::clone(&paid)));
        control.register_agent("payer", payer).await.unwrap();
        control.register_agent("spender", spender).await.unwrap();
        let policy = Policy::from_yaml(POLICY).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let workflow = Workflow::from_yaml(workflow).unwrap();
        control.publish(workflow).await.unwrap();
        control.start_dispatch().await.unwrap();
        Self { control, paid }
    }

    fn paid(&self) -> usize {
        self.paid.load(Ordering::SeqCst)
    }

    async fn start(&self) -> RunHandle {
        let items: Vec<usize> = (0..ALIKE).collect();
        let input = json!({ "all": items });
        let run = self.control.start("pay", input, StartOptions::by("ann"));
        run.await.unwrap()
    }

    /// What a person is asked, once there are so many.
    async fn asked(&self, run: &RunHandle, times: usize) -> Vec<ApprovalId> {
        let mut events = run.events();
        loop {
            let asked = self.control.approvals(ApprovalFilter::Pending).await;
            let ids: Vec<_> = asked.unwrap().iter().map(|one| one.id).collect();
            if ids.len() == times {
                return ids;
            }
            events.next().await.unwrap();
        }
    }

    /// How many events of each of these kinds a run has.
    async fn counts<const N: usize>(&self, run: &RunHandle, kinds: [&str; N]) -> [usize; N] {
        let log = self.control.log().read_run(run.id(), 0, 10_000).await;
        let log = log.unwrap();
        kinds.map(|kind| log.iter().filter(|one| &*one.kind == kind).count())
    }

    /// Returns once a run has so many events of a kind.
    async fn until(&self, run: &RunHandle, kind: &str, times: usize) {
        let mut events = run.events();
        while self.counts(run, [kind]).await[0] < times {
            events.next().await.unwrap();
        }
    }

    /// Everything that lets a step go out, at the same time; what is refused is.
    async fn race(&self, run: &RunHandle, asked: ApprovalId, permit: Option<Permit>) {
        let mut racing = JoinSet::new();
        for n in 0..RACERS {
            let (control, run) = (self.control.clone(), run.clone());
            let payer = Payer(Arc::clone(&self.paid));
            racing.spawn(async move {
                let _ = match n % 5 {
                    0 => run.resume(("ann", "as tested")).await,
                    1 => control.start_dispatch().await,
                    2 => control.register_agent("payer", payer).await,
                    3 => limit(&control, 1_000 + n).await,
                    _ => control.approve(asked, "bob", "again").await,
                };
            });
        }
        racing.spawn(async move { drop(permit) });
        while let Some(raced) = racing.join_next().await {
            raced.unwrap();
        }
    }

    /// The run ends well, by one dispatch that used up one approval.
    async fn once(&self, run: &RunHandle, before: usize) {
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
        let kinds = ["step.dispatched", "approval.consumed", "approval.requested"];
        assert_eq!(self.counts(run, kinds).await, [1, 1, 1]);
        assert_eq!(self.paid() - before, 1);
    }
}

async fn limit(control: &MissionControl, mills: usize) -> mission_control::Result<()> {
    let mills = i64::try_from(mills).unwrap();
    let limit = Limit::usd(NanoUsd::from_nano(mills * 1_000_000));
    let set = control.set_limit(
        ("ann", "as tested"),
        AccountId::Workspace,
        limit,
        OnExceed::Pause,
    );
    set.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approved_step_goes_out_once_however_many_reasons_there_are_at_once() {
    let bench = Bench::of(PAY).await;
    for _ in 0..ROUNDS {
        let before = bench.paid();
        let run = bench.start().await;
        let asked = bench.asked(&run, 1).await[0];
        run.pause(("ann", "as tested")).await.unwrap();
        bench.control.approve(asked, "bob", "due").await.unwrap();
        assert_eq!(bench.counts(&run, ["approval.consumed"]).await, [0]);
        bench.race(&run, asked, None).await;
        bench.once(&run, before).await;
    }
}

/// Holds most of what the workspace may spend.
async fn held(control: &MissionControl) -> Permit {
    let options = SessionOptions::default();
    let session = control.guard("host", options).await.unwrap();
    let request = ModelRequest::text("test/m".parse().unwrap(), "p")
        .input_tokens(0)
        .max_output_tokens(80);
    match session.reserve(&request).await.unwrap() {
        Admission::Allowed(permit) => permit,
        other @ (Admission::Clamped(_)
        | Admission::Answered(_)
        | Admission::NeedsApproval(_)
        | Admission::Denied(_)) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approval_that_waits_for_money_is_used_once_when_all_of_it_comes_free() {
    let bench = Bench::of(PAY).await;
    for _ in 0..ROUNDS {
        let before = bench.paid();
        let spent = bench.control.account(&AccountId::Workspace);
        let spent = spent.unwrap_or_default().exposure().money.as_nano() / 1_000_000;
        let spent = usize::try_from(spent).unwrap();
        limit(&bench.control, spent + 100).await.unwrap();
        let permit = held(&bench.control).await;
        let run = bench.start().await;
        let asked = bench.asked(&run, 1).await[0];
        bench.control.approve(asked, "bob", "due").await.unwrap();
        assert_eq!(bench.counts(&run, ["approval.consumed"]).await, [0]);
        bench.race(&run, asked, Some(permit)).await;
        limit(&bench.control, spent + 10_000).await.unwrap();
        bench.once(&run, before).await;
    }
}

/// Many approve a request at once: one word counts.
async fn approved_once(bench: &Bench, asked: ApprovalId) {
    let mut racing = JoinSet::new();
    for _ in 0..RACERS {
        let control = bench.control.clone();
        racing.spawn(async move { control.approve(asked, "bob", "due").await.is_ok() });
    }
    let counted = racing.join_all().await;
    assert_eq!(counted.iter().filter(|counted| **counted).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_calls_that_are_alike_only_the_one_that_was_approved_is_made() {
    let bench = Bench::of(TOOLS).await;
    for _ in 0..ROUNDS {
        let before = bench.paid();
        let run = bench.start().await;
        let asked = bench.asked(&run, ALIKE).await;
        approved_once(&bench, asked[0]).await;
        bench.until(&run, "approval.consumed", 1).await;
        for other in &asked[1..] {
            let said = bench.control.reject(*other, "bob", "not due").await;
            said.unwrap();
        }
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.output(), Some(&json!(1)), "{outcome:?}");
        let kinds = ["tool_call.dispatched", "approval.consumed"];
        assert_eq!(bench.counts(&run, kinds).await, [1, 1]);
        assert_eq!(bench.paid() - before, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approval_of_one_item_lets_none_of_the_others_out_that_are_like_it() {
    let bench = Bench::of(MANY).await;
    let run = bench.start().await;
    for item in 1..=ALIKE {
        // Items go out in order: the next one is asked for once this one is out.
        let asked = bench.asked(&run, 1).await;
        approved_once(&bench, asked[0]).await;
        bench.until(&run, "step.dispatched", item).await;
        let kinds = ["step.dispatched", "approval.consumed"];
        assert_eq!(bench.counts(&run, kinds).await, [item, item]);
    }
    run.outcome().await.unwrap();
    assert_eq!(bench.paid(), ALIKE);
}
