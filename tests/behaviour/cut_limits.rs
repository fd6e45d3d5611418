//! A limit that is lowered below what is out, and cuts it.

use crate::common::*;
use mission_control::Budget;

/// An agent whose call is answered after a minute, but the second time at once.
fn slow() -> Agent {
    agent(|ctx, _| async move {
        let (request, here) = (request("p", 50), &ctx);
        let span = secs(if ctx.attempt() == 1 { 60 } else { 1 });
        ctx.model_call(&request, |_| async move {
            here.sleep(span).await;
            Ok(answer("ok", 20))
        })
        .await?;
        Ok(json!(1).into())
    })
}

fn lowered(of: i64) -> Budget {
    Budget::of(AccountId::Workspace)
        .limit(limit(of))
        .on_exceed(OnExceed::Pause)
        .halt_in_flight()
}

#[test]
fn what_is_out_above_the_new_limit_is_cut_and_its_money_is_in_doubt() {
    let world = World::seeded(1);
    world.run(async {
        let control = open_for(&world, "it", slow()).await;
        let yaml = one(", risk: read, retry: { maximum_attempts: 1 }");
        let run = begin(&control, &yaml, json!({})).await;
        world.pass(secs(10)).await;
        let set = control.set_budget(("ann", "it runs away"), lowered(30));
        set.await.unwrap();
        world.pass(secs(1)).await;
        let cut = facts(&control, &run, "attempt.abandoned").await;
        assert_eq!(
            (&cut["attempt"], &cut["reason"]),
            (&json!(1), &json!("halt"))
        );
        // Asking again, it is refused like any other.
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::Budget);
        let doubted = facts(&control, &run, "model_call.doubted").await;
        assert_eq!(doubted["code"], "halted");
        assert_eq!(workspace(&control).in_doubt().money, mills(50));
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let facts = find(&log, "budget.limit_set").unwrap();
        assert_eq!(facts["in_flight"], "halts");
        // What comes late all the same is charged, and there is room for the step again.
        world.pass(secs(60)).await;
        assert_eq!(workspace(&control).spent().money, mills(20));
        control
            .set_budget(("ann", "enough"), lowered(100))
            .await
            .unwrap();
        completes(&run).await;
    });
}

#[test]
fn a_lower_limit_that_all_that_is_out_fits_in_cuts_nothing() {
    let world = World::seeded(2);
    world.run(async {
        let control = open_for(&world, "it", slow()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(10)).await;
        let set = control.set_budget(("ann", "a bit less"), lowered(50));
        set.await.unwrap();
        completes(&run).await;
        assert_eq!(count(&control, &run, "attempt.abandoned").await, 0);
    });
}

#[test]
fn what_counts_in_other_accounts_goes_on() {
    let world = World::seeded(3);
    world.run(async {
        let control = open_for(&world, "it", slow()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(10)).await;
        let other = AccountId::Agent("other".parse().unwrap());
        let budget = Budget::of(other).limit(limit(0)).halt_in_flight();
        control.set_budget(("ann", "not it"), budget).await.unwrap();
        completes(&run).await;
        assert_eq!(count(&control, &run, "attempt.abandoned").await, 0);
    });
}

#[test]
fn a_session_s_stream_is_told_to_stop() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let Admission::Allowed(permit) = session.reserve(&request("p", 50)).await.unwrap() else {
            panic!("it has no limit");
        };
        permit.progress(5, Some("so far")).await.unwrap();
        control
            .set_budget(("ann", "too dear"), lowered(30))
            .await
            .unwrap();
        let refused = permit.progress(6, Some("so far,")).await.unwrap_err();
        assert!(format!("{refused:?}").contains("workspace"), "{refused:?}");
        permit.settle(&answer("ok", 20)).await.unwrap();
        assert_eq!(workspace(&control).spent().money, mills(20));
    });
}
