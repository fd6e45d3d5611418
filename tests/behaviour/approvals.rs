//! Approvals of steps: asked, decided once, used once, and bound to what was shown.

use crate::asking::*;
use crate::clock::set_wall;
use crate::common::*;
use mission_control::{ApprovalFault, ApprovalFilter, ApprovalState, Detail};

const PAY: &str = "{ workflow: w, steps: { a: { agent: it, risk: financial } } }";

#[test]
fn an_irreversible_step_goes_out_once_somebody_approves_it() {
    let world = World::seeded(1);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({"to": "eve"})).await;
        assert_eq!(
            blocks(&run.settled_or_blocked().await.unwrap()),
            [("a".to_owned(), BlockReason::Approval, String::new())]
        );
        let asked = only(&control).await;
        assert_eq!(asked.params.as_deref(), Some(&br#"{"to":"eve"}"#[..]));
        assert_eq!(asked.asked.risk.as_str(), "irreversible");
        control
            .approve(asked.id, "ann", "it is right")
            .await
            .unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 1);
        let used = commit_of(&control, &run, "approval.consumed").await;
        assert_eq!(used, commit_of(&control, &run, "step.dispatched").await);
        assert_eq!(
            facts(&control, &run, "step.dispatched").await["approval"],
            1
        );
    });
}

#[test]
fn what_is_rejected_fails_its_step_and_is_not_tried_again() {
    let world = World::seeded(2);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let more = ", risk: irreversible, retry: { maximum_attempts: 5 }";
        let run = begin(&control, &one(more), json!({})).await;
        let asked = pending(&control, &run).await;
        control.reject(asked, "bob", "too dear").await.unwrap();
        let outcome = run.outcome().await.unwrap();
        let Outcome::Failed { code, message, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("approval_rejected", "too dear")
        );
        assert_eq!(notes.len(), 0);
    });
}

#[test]
fn a_step_that_goes_on_without_it_leaves_the_run_whole() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, risk: irreversible, on_failure: continue }, \
                b: { agent: it, needs: [a], input: {} } } }";
    let world = World::seeded(3);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, yaml, json!({})).await;
        let asked = pending(&control, &run).await;
        control.reject(asked, "bob", "no").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.all(), ["b"]);
    });
}

#[test]
fn a_step_that_pauses_its_run_asks_anew_once_that_goes_on() {
    let world = World::seeded(4);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let more = ", risk: irreversible, on_failure: pause";
        let run = begin(&control, &one(more), json!({})).await;
        let first = pending(&control, &run).await;
        control.reject(first, "bob", "no").await.unwrap();
        assert!(run.state().await.unwrap().paused.is_some());
        run.resume(("ann", "as tested")).await.unwrap();
        let second = pending(&control, &run).await;
        assert_ne!(first, second);
        control.approve(second, "bob", "well then").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn what_nobody_decides_in_time_expires_and_fails_its_step() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let more = ", risk: irreversible, approval: { expires_in: 1h }";
        let run = begin(&control, &one(more), json!({})).await;
        let asked = pending(&control, &run).await;
        world.pass(secs(3_599)).await;
        assert_eq!(
            control
                .approvals(ApprovalFilter::Pending)
                .await
                .unwrap()
                .len(),
            1
        );
        world.pass(secs(2)).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(&outcome, Outcome::Failed { code, .. } if code == "approval_expired"));
        refused(
            control.approve(asked, "bob", "late").await,
            ApprovalFault::Expired,
        );
        assert!(
            control
                .approvals(ApprovalFilter::Pending)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn an_approval_that_its_paused_run_does_not_use_in_time_expires_too() {
    let world = World::seeded(6);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        run.pause(("ann", "as tested")).await.unwrap();
        control.approve(asked, "bob", "yes").await.unwrap();
        world.pass(secs(25 * 3_600)).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(&outcome, Outcome::Failed { code, .. } if code == "approval_expired"));
        assert_eq!(notes.len(), 0);
    });
}

