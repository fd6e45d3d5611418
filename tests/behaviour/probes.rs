//! Words on a step in doubt: each is about one attempt, and counts for no other.

use crate::asking::*;
use crate::common::*;
use mission_control::{EffectProbe, ProbeAnswer, Resolution, StepKey};
use tokio::sync::Notify;

/// Acts until it is told to stop; what it says of its first attempt it says late.
#[derive(Default)]
struct Late {
    go: Arc<Notify>,
}

#[mission_control::async_trait]
impl AgentExecutor for Late {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        ctx.cancelled().await;
        Err(AgentError::with_code("cancelled", "told to stop"))
    }

    async fn probe(&self, effect: EffectProbe) -> Option<ProbeAnswer> {
        if effect.attempt == 1 {
            self.go.notified().await;
            return Some(ProbeAnswer::DidNotHappen);
        }
        std::future::pending().await
    }
}

const STEP: &str = ", risk: irreversible, timeout: 60s";

fn step() -> StepKey {
    "a".parse().unwrap()
}

async fn in_doubt(run: &RunHandle) {
    let position = run.settled_or_blocked().await.unwrap();
    assert_eq!(blocks(&position)[0].1, BlockReason::InDoubt);
}

#[test]
fn what_is_said_of_one_attempt_does_not_count_for_the_next() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        let agent = Late::default();
        let go = Arc::clone(&agent.go);
        control.register_agent("it", agent).await.unwrap();
        let run = begin(&control, &one(STEP), json!({})).await;
        for number in 1..3 {
            let asked = pending(&control, &run).await;
            control.approve(asked, "bob", "yes").await.unwrap();
            world.pass(secs(70)).await;
            in_doubt(&run).await;
            if number == 1 {
                let word = Resolution::DidNotHappen;
                run.resolve("bob", &step(), word, "no trace").await.unwrap();
            }
        }
        // The probe of the first attempt comes to its end.
        go.notify_one();
        world.pass(secs(1)).await;
        in_doubt(&run).await;
        let step = step();
        let first = run.resolve("bob", (&step, 1), Resolution::DidNotHappen, "no trace");
        let refused = first.await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidTransition);
        let happened = Resolution::Happened(Arc::new(json!("so")));
        let second = run.resolve("bob", (&step, 2), happened, "there it is");
        second.await.unwrap();
        completes(&run).await;
    });
}

/// Hangs, whatever it is told; asked, it says that it did nothing.
struct Deaf;

#[mission_control::async_trait]
impl AgentExecutor for Deaf {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        ctx.sleep(secs(100_000)).await;
        Ok(json!("done").into())
    }

    async fn probe(&self, _: EffectProbe) -> Option<ProbeAnswer> {
        Some(ProbeAnswer::DidNotHappen)
    }
}

#[test]
fn a_probe_does_not_count_while_a_handler_may_still_act() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        control.register_agent("it", Deaf).await.unwrap();
        let run = begin(&control, &one(STEP), json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        world.pass(secs(70)).await;
        in_doubt(&run).await;
        // Whoever brings an agent is asked for what is in doubt.
        control.register_agent("it", Deaf).await.unwrap();
        world.pass(secs(1)).await;
        in_doubt(&run).await;
        // A person may know better.
        let word = Resolution::DidNotHappen;
        run.resolve("bob", (&step(), 1), word, "I looked")
            .await
            .unwrap();
        assert_eq!(pending(&control, &run).await.number, 2);
    });
}
