//! Orders of operators: each is an event with who gave it and why, or it is none.

use crate::common::*;
use mission_control::core::event::PartContent;
use mission_control::core::sequencer::HaltScope;
use mission_control::{Budget, Note};

fn idle() -> Agent {
    agent(|ctx, _| async move {
        ctx.sleep(secs(600)).await;
        Ok(json!(1).into())
    })
}

#[test]
fn an_order_without_a_reason_is_refused_and_writes_nothing() {
    let world = World::seeded(1);
    world.run(async {
        let control = open_for(&world, "it", idle()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        let before = control.log().head().await.unwrap();
        for why in ["", "  "] {
            let by = ("ann", why);
            let budget = Budget::of(AccountId::Workspace).limit(limit(5));
            let all = AccountId::Workspace;
            let refused = [
                run.pause(by).await,
                run.resume(by).await,
                run.abort(by).await,
                run.halt(by, secs(5)).await,
                control.halt(by, HaltScope::Workspace, secs(5)).await,
                control.resume(by, HaltScope::Workspace).await,
                control.set_budget(by, budget).await,
                control
                    .set_limit(by, all.clone(), limit(5), OnExceed::Abort)
                    .await,
                control
                    .top_up("ann", all.clone(), limit(5), Note::because(why))
                    .await,
                control.freeze("ann", all.clone(), Note::because(why)).await,
                control.unfreeze("ann", all, Note::because(why)).await,
            ];
            for error in refused.map(Result::unwrap_err) {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(format!("{error:?}").contains("reason"), "{error:?}");
            }
        }
        assert_eq!(control.log().head().await.unwrap(), before);
    });
}

/// Who said so in events of a kind, and why.
async fn said(control: &MissionControl, run: Option<&RunHandle>, kind: &str) -> Vec<String> {
    let log = match run {
        Some(run) => events(control, run).await,
        None => control.log().read_workspace(0, 1_000).await.unwrap(),
    };
    let found = log.iter().filter(|one| &*one.kind == kind);
    let told = found.map(|one| match &one.parts[0].content {
        PartContent::Inline(bytes) => {
            format!("{} {}", one.actor, String::from_utf8_lossy(bytes))
        }
        PartContent::Blob(_) | PartContent::Erased(_) => panic!("a reason is short"),
    });
    told.collect()
}

#[test]
fn a_second_halt_is_an_event_and_leaves_the_deadline_of_the_first() {
    let world = World::seeded(2);
    world.run(async {
        let control = open_for(&world, "it", idle()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        let all = HaltScope::Workspace;
        control
            .halt(("ann", "it spends"), all.clone(), secs(5))
            .await
            .unwrap();
        let until = control.halts();
        control
            .halt(("bob", "so I think too"), all, secs(50))
            .await
            .unwrap();
        assert_eq!(control.halts(), until);
        let told = said(&control, None, "halt.placed").await;
        assert_eq!(
            told,
            ["operator:ann it spends", "operator:bob so I think too"]
        );
        run.halt(("ann", "it too"), secs(5)).await.unwrap();
        run.halt(("bob", "yes"), secs(50)).await.unwrap();
        let told = said(&control, Some(&run), "run.paused").await;
        assert_eq!(told, ["operator:ann it too", "operator:bob yes"]);
        world.pass(secs(10)).await;
        assert_eq!(count(&control, &run, "attempt.abandoned").await, 1);
    });
}

#[test]
fn a_second_pause_is_an_event_and_changes_no_halt() {
    let world = World::seeded(3);
    world.run(async {
        let control = open_for(&world, "it", idle()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.halt(("ann", "it spends"), secs(5)).await.unwrap();
        let halted = run.state().await.unwrap().paused.clone();
        run.pause(("bob", "to look at it")).await.unwrap();
        assert_eq!(run.state().await.unwrap().paused, halted);
        let told = said(&control, Some(&run), "run.paused").await;
        assert_eq!(
            told,
            ["operator:ann it spends", "operator:bob to look at it"]
        );
    });
}