#[test]
fn four_eyes_refuse_whoever_started_the_run_and_the_refusal_is_an_event() {
    let world = World::seeded(7);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, PAY, json!({})).await;
        let asked = pending(&control, &run).await;
        let own = control.approve(asked, "ann", "my own").await;
        assert_eq!(own.as_ref().unwrap_err().kind(), ErrorKind::PolicyDenied);
        refused(own, ApprovalFault::FourEyes);
        refused(
            control.approve(asked, "it", "me").await,
            ApprovalFault::Requester,
        );
        assert_eq!(
            facts(&control, &run, "approval.refused").await["reason"],
            "four_eyes"
        );
        control.approve(asked, "bob", "seen").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn only_operators_that_the_policy_names_may_decide() {
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        enforce(&control, "approvals: { operators: [carl] }").await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        let by_bob = control.reject(asked, "bob", "no").await;
        refused(by_bob, ApprovalFault::NotAnOperator);
        control.approve(asked, "carl", "yes").await.unwrap();
        completes(&run).await;
    });
}

#[test]
fn a_second_decision_is_refused_whichever_came_first() {
    let world = World::seeded(9);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        let (yes, no) = futures::join!(
            control.approve(asked, "bob", "yes"),
            control.reject(asked, "carl", "no")
        );
        assert!(yes.is_ok() != no.is_ok(), "{yes:?} {no:?}");
        run.outcome().await.unwrap();
        assert_eq!(count(&control, &run, "approval.decided").await, 1);
        assert_eq!(notes.len(), usize::from(yes.is_ok()));
    });
}

#[test]
fn an_approval_is_used_once_however_often_it_is_given() {
    let world = World::seeded(10);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        let all = (0..1_000).map(|n| {
            let (control, by) = (control.clone(), format!("op-{n}"));
            async move { control.approve(asked, &by, "yes").await.is_ok() }
        });
        let all = futures::future::join_all(all).await;
        assert_eq!(all.iter().filter(|taken| **taken).count(), 1);
        completes(&run).await;
        assert_eq!(notes.len(), 1);
        assert_eq!(count(&control, &run, "approval.consumed").await, 1);
        refused(
            control.approve(asked, "bob", "again").await,
            ApprovalFault::Used,
        );
    });
}

#[test]
fn an_approval_is_not_used_up_while_its_hold_is_contended() {
    let world = World::seeded(11);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let session = guard(&control).await;
        set(&control, AccountId::Workspace, 100, OnExceed::Abort).await;
        let permit = permit(&session, 80).await;
        let estimate = ", risk: irreversible, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 50 }";
        let run = begin(&control, &one(estimate), json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        assert_eq!(state_of(&run).await, ApprovalState::Approved);
        assert_eq!(status(&run, "a").await, StepStatus::Waiting);
                let answer = ModelAnswer::text("x", Usage::default());
        permit.settle(&answer).await.unwrap();
        session.close().await.unwrap();
        completes(&run).await;
        assert_eq!(state_of(&run).await, ApprovalState::Consumed);
    });
}

