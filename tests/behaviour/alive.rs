//! A handler that outlives its owner: while it acts, nobody is asked what became of its step.

use crate::asking::*;
use crate::common::*;
use crate::restart::{Next, faulty_world};
use mission_control::{EffectProbe, ProbeAnswer, Resolution, StepKey};
use std::sync::Mutex;
use tokio::sync::Notify;

const STEP: &str = ", risk: irreversible";

/// Acts for as long as it may, and then fails without a word on what it did.
struct Acts(Arc<Notify>);

#[mission_control::async_trait]
impl AgentExecutor for Acts {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.0.notified().await;
        Err(AgentError::new("its answer was lost"))
    }
}

/// Notes when it is asked; the first time it says that nothing happened, once it may.
struct Looks {
    clock: Arc<dyn mission_control::core::ports::Clock>,
    go: Arc<Notify>,
    asked: Arc<Mutex<Vec<u64>>>,
}

#[mission_control::async_trait]
impl AgentExecutor for Looks {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!("done anew").into())
    }

    async fn probe(&self, _: EffectProbe) -> Option<ProbeAnswer> {
        let first = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(self.clock.monotonic().as_secs());
            asked.len() == 1
        };
        if first {
            self.go.notified().await;
            return Some(ProbeAnswer::DidNotHappen);
        }
        Some(ProbeAnswer::Happened(json!("found")))
    }
}

/// A step that is out in one joined process while its owner is gone, and another that takes over at
/// second 100 of the world.
struct Left {
    far: Joined,
    heir: Joined,
    run: RunHandle,
    act: Arc<Notify>,
    answer: Arc<Notify>,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Left {
    async fn behind(world: &World) -> Self {
        let owner = world.open().await;
        let (far, heir) = (join(world, &owner), join_with(world, &owner, few()));
        let (act, answer) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let acts = Acts(Arc::clone(&act));
        far.control.register_agent("it", acts).await.unwrap();
        let run = begin(&owner, &one(STEP), json!({})).await;
        let id = pending(&owner, &run).await;
        owner.approve(id, "bob", "yes").await.unwrap();
        world.pass(secs(1)).await;
        let asked = Arc::<Mutex<Vec<u64>>>::default();
        let looks = Looks {
            clock: Arc::clone(world.0.simulation().clock()) as _,
            go: Arc::clone(&answer),
            asked: Arc::clone(&asked),
        };
        heir.control.register_agent("it", looks).await.unwrap();
        heir.control.start_dispatch().await.unwrap();
        let until = secs(100).saturating_sub(world.elapsed());
        world.pass(until).await;
        far.lose_owner();
        heir.lose_owner();
        heir.take_over().await;
        let run = heir.control.run(run.id());
        Self {
            far,
            heir,
            run,
            act,
            answer,
            asked,
        }
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }

    async fn in_doubt(&self) {
        let position = self.run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::InDoubt);
    }

    async fn is_found(&self) {
        let outcome = self.run.outcome().await.unwrap();
        assert_eq!(outcome.output(), Some(&json!("found")));
    }
}

#[test]
fn a_new_owner_asks_once_those_that_had_joined_have_had_the_time_to_come_back() {
    let world = World::seeded(1);
    world.run(async {
        let left = Left::behind(&world).await;
        world.pass(secs(60)).await;
        assert_eq!(left.asked(), [105]);
        left.answer.notify_one();
        world.pass(secs(1)).await;
        // What did not happen is asked of a person anew.
        let again = pending(&left.heir.control, &left.run).await;
        assert_eq!(again.number, 2);
    });
}

#[test]
fn while_a_handler_acts_in_a_process_that_came_back_nobody_is_asked() {
    let world = World::seeded(2);
    world.run(async {
        let mut left = Left::behind(&world).await;
        world.pass(secs(4)).await;
        left.far.rejoin(&left.heir).await;
        world.pass(secs(60)).await;
        assert_eq!(left.asked(), [0; 0]);
        left.in_doubt().await;
        left.answer.notify_one();
        left.act.notify_one();
        world.pass(secs(1)).await;
        assert_eq!(left.asked(), [164]);
    });
}

