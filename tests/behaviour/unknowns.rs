//! What is not known of money in doubt is not taken for nothing; and who settles it, settles its own.

use crate::common::*;
use mission_control::agents::recorded::{RecordedAgent, parse_runs};
use mission_control::{Billed, Receipt};

/// An agent whose first attempt leaves its call to a later answer, and whose second settles it while the
/// owner of the log does not say what is in doubt.
fn answered_later(notes: Notes, hear: Arc<dyn Fn() + Send + Sync>) -> Agent {
    agent(move |ctx, _| {
        let (notes, hear) = (notes.clone(), Arc::clone(&hear));
        async move {
            if let Some((checkpoint, _)) = ctx.resumed() {
                hear();
                let receipt: Receipt = serde_json::from_value(checkpoint.clone()).unwrap();
                let known = ctx.is_in_doubt(&receipt).await;
                notes.add(known.unwrap_err().code());
                ctx.settle_later(&receipt, Some(&answer("late", 20)))
                    .await?;
                return Ok(json!(1).into());
            }
            let Admission::Allowed(permit) = ctx.reserve(&request("p", 50)).await? else {
                panic!("it fits");
            };
            let receipt = permit.answered_later("later").await?;
            Ok(StepOutcome::Suspend {
                checkpoint: serde_json::to_value(receipt).unwrap(),
                waiting_for: WaitingFor::Signal {
                    name: mission_control::core::id::Opaque::new("go").unwrap(),
                },
            })
        }
    })
}

#[test]
fn a_later_answer_settles_its_doubt_although_nobody_says_that_there_is_one() {
    let world = World::seeded(1);
    world.run(async {
        let owner = world.open_with(settings()).await;
        let joined = Arc::new(join(&world, &owner));
        let notes = Notes::default();
        let deaf = Arc::downgrade(&joined);
        let hear = Arc::new(move || deaf.upgrade().unwrap().hear_nothing());
        register(&joined.control, "it", answered_later(notes.clone(), hear)).await;
        let run = begin(&owner, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        run.signal("ann", "go", json!(1)).await.unwrap();
        completes(&run).await;
        assert_eq!(notes.all(), ["unavailable"]);
        let account = workspace(&owner);
        assert_eq!(account.spent().money, mills(20));
        assert!(account.in_doubt().is_zero());
    });
}

#[test]
fn two_who_settle_all_money_in_doubt_at_once_settle_each_hold_once() {
    let world = World::seeded(2);
    world.run(async {
        let lost = agent(|ctx, _| async move {
            for _ in 0..5 {
                drop(ctx.reserve(&request("p", 10)).await?);
            }
            Ok(json!(1).into())
        });
        let control = open_for(&world, "it", lost).await;
        let run = begin(&control, ONE, json!({})).await;
        completes(&run).await;
        let (one, other) = futures::join!(
            run.reconcile_all("ann", Billed::Nothing, "the bill"),
            run.reconcile_all("bob", Billed::InFull, "another bill"),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.holds + other.holds, 5, "{one:?} {other:?}");
        assert_eq!(count(&control, &run, "budget.reconciled").await, 5);
        assert!(workspace(&control).in_doubt().is_zero());
        assert_eq!(workspace(&control).spent().money, other.held.money);
    });
}

const CALLS: &str = r#"{"id":"a","task":"t","project":"p","model":"m","started":"2026-01-31T18:00:00","finished":"2026-01-31T18:01:00","calls":[{"phase":"a","turn":0,"agent":"it","counterpart":"","model":"m","started":"2026-01-31T18:00:00","finished":"2026-01-31T18:00:09","rate_limit_refusals":0,"prompt":"what?","completion":"done","prompt_tokens":10,"completion_tokens":5,"reported_cost_usd":null}]}"#;

#[test]
fn a_recorded_agent_leaves_in_doubt_what_another_agent_of_its_name_has_sent() {
    let world = World::seeded(3);
    let id = world.run(async {
        let real = agent(|ctx, _| async move {
            drop(ctx.reserve(&request("of a real model", 50)).await?);
            Err(AgentError::new("lost"))
        });
        let control = open_for(&world, "it", real).await;
        let yaml = one(", retry: { initial_interval: 1h, maximum_attempts: 2 }");
        let run = begin(&control, &yaml, json!({})).await;
        world.pass(secs(10)).await;
        control.shutdown(secs(1)).await.unwrap();
        run.id()
    });
    world.run(async {
        let control = world.open().await;
        let runs = parse_runs(CALLS.as_bytes()).unwrap();
        let recorded = RecordedAgent::new(runs);
        control.register_agent("it", recorded).await.unwrap();
        control.start_dispatch().await.unwrap();
        world.pass(secs(3_600)).await;
        let run = control.run(id);
        // Its model has no price here; what counts is what it does before.
        run.settled_or_blocked().await.unwrap();
        assert_eq!(
            facts(&control, &run, "model_call.denied").await["attempt"],
            2
        );
        assert_eq!(count(&control, &run, "budget.reconciled").await, 0);
        assert_eq!(workspace(&control).in_doubt().money, mills(50));
    });
}