#[test]
fn one_that_is_taken_back_before_its_use_is_asked_anew() {
    let world = World::seeded(12);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        refused(
            control.revoke(asked, "bob", "oh").await,
            ApprovalFault::Pending,
        );
        run.pause(("ann", "as tested")).await.unwrap();
        control.approve(asked, "bob", "yes").await.unwrap();
        control.revoke(asked, "bob", "I was wrong").await.unwrap();
        run.resume(("ann", "as tested")).await.unwrap();
        let second = pending(&control, &run).await;
        refused(
            control.approve(asked, "bob", "yes").await,
            ApprovalFault::Revoked,
        );
        control.approve(second, "bob", "now").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn a_tighter_policy_ends_an_approval_that_was_not_used_and_asks_anew() {
    let world = World::seeded(13);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(
            &control,
            &one(", risk: irreversible, tools: [t]"),
            json!({}),
        )
        .await;
        let asked = pending(&control, &run).await;
        run.pause(("ann", "as tested")).await.unwrap();
        control.approve(asked, "ann", "yes").await.unwrap();
        enforce(
            &control,
            "approvals: { four_eyes: [irreversible, financial] }",
        )
        .await;
        run.resume(("ann", "as tested")).await.unwrap();
        let second = pending(&control, &run).await;
        assert_eq!(
            facts(&control, &run, "approval.voided").await["reason"],
            "policy_changed"
        );
        enforce(&control, "tools: { t: { risk: financial } }").await;
        let tighter = control.approve(second, "bob", "yes").await;
        refused(tighter, ApprovalFault::PolicyChanged);
        let third = pending(&control, &run).await;
        control.approve(third, "bob", "yes").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn an_approval_of_one_run_is_none_of_another() {
    let world = World::seeded(14);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let one_run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let other = start(&control, json!({})).await;
        let mine = pending(&control, &one_run).await;
        pending(&control, &other).await;
        control.approve(mine, "bob", "yes").await.unwrap();
        completes(&one_run).await;
        assert_eq!(status(&other, "a").await, StepStatus::Blocked);
        let unknown = mission_control::ApprovalId { number: 2, ..mine };
        let error = control.approve(unknown, "bob", "yes").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_run_that_is_aborted_while_it_waits_ends_its_request() {
    let world = World::seeded(15);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        run.abort(("ann", "as tested")).await.unwrap();
        assert_eq!(
            facts(&control, &run, "approval.voided").await["reason"],
            "step_ended"
        );
        assert!(run.state().await.unwrap().sealed);
        let late = control.approve(asked, "bob", "yes").await;
        let detail = late.as_ref().unwrap_err().detail().cloned();
        assert!(matches!(detail, Some(Detail::Approval { .. })));
        refused(late, ApprovalFault::StepEnded);
        let all = control.approvals(ApprovalFilter::All).await.unwrap();
        assert_eq!(all.len(), 1);
    });
}

#[test]
fn an_approval_outlives_a_crash_before_its_use_and_is_used_exactly_once() {
    for seed in 0..20 {
        let world = World::seeded(100 + seed);
        let notes = Notes::default();
        let run = world.run(async {
            let control = open_for(&world, "it", noting(notes.clone())).await;
            let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
            pending(&control, &run).await;
            run.id()
        });
        world.crash();
        world.run(async {
            let control = open_for(&world, "it", noting(notes.clone())).await;
            control.start_dispatch().await.unwrap();
            let run = control.run(run);
            let asked = pending(&control, &run).await;
            run.pause(("ann", "as tested")).await.unwrap();
            control.approve(asked, "bob", "yes").await.unwrap();
        });
        world.crash();
        world.run(async {
            let control = open_for(&world, "it", noting(notes.clone())).await;
            control.start_dispatch().await.unwrap();
            let run = control.run(run);
            run.resume(("ann", "as tested")).await.unwrap();
            completes(&run).await;
            assert_eq!(count(&control, &run, "approval.consumed").await, 1);
        });
        assert_eq!(notes.len(), 1, "seed {seed}");
    }
}

#[test]
fn what_it_would_do_to_every_account_is_shown() {
    let world = World::seeded(16);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        set(&control, AccountId::Workspace, 100, OnExceed::Abort).await;
        let estimate = ", risk: irreversible, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 50 }";
        begin(&control, &one(estimate), json!({})).await;
        let asked = only(&control).await;
        assert_eq!(asked.asked.maximum.money, mills(50));
        let names: Vec<String> = asked.budgets.iter().map(|b| b.account.to_string()).collect();
        assert!(names.contains(&"workspace".to_owned()) && names.contains(&"agent:it".to_owned()));
        let whole = &asked.budgets[0];
        assert_eq!(whole.limit.money, Some(mills(100)));
        assert_eq!(whole.after.money, mills(50));
    });
}

#[test]
fn a_step_may_ask_earlier_than_the_policy_and_never_later() {
    let world = World::seeded(17);
    world.run(async {
        let (control, notes) = open_noting(&world).await;
        let run = begin(&control, &one(", approval: { from: write }"), json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "ann", "yes").await.unwrap();
        completes(&run).await;
        let late = one(", risk: irreversible, approval: { from: financial }");
        let run = begin(&control, &late, json!({})).await;
        pending(&control, &run).await;
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn a_wall_clock_that_jumps_ahead_expires_nothing_until_it_is_believed() {
    let world = World::seeded(18);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        set_wall(&world, 30 * 3_600);
        world.pass(secs(60)).await;
        assert_eq!(state_of(&run).await, ApprovalState::Pending);
        control
            .approve(asked, "bob", "still in time")
            .await
            .unwrap();
        completes(&run).await;
    });
}
