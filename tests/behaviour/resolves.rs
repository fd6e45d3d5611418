//! Steps in doubt: never done again without a word, and what each word comes to.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::asking::*;
use crate::common::*;
use mission_control::{Billed, EffectProbe, ProbeAnswer, Resolution, RiskTier};

/// A step that moves money, and one behind it.
const PAY: &str =
    "{ workflow: w, steps: { a: { agent: it, risk: financial }, b: { agent: echo, needs: [a] } } }";

/// Notes that it acted, and answers only if it may.
fn acts(notes: Notes) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            notes.add("acted");
            ctx.sleep(secs(1_000)).await;
            Ok(json!("done").into())
        }
    })
}

async fn open_acting(world: &World, notes: &Notes) -> MissionControl {
    let control = open_for(world, "it", acts(notes.clone())).await;
    register(&control, "echo", echo()).await;
    control
}

/// A run whose step was out when its process died.
fn in_doubt(world: &World, notes: &Notes) -> mission_control::RunId {
    let run = world.run(async {
        let control = open_acting(world, notes).await;
        let run = begin(&control, PAY, json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        while notes.len() == 0 {
            world.pass(secs(1)).await;
        }
        run.id()
    });
    world.crash();
    run
}

async fn reopened(
    world: &World,
    notes: &Notes,
    run: mission_control::RunId,
) -> (MissionControl, RunHandle) {
    let control = open_acting(world, notes).await;
    control.start_dispatch().await.unwrap();
    let run = control.run(run);
    let position = run.settled_or_blocked().await.unwrap();
    let expected = ("a".to_owned(), BlockReason::InDoubt, "crashed".to_owned());
    assert_eq!(blocks(&position), [expected]);
    (control, run)
}

fn step() -> mission_control::StepKey {
    "a".parse().unwrap()
}

#[test]
fn what_happened_gives_its_output_and_the_run_goes_on() {
    let (world, notes) = (World::seeded(1), Notes::default());
    let run = in_doubt(&world, &notes);
    world.run(async {
        let (control, run) = reopened(&world, &notes, run).await;
        let happened = Resolution::Happened(Arc::new(json!({"paid": 7})));
        run.resolve("bob", &step(), happened, "the bank says so")
            .await
            .unwrap();
        assert_eq!(output_of(&run).await["b"], json!({"paid": 7}));
        assert_eq!(notes.len(), 1);
        let facts = facts(&control, &run, "step.resolved").await;
        assert_eq!(facts["resolution"], "happened");
    });
}

#[test]
fn what_did_not_happen_is_asked_for_anew_before_it_is_done() {
    let (world, notes) = (World::seeded(2), Notes::default());
    let run = in_doubt(&world, &notes);
    world.run(async {
        let (control, run) = reopened(&world, &notes, run).await;
        let word = Resolution::DidNotHappen;
        run.resolve("bob", &step(), word, "no trace of it")
            .await
            .unwrap();
        let second = pending(&control, &run).await;
        assert_eq!((second.number, notes.len()), (2, 1));
        control.approve(second, "bob", "again").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 2);
        let keys = events(&control, &run).await;
        let keys: Vec<Value> = keys
            .iter()
            .filter(|event| &*event.kind == "step.dispatched")
            .map(|event| serde_json::from_str::<Value>(&event.facts).unwrap()["effect_key"].clone())
            .collect();
        assert_eq!(keys[0], keys[1], "one intent");
    });
}

#[test]
fn what_is_given_up_ends_the_run_and_seals_it() {
    let (world, notes) = (World::seeded(3), Notes::default());
    let run = in_doubt(&world, &notes);
    world.run(async {
        let (_, run) = reopened(&world, &notes, run).await;
        run.resolve("bob", &step(), Resolution::Abort, "nobody knows")
            .await
            .unwrap();
        assert!(matches!(run.outcome().await.unwrap(), Outcome::Aborted(_)));
        assert!(run.state().await.unwrap().sealed);
        let again = run.resolve("bob", &step(), Resolution::Abort, "?").await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidTransition);
    });
}

fn without_end() -> Value {
    (0..200_000).fold(json!(1), |inner, _| Value::Array(vec![inner]))
}

