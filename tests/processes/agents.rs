//! What an agent can do in a joined process: all that it can in the owner's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mission_control::{
    AbortReason, AgentError, AgentExecutor, ApprovalFilter, MissionControl, Outcome, RiskTier,
    RunHandle, StartOptions, StepContext, StepOutcome, WaitingFor,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::common::{answer, hello, open, place, request, workflow};

const ONE: &str = "{ workflow: one, steps: { a: { agent: far } } }";
const MANY: &str = "
workflow: many
steps: { a: { agent: far, for_each: \"${{ inputs.list }}\" } }
";

/// An agent that is a function.
struct Far<F>(F);

#[mission_control::async_trait]
impl<F, R> AgentExecutor for Far<F>
where
    F: Fn(StepContext, Value) -> R + Send + Sync + 'static,
    R: Future<Output = Result<StepOutcome, AgentError>> + Send + 'static,
{
    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        (self.0)(ctx, input).await
    }
}

/// An owner, and a joined handle that has an agent.
async fn two(path: &Path, far: impl AgentExecutor) -> (MissionControl, MissionControl) {
    let owner = open(path).await;
    let joined = open(path).await;
    joined.register_agent("far", far).await.unwrap();
    owner.publish(workflow(ONE)).await.unwrap();
    owner.publish(workflow(MANY)).await.unwrap();
    owner.start_dispatch().await.unwrap();
    (owner, joined)
}

async fn start(control: &MissionControl, name: &str, input: Value) -> RunHandle {
    let started = control.start(name, input, StartOptions::by("ann"));
    started.await.unwrap()
}

async fn kinds(control: &MissionControl, run: &RunHandle) -> Vec<String> {
    let records = control.log().read_run(run.id(), 0, 1_000).await.unwrap();
    records.iter().map(|one| one.kind.to_string()).collect()
}

#[tokio::test]
async fn every_governed_call_of_a_far_agent_is_in_the_log() {
    let (_dir, path) = place();
    let far = Far(|ctx: StepContext, _| async move {
        let request = request("hi");
        let answered = ctx
            .model_call(&request, |_| async { Ok(answer(20)) })
            .await?;
        let params = json!({"zone": "UTC"});
        let tool = ctx.tool_call("clock", RiskTier::Write, &params, || async {
            Ok(json!("noon"))
        });
        let tool = tool.await?;
        let once = ctx.once("dice", || async { json!(4) }).await?;
        ctx.decision(json!("in"), json!("why"), json!("out"))
            .await?;
        ctx.side_effect("disk", "key").await?;
        ctx.progress(1, 2);
        Ok(json!({"model": answered.output, "tool": tool, "once": once}).into())
    });
    let (owner, _joined) = two(&path, far).await;
    let run = start(&owner, "one", hello()).await;
    let outcome = run.outcome().await.unwrap();
    let output = json!({"model": "ok", "tool": "noon", "once": 4});
    assert_eq!(outcome.output(), Some(&output));
    let kinds = kinds(&owner, &run).await;
    for kind in [
        "model_call.settled",
        "tool_call.completed",
        "once.recorded",
        "decision.recorded",
        "side_effect.recorded",
    ] {
        assert!(kinds.iter().any(|one| one == kind), "{kind}: {kinds:?}");
    }
}

#[tokio::test]
async fn a_far_agent_that_suspends_is_entered_again_with_its_journal() {
    let (_dir, path) = place();
    let computed = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&computed);
    let far = Far(move |ctx: StepContext, _| {
        let count = Arc::clone(&count);
        async move {
            let once = ctx.once("n", || async {
                json!(count.fetch_add(1, Ordering::Relaxed))
            });
            let n = once.await?;
            match ctx.resumed() {
                None => Ok(StepOutcome::Suspend {
                    checkpoint: json!({"n": n}),
                    waiting_for: WaitingFor::Signal {
                        name: mission_control::Opaque::new("go").unwrap(),
                    },
                }),
                Some((checkpoint, signal)) => {
                    Ok(json!({"checkpoint": checkpoint, "signal": signal}).into())
                }
            }
        }
    });
    let (owner, joined) = two(&path, far).await;
    let run = start(&owner, "one", hello()).await;
    run.settled_or_blocked().await.unwrap();
    let far_run = joined.run(run.id());
    far_run.signal("ann", "go", json!("now")).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    let output = json!({"checkpoint": {"n": 0}, "signal": "now"});
    assert_eq!(outcome.output(), Some(&output));
    assert_eq!(computed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn how_far_a_far_agent_has_come_is_seen_at_the_owner() {
    let (_dir, path) = place();
    let (said, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (say, wait) = (Arc::clone(&said), Arc::clone(&go));
    let far = Far(move |ctx: StepContext, _| {
        let (say, wait) = (Arc::clone(&say), Arc::clone(&wait));
        async move {
            ctx.progress(7, 9);
            // What was reported goes out with the first of these at the latest.
            for _ in 0..2 {
                ctx.decision(json!(1), json!(2), json!(3)).await?;
            }
            say.notify_one();
            wait.notified().await;
            Ok(json!({"ok": true}).into())
        }
    });
    let (owner, _joined) = two(&path, far).await;
    let run = start(&owner, "one", hello()).await;
    said.notified().await;
    let progress = run.progress();
    assert_eq!(
        (progress[0].input_tokens, progress[0].output_tokens),
        (7, 9)
    );
    go.notify_one();
    run.outcome().await.unwrap();
}

#[tokio::test]
async fn an_abort_reaches_a_far_agent() {
    let (_dir, path) = place();
    let (out, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (go_out, tell) = (Arc::clone(&out), Arc::clone(&told));
    let far = Far(move |ctx: StepContext, _| {
        let (go_out, tell) = (Arc::clone(&go_out), Arc::clone(&tell));
        async move {
            go_out.notify_one();
            ctx.cancelled().await;
            tell.notify_one();
            Err(AgentError::with_code("cancelled", "told to stop"))
        }
    });
    let (owner, joined) = two(&path, far).await;
    let run = start(&joined, "one", hello()).await;
    out.notified().await;
    run.abort(("ann", "as tested")).await.unwrap();
    let outcome = owner.run(run.id()).outcome().await.unwrap();
    assert_eq!(outcome, Outcome::Aborted(AbortReason::Operator));
    told.notified().await;
}

#[tokio::test]
async fn a_far_agent_that_panics_harms_its_own_attempt_alone() {
    let (_dir, path) = place();
    let far = Far(|ctx: StepContext, _| async move {
        assert!(ctx.attempt() > 1, "once");
        Ok(json!({"ok": true}).into())
    });
    let (owner, _joined) = two(&path, far).await;
    let run = start(&owner, "one", hello()).await;
    assert!(matches!(
        run.outcome().await.unwrap(),
        Outcome::Completed(_)
    ));
}

#[tokio::test]
async fn several_processes_that_have_an_agent_take_turns() {
    let (_dir, path) = place();
    let far = |name: &'static str| Far(move |_, _| async move { Ok(json!({"by": name}).into()) });
    let (owner, _joined) = two(&path, far("first")).await;
    let third = open(&path).await;
    third.register_agent("far", far("second")).await.unwrap();
    owner.register_agent("far", far("own")).await.unwrap();
    let run = start(&owner, "many", json!({"list": [1, 2, 3, 4, 5, 6]})).await;
    let outcome = run.outcome().await.unwrap();
    let text = outcome.output().unwrap().to_string();
    for name in ["first", "second", "own"] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[tokio::test]
async fn an_agent_that_left_is_missed_until_another_process_brings_it() {
    let (_dir, path) = place();
    let far = |name: &'static str| Far(move |_, _| async move { Ok(json!({"by": name}).into()) });
    let (owner, joined) = two(&path, far("first")).await;
    let third = open(&path).await;
    third.register_agent("far", far("second")).await.unwrap();
    joined.shutdown(Duration::from_secs(5)).await.unwrap();
    let run = start(&owner, "one", hello()).await;
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.output(), Some(&json!({"by": "second"})));
}

#[tokio::test]
async fn the_same_key_finds_the_same_run_from_every_process() {
    let (_dir, path) = place();
    let far = Far(|_, input| async move { Ok(StepOutcome::Output(input)) });
    let (owner, joined) = two(&path, far).await;
    let keyed = || StartOptions {
        idempotency_key: Some("k".to_owned()),
        ..StartOptions::by("ann")
    };
    let first = owner.start("one", hello(), keyed()).await.unwrap();
    let second = joined.start("one", hello(), keyed()).await.unwrap();
    assert_eq!(first.id(), second.id());
    let other = joined.start("one", json!({"other": 1}), keyed()).await;
    assert!(matches!(
        other.unwrap_err().detail(),
        Some(mission_control::Detail::KeyReused { .. })
    ));
}

#[tokio::test]
async fn a_far_tool_call_goes_on_once_a_person_has_decided() {
    let (_dir, path) = place();
    let far = Far(|ctx: StepContext, _| async move {
        let params = json!({"to": "eve"});
        let paid = ctx.tool_call("pay", RiskTier::Financial, &params, || async {
            Ok(json!("receipt"))
        });
        match paid.await {
            Ok(receipt) => Ok(json!({"paid": receipt}).into()),
            Err(error) => Ok(json!({"denied": error.code()}).into()),
        }
    });
    let (owner, joined) = two(&path, far).await;
    for (control, yes) in [(&owner, true), (&joined, true), (&owner, false)] {
        let run = start(&owner, "one", hello()).await;
        run.settled_or_blocked().await.unwrap();
        let asked = control.approvals(ApprovalFilter::Pending).await.unwrap();
        let expected = if yes {
            control.approve(asked[0].id, "bob", "yes").await.unwrap();
            json!({"paid": "receipt"})
        } else {
            control.reject(asked[0].id, "bob", "no").await.unwrap();
            json!({"denied": "approval_invalid"})
        };
        let outcome = tokio::time::timeout(Duration::from_secs(20), run.outcome()).await;
        let outcome = outcome.expect("it goes on").unwrap();
        assert_eq!(outcome.output(), Some(&expected));
    }
}
