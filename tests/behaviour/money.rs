//! Budgets: who pays, who is refused, and what more than was reserved does.

use crate::common::*;
use mission_control::AbortReason;

/// One step of the agent `caller`, which is tried once.
const CALLS: &str =
    "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 } } } }";

#[test]
fn every_account_of_the_path_pays() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        run.outcome().await.unwrap();
        for id in ["workspace", "workflow:w", "agent:caller"] {
            let account = control.account(&id.parse().unwrap()).unwrap();
            assert_eq!(account.spent().money, mills(20), "{id}");
            assert!(account.reserved().is_zero(), "{id}");
        }
        assert_eq!(run.state().await.unwrap().spent().money, mills(20));
    });
}

#[test]
fn a_call_that_can_never_fit_ends_the_run_by_the_account() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Abort).await;
        set(
            &control,
            "agent:caller".parse().unwrap(),
            30,
            OnExceed::Abort,
        )
        .await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Aborted(AbortReason::Budget { .. })),
            "{outcome:?}"
        );
        let denied = facts(&control, &run, "model_call.denied").await;
        let failing: Vec<&str> = denied["failing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["account"].as_str().unwrap())
            .collect();
        assert_eq!(failing, ["workspace", "agent:caller"]);
    });
}

#[test]
fn a_runs_own_budget_and_a_steps_own_budget_are_kept() {
    for (yaml, account) in [
        (
            "{ workflow: w, budget: { usd: \"0.03\" }, steps: { a: { agent: caller } } }",
            "run:",
        ),
        (
            "{ workflow: w, steps: { a: { agent: caller, budget: { usd: \"0.03\" } } } }",
            "step:",
        ),
    ] {
        let world = World::seeded(6);
        let outcome = world.run(async {
            let (control, _) = open_caller(&world).await;
            let run = begin(&control, yaml, json!({"bound": 50, "cost": 20})).await;
            run.outcome().await.unwrap()
        });
        let Outcome::Aborted(AbortReason::Budget { account: named }) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(named.to_string().starts_with(account), "{named}");
    }
}

#[test]
fn a_pausing_account_lets_the_run_go_on_once_there_is_room() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Pause).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::Budget);
        world.pass(secs(1)).await;
        // Not enough: it stays as it is and writes nothing more.
        let before = events(&control, &run).await.len();
        set(&control, AccountId::Workspace, 45, OnExceed::Pause).await;
        assert_eq!(events(&control, &run).await.len(), before);
        set(&control, AccountId::Workspace, 50, OnExceed::Pause).await;
        completes(&run).await;
    });
}

#[test]
fn a_step_whose_estimate_never_fits_pauses_and_goes_on() {
    let yaml = "{ workflow: w, budget: { usd: \"0.05\", on_exceed: pause }, steps: { a: { agent: caller, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 60 } } } }";
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let run = begin(&control, yaml, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        set(&control, AccountId::Run(run.id()), 60, OnExceed::Pause).await;
        completes(&run).await;
        assert_eq!(count(&control, &run, "step.blocked").await, 1);
    });
}

#[test]
fn more_than_was_reserved_is_recorded_in_full_and_halts_the_run() {
    let world = World::seeded(9);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 60, OnExceed::Abort).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 90})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Aborted(AbortReason::Budget { .. })),
            "{outcome:?}"
        );
        let settled = facts(&control, &run, "model_call.settled").await;
        assert!(
            settled["flags"]
                .as_array()
                .unwrap()
                .contains(&json!("overrun"))
        );
        assert_eq!(count(&control, &run, "budget.breached").await, 1);
        let account = workspace(&control);
        assert_eq!(account.spent().money, mills(90));
        assert_eq!(account.largest_overrun().money, mills(40));
        let overshoot = control.worst_case_overshoot(&AccountId::Workspace);
        assert_eq!(overshoot, Amount::ZERO, "nothing is out any more");
    });
}