#[test]
fn an_output_without_end_is_refused_from_a_person() {
    let (world, notes) = (World::seeded(9), Notes::default());
    let run = in_doubt(&world, &notes);
    world.run(async {
        let (_, run) = reopened(&world, &notes, run).await;
        let happened = Resolution::Happened(Arc::new(without_end()));
        let refused = run.resolve("bob", &step(), happened, "so it says").await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_run_that_ended_in_doubt_stays_as_it_is_and_is_sealed_by_a_word() {
    let (world, notes) = (World::seeded(4), Notes::default());
    let run = in_doubt(&world, &notes);
    world.run(async {
        let (_, run) = reopened(&world, &notes, run).await;
        run.abort(("ann", "as tested")).await.unwrap();
        assert!(!run.state().await.unwrap().sealed);
        let happened = Resolution::Happened(Arc::new(json!(1)));
        run.resolve("bob", &step(), happened, "it did")
            .await
            .unwrap();
        let state = run.state().await.unwrap();
        assert!(state.sealed && matches!(run.outcome().await.unwrap(), Outcome::Aborted(_)));
    });
}

#[test]
fn a_financial_step_that_is_killed_again_and_again_is_done_once_for_each_word() {
    for seed in 0..50 {
        let (world, notes) = (World::seeded(1_000 + seed), Notes::default());
        let run = in_doubt(&world, &notes);
        for _ in 0..2 {
            world.run(async {
                let (control, _) = reopened(&world, &notes, run).await;
                world.pass(secs(100)).await;
                assert_eq!(control.run(run).state().await.unwrap().approvals.len(), 1);
            });
            world.crash();
        }
        assert_eq!(notes.len(), 1, "seed {seed}");
    }
}

#[test]
fn an_irreversible_attempt_that_timed_out_or_was_aborted_is_in_doubt() {
    for abort in [false, true] {
        let (world, notes) = (World::seeded(5), Notes::default());
        world.run(async {
            let control = open_acting(&world, &notes).await;
            let more = ", risk: irreversible, timeout: 60s, retry: { maximum_attempts: 5 }";
            let run = begin(&control, &one(more), json!({})).await;
            let asked = pending(&control, &run).await;
            control.approve(asked, "bob", "yes").await.unwrap();
            world.pass(secs(1)).await;
            if abort {
                run.abort(("ann", "as tested")).await.unwrap();
            } else {
                world.pass(secs(500)).await;
            }
            assert_eq!(status(&run, "a").await, StepStatus::Blocked);
            assert_eq!(notes.len(), 1);
        });
    }
}

/// Acts, and knows whether it did.
struct Knows {
    notes: Notes,
    acted: Arc<AtomicBool>,
    found: fn() -> Value,
}

#[mission_control::async_trait]
impl AgentExecutor for Knows {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.notes.add("acted");
        if !self.acted.swap(true, Ordering::SeqCst) {
            ctx.sleep(secs(1_000)).await;
        }
        Ok(json!("done").into())
    }

    async fn probe(&self, effect: EffectProbe) -> Option<ProbeAnswer> {
        assert_eq!((effect.attempt, effect.input), (1, json!({"n": 1})));
        Some(ProbeAnswer::Happened((self.found)()))
    }
}

/// A run whose agent is asked, after a crash, what became of its step.
fn asked_after_a_crash(seed: u64, found: fn() -> Value) -> (World, Notes, mission_control::RunId) {
    let (world, notes) = (World::seeded(seed), Notes::default());
    let acted = Arc::new(AtomicBool::new(false));
    let knows = || Knows {
        notes: notes.clone(),
        acted: Arc::clone(&acted),
        found,
    };
    let id = world.run(async {
        let control = world.open().await;
        control.register_agent("it", knows()).await.unwrap();
        let run = begin(&control, &one(", risk: irreversible"), json!({"n": 1})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        world.pass(secs(1)).await;
        run.id()
    });
    world.crash();
    (world, notes, id)
}

#[test]
fn an_agent_that_can_find_out_is_asked_before_a_person() {
    let found = || json!("found out");
    let (world, notes, id) = asked_after_a_crash(6, found);
    world.run(async {
        let control = world.open().await;
        let knows = Knows {
            notes: notes.clone(),
            acted: Arc::new(AtomicBool::new(true)),
            found,
        };
        control.register_agent("it", knows).await.unwrap();
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        assert_eq!(output_of(&run).await, "found out");
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn what_an_agent_finds_out_without_end_leaves_the_question_to_a_person() {
    let (world, notes, id) = asked_after_a_crash(10, without_end);
    world.run(async {
        let control = world.open().await;
        let knows = Knows {
            notes: notes.clone(),
            acted: Arc::new(AtomicBool::new(true)),
            found: without_end,
        };
        control.register_agent("it", knows).await.unwrap();
        control.start_dispatch().await.unwrap();
        world.pass(secs(10)).await;
        let position = control.run(id).settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::InDoubt);
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn a_tool_call_that_may_have_happened_keeps_its_step_from_being_done_again() {
    let (world, notes) = (World::seeded(7), Notes::default());
    let calls = |notes: Notes| {
        agent(move |ctx, _| {
            let notes = notes.clone();
            async move {
                let none = json!({});
                let paid = ctx.tool_call("pay", RiskTier::Financial, &none, || async {
                    notes.add("paid");
                    std::future::pending::<Result<Value, String>>().await
                });
                Ok(paid.await?.into())
            }
        })
    };
    let id = world.run(async {
        let control = open_for(&world, "it", calls(notes.clone())).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        while notes.len() == 0 {
            world.pass(secs(1)).await;
        }
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_for(&world, "it", calls(notes.clone())).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::InDoubt);
        run.resolve("bob", &step(), Resolution::DidNotHappen, "no trace")
            .await
            .unwrap();
        let second = pending(&control, &run).await;
        assert_eq!((second.number, notes.len()), (2, 1));
    });
}

#[test]
fn money_in_doubt_is_settled_in_bulk_by_run_and_by_account() {
    let world = World::seeded(8);
    world.run(async {
        let loses = agent(|ctx, _| async move {
            for _ in 0..2 {
                let request = request("p", 50);
                let lost = ProviderError::new(CallFailure::Timeout, "no answer");
                let done = ctx.model_call(&request, |_| {
                    let lost = lost.clone();
                    async move { Err(lost) }
                });
                assert!(done.await.is_err());
            }
            Ok(json!(1).into())
        });
        let control = open_for(&world, "it", loses).await;
        let first = begin(&control, ONE, json!({})).await;
        let second = start(&control, json!({})).await;
        completes(&first).await;
        completes(&second).await;
        let one = first
            .reconcile_all("bob", Billed::InFull, "the bill")
            .await
            .unwrap();
        assert_eq!((one.holds, one.held.money), (2, mills(100)));
        let how = (Billed::Nothing, "no bill");
        let rest = control
            .reconcile_account("bob", &AccountId::Workspace, how)
            .await
            .unwrap();
        assert_eq!((rest.holds, rest.held.money), (2, mills(100)));
        assert_eq!(workspace(&control).spent().money, mills(100));
        assert!(workspace(&control).in_doubt().is_zero());
    });
}