#[test]
fn a_word_on_an_attempt_that_turns_out_to_act_still_is_not_taken() {
    let world = World::seeded(3);
    world.run(async {
        let mut left = Left::behind(&world).await;
        world.pass(secs(6)).await;
        assert_eq!(left.asked(), [105]);
        left.far.rejoin(&left.heir).await;
        left.answer.notify_one();
        world.pass(secs(60)).await;
        left.in_doubt().await;
        let resolved = count(&left.heir.control, &left.run, "step.resolved");
        assert_eq!(resolved.await, 0);
        left.act.notify_one();
        left.is_found().await;
        assert_eq!(left.asked()[1], 166);
    });
}

#[test]
fn the_end_of_the_process_is_the_end_of_its_handlers() {
    let world = World::seeded(4);
    world.run(async {
        let mut left = Left::behind(&world).await;
        left.far.rejoin(&left.heir).await;
        world.pass(secs(30)).await;
        assert_eq!(left.asked(), [0; 0]);
        left.far.kill().await;
        world.pass(secs(1)).await;
        assert_eq!(left.asked(), [130]);
    });
}

#[test]
fn what_a_person_says_did_not_happen_waits_for_a_handler_that_acts_as_for_one_of_its_own() {
    let world = World::seeded(5);
    world.run(async {
        let mut left = Left::behind(&world).await;
        left.far.rejoin(&left.heir).await;
        left.far.leave().await;
        world.pass(secs(10)).await;
        let (step, word) = ("a".parse::<StepKey>().unwrap(), Resolution::DidNotHappen);
        let resolve = left.run.resolve("bob", (&step, 1), word, "I looked");
        resolve.await.unwrap();
        let again = pending(&left.heir.control, &left.run).await;
        let approve = left.heir.control.approve(again, "bob", "yes");
        approve.await.unwrap();
        let outcome = left.run.outcome().await.unwrap();
        assert_eq!(outcome.output(), Some(&json!("done anew")));
        assert_eq!(world.elapsed(), secs(140));
    });
}

#[test]
fn what_is_known_of_handlers_outlives_a_failed_commit() {
    let (world, disk) = faulty_world();
    world.run(async {
        let mut left = Left::behind(&world).await;
        left.far.rejoin(&left.heir).await;
        world.pass(secs(2)).await;
        disk.set(Next::Fails);
        let more = Workflow::from_yaml(ONE_MORE).unwrap();
        left.heir.control.publish(more).await.unwrap();
        assert_eq!(left.heir.control.metrics().soft_restarts, 1);
        world.pass(secs(60)).await;
        assert_eq!(left.asked(), [0; 0]);
        left.act.notify_one();
        world.pass(secs(1)).await;
        assert_eq!(left.asked().len(), 1);
    });
}

const ONE_MORE: &str = "{ workflow: more, steps: { a: { agent: it, risk: financial } } }";

#[test]
fn a_run_that_has_left_memory_is_asked_about_once_its_handler_has_ended() {
    let world = World::seeded(6);
    world.run(async {
        let mut left = Left::behind(&world).await;
        left.far.rejoin(&left.heir).await;
        let more = Workflow::from_yaml(ONE_MORE).unwrap();
        left.heir.control.publish(more).await.unwrap();
        for _ in 0..20 {
            let by = StartOptions::by("ann");
            let more = left.heir.control.start("more", json!({}), by).await;
            more.unwrap().settled_or_blocked().await.unwrap();
        }
        world.pass(secs(30)).await;
        assert!(left.heir.control.metrics().resident_runs < 10);
        left.act.notify_one();
        world.pass(secs(1)).await;
        assert_eq!(left.asked().len(), 1);
    });
}
