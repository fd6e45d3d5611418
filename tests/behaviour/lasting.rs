//! Tool calls of hosts that cannot be undone: what ends without a word that counts is in doubt.

use crate::common::*;
use mission_control::core::sequencer::HaltScope;
use mission_control::{Policy, RiskTier};

const RETRIED: &str = ", risk: write, retry: { maximum_attempts: 3, initial_interval: 1s }";

async fn unasked(control: &MissionControl) {
    let policy = Policy::from_yaml("approvals: { from: financial }").unwrap();
    control.publish_policy("ann", policy).await.unwrap();
}

/// An agent that pays by a tool that ends with an error once its attempt is to stop.
fn pays(tier: RiskTier, notes: Notes) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            let pay = || async {
                notes.add("paid");
                ctx.cancelled().await;
                Err("it was stopped".to_owned())
            };
            let called = ctx.tool_call("pay", tier, &json!({}), pay).await;
            let error = called.unwrap_err();
            notes.add(error.code());
            Err(error.into())
        }
    })
}

#[test]
fn a_call_that_a_halt_has_stopped_is_in_doubt_where_it_cannot_be_undone() {
    for (tier, seed) in [(RiskTier::Irreversible, 1), (RiskTier::Write, 2)] {
        let world = World::seeded(seed);
        world.run(async {
            let notes = Notes::default();
            let control = open_for(&world, "it", pays(tier, notes.clone())).await;
            unasked(&control).await;
            let run = begin(&control, &one(RETRIED), json!({})).await;
            world.pass(secs(10)).await;
            let halted = control.halt(("ann", "as tested"), HaltScope::Workspace, secs(60));
            halted.await.unwrap();
            world.pass(secs(5)).await;
            control
                .resume(("ann", "as tested"), HaltScope::Workspace)
                .await
                .unwrap();
            world.pass(secs(5)).await;
            let lasting = !tier.is_repeatable();
            let paid = notes.all().iter().filter(|one| *one == "paid").count();
            assert_eq!(paid, if lasting { 1 } else { 2 }, "{:?}", notes.all());
            assert_eq!(notes.all()[1], "cancelled");
            let failed = count(&control, &run, "tool_call.failed").await;
            assert_eq!(failed, usize::from(!lasting));
            let is = status(&run, "a").await;
            assert_eq!(is == StepStatus::Blocked, lasting, "{is:?}");
        });
    }
}

#[test]
fn an_answer_that_cannot_be_kept_leaves_in_doubt_what_cannot_be_undone() {
    for (tier, seed) in [(RiskTier::Irreversible, 3), (RiskTier::Write, 4)] {
        let world = World::seeded(seed);
        world.run(async {
            let notes = Notes::default();
            let told = notes.clone();
            let it = agent(move |ctx, _| {
                let notes = told.clone();
                async move {
                    let pay = || async {
                        notes.add("paid");
                        Ok((0..65).fold(json!(1), |inner, _| json!([inner])))
                    };
                    let called = ctx.tool_call("pay", tier, &json!({}), pay).await;
                    Ok(called?.into())
                }
            });
            let control = open_for(&world, "it", it).await;
            unasked(&control).await;
            let run = begin(&control, &one(RETRIED), json!({})).await;
            world.pass(secs(100)).await;
            let lasting = !tier.is_repeatable();
            assert_eq!(notes.len(), if lasting { 1 } else { 3 });
            let is = status(&run, "a").await;
            assert_eq!(is == StepStatus::Blocked, lasting, "{is:?}");
        });
    }
}
