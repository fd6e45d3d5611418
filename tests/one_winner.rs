//! A thousand operators on many threads decide one request at the same moment: one of them does.
//!
//! `MC_ONE_WINNER_ROUNDS` lets it happen oftener than the suite has time for.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mission_control::store::MemoryLog;
use mission_control::{
    AgentError, AgentExecutor, ApprovalFilter, ApprovalId, Builder, MissionControl, Outcome,
    StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};

const DECIDERS: usize = 1_000;
const ROUNDS: usize = 20;
const PAY: &str = "{ workflow: pay, steps: { a: { agent: payer, risk: financial } } }";

/// Counts how often it acts.
struct Payer(Arc<AtomicUsize>);

#[mission_control::async_trait]
impl AgentExecutor for Payer {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(json!("paid").into())
    }
}

/// The word of one operator: whether it counted, and whether it was yes.
async fn decide(control: MissionControl, asked: ApprovalId, n: usize) -> Option<bool> {
    let by = format!("op-{n}");
    let yes = !n.is_multiple_of(3);
    let said = if yes {
        control.approve(asked, &by, "it is due").await
    } else {
        control.reject(asked, &by, "it is not").await
    };
    said.is_ok().then_some(yes)
}

/// One request and a thousand words on it; whether it was approved.
async fn round(control: &MissionControl, paid: &AtomicUsize) -> bool {
    let before = paid.load(Ordering::SeqCst);
    let run = control.start("pay", json!({}), StartOptions::by("ann"));
    let run = run.await.unwrap();
    run.settled_or_blocked().await.unwrap();
    let asked = control.approvals(ApprovalFilter::Pending).await.unwrap();
    let asked = asked[0].id;
    let words: Vec<_> = (0..DECIDERS)
        .map(|n| tokio::spawn(decide(control.clone(), asked, n)))
        .collect();
    let mut counted = Vec::new();
    for word in words {
        counted.extend(word.await.unwrap());
    }
    assert_eq!(counted.len(), 1, "one word counts");
    let outcome = run.outcome().await.unwrap();
    let approved = counted[0];
    assert_eq!(
        matches!(outcome, Outcome::Completed(_)),
        approved,
        "{outcome:?}"
    );
    let times = paid.load(Ordering::SeqCst) - before;
    assert_eq!(times, usize::from(approved));
    let log = control.log().read_run(run.id(), 0, 1_000).await.unwrap();
    let count = |kind: &str| log.iter().filter(|one| &*one.kind == kind).count();
    assert_eq!(count("approval.decided"), 1);
    assert_eq!(count("approval.consumed"), usize::from(approved));
    assert_eq!(count("step.dispatched"), usize::from(approved));
    approved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_words_at_once_one_counts_and_one_payment_is_made_at_most() {
    let rounds = std::env::var("MC_ONE_WINNER_ROUNDS").ok();
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let log = Arc::new(MemoryLog::new());
    let control = Builder::new().open_log(log).await.unwrap();
    let paid = Arc::new(AtomicUsize::new(0));
    let payer = Payer(Arc::clone(&paid));
    control.register_agent("payer", payer).await.unwrap();
    let workflow = Workflow::from_yaml(PAY).unwrap();
    control.publish(workflow).await.unwrap();
    control.start_dispatch().await.unwrap();
    let mut approved = 0;
    for _ in 0..rounds {
        approved += usize::from(round(&control, &paid).await);
    }
    assert_eq!(paid.load(Ordering::SeqCst), approved);
}
