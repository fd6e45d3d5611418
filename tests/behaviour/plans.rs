//! The plan check, and calls that are clamped to what there is room for.

use crate::common::*;
use mission_control::core::event::run::PlanCheck;
use mission_control::{Budget, Detail, RunPolicy};

/// A step whose one attempt costs at most 10 mills an item, by the test's prices.
fn estimated(rest: &str) -> String {
    let estimate = format!(
        "{{ model: {}, input_tokens: 0, max_output_tokens: 10, calls: 1 }}",
        model()
    );
    format!("{{ workflow: w, steps: {{ a: {{ agent: caller, estimate: {estimate}, {rest} }} }} }}")
}

async fn publish(control: &MissionControl, yaml: &str) {
    let workflow = Workflow::from_yaml(yaml).unwrap();
    control.publish(workflow).await.unwrap();
    control.start_dispatch().await.unwrap();
}

async fn refused(control: &MissionControl, limit_mills: i64) -> Vec<String> {
    let mut options = StartOptions::by("ann");
    options.budget = Some(mission_control::RunBudget {
        limit: limit(limit_mills),
        on_exceed: OnExceed::Abort,
    });
    match control
        .start("w", json!({"bound": 10, "cost": 10}), options)
        .await
    {
        Ok(_) => Vec::new(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::BudgetExceeded);
            let Some(Detail::Accounts(failing)) = error.detail() else {
                panic!("{error:?}");
            };
            let shown = |one: &mission_control::core::error::FailingAccount| {
                let scope = one.account.split(':').next().unwrap_or_default();
                format!("{scope} {}", one.requested / 1_000_000)
            };
            failing.iter().map(shown).collect()
        }
    }
}

#[test]
fn a_worst_case_that_could_never_fit_reaches_no_agent() {
    for (rest, worst) in [
        ("retry: { maximum_attempts: 1 }", 10),
        ("retry: { maximum_attempts: 3 }", 30),
        (
            "for_each: \"[1, 2]\", max_items: 4, retry: { maximum_attempts: 2 }",
            80,
        ),
    ] {
        let world = World::seeded(1);
        world.run(async {
            let (control, notes) = open_caller(&world).await;
            publish(&control, &estimated(rest)).await;
            let told = refused(&control, worst - 1).await;
            assert_eq!(told, [format!("run {worst}")], "{rest}");
            world.pass(secs(60)).await;
            assert_eq!(notes.len(), 0);
            assert_eq!(refused(&control, worst).await, Vec::<String>::new());
        });
    }
}

#[test]
fn a_refusal_names_every_account_and_when_it_resets_and_is_kept_in_the_log() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        publish(&control, &estimated("retry: { maximum_attempts: 1 }")).await;
        let window = "day UTC".parse().unwrap();
        let budget = Budget::of(AccountId::Workspace)
            .limit(limit(12))
            .window(window);
        control.set_budget("ann", budget).await.unwrap();
        let session = guard(&control).await;
        let send = |_| async { Ok(answer("ok", 3)) };
        session.model_call(&request("q", 3), send).await.unwrap();
        let held = session.reserve(&request("p", 1)).await.unwrap();
        assert_eq!(refused(&control, 9).await, ["workspace 10", "run 10"]);
        drop(held);
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let kept = log.iter().find(|one| &*one.kind == "run.refused").unwrap();
        let facts: Value = serde_json::from_str(&kept.facts).unwrap();
        let over = &facts["plan"]["over"][0];
        let mills = |field: &str| over[field].as_i64().unwrap() / 1_000_000;
        assert_eq!(over["account"], "workspace");
        assert_eq!(
            ["limit", "spent", "reserved", "in_doubt", "requested"].map(mills),
            [12, 3, 1, 0, 10]
        );
        let tomorrow = START.after(secs(24 * 3_600)).as_unix_us();
        assert_eq!(over["resets_at"], tomorrow);
        assert_eq!(kept.actor.to_string(), "operator:ann");
        let runs = control.runs(mission_control::RunQuery::default()).await;
        // The session alone.
        assert_eq!(runs.unwrap().items.len(), 1);
    });
}

#[test]
fn an_account_that_pauses_runs_refuses_no_plan() {
    let world = World::seeded(6);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        publish(&control, &estimated("retry: { maximum_attempts: 1 }")).await;
        set(&control, AccountId::Workspace, 5, OnExceed::Pause).await;
        let input = json!({"bound": 5, "cost": 5});
        let run = control
            .start("w", input, StartOptions::by("ann"))
            .await
            .unwrap();
        run.settled_or_blocked().await.unwrap();
        assert!(run.state().await.unwrap().paused.is_some());
        set(&control, AccountId::Workspace, 10, OnExceed::Pause).await;
        completes(&run).await;
    });
}

#[test]
fn what_others_hold_now_is_no_reason_to_refuse_a_plan() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        publish(&control, &estimated("retry: { maximum_attempts: 1 }")).await;
        set(&control, AccountId::Workspace, 15, OnExceed::Abort).await;
        let input = || json!({"bound": 5, "cost": 5});
        let first = control
            .start("w", input(), StartOptions::by("ann"))
            .await
            .unwrap();
        let second = control
            .start("w", input(), StartOptions::by("ann"))
            .await
            .unwrap();
        completes(&first).await;
        completes(&second).await;
    });
}

#[test]
fn an_advisory_check_is_written_down_and_an_unbounded_step_is_named() {
    let world = World::seeded(4);
    world.run(async {
        let policy = RunPolicy {
            plan_check: PlanCheck::Advisory,
            ..settings().run_policy
        };
        let settings = Settings {
            run_policy: policy,
            ..settings()
        };
        let control = open_with(&world, settings, "caller", caller(Notes::default())).await;
        let yaml = estimated("retry: { maximum_attempts: 2 }")
            .replace("steps: {", "steps: { b: { agent: caller },");
        publish(&control, &yaml).await;
        let mut options = StartOptions::by("ann");
        options.budget = Some(mission_control::RunBudget {
            limit: limit(15),
            on_exceed: OnExceed::Abort,
        });
        let run = control
            .start("w", json!({"bound": 5, "cost": 5}), options)
            .await
            .unwrap();
        let planned = facts(&control, &run, "run.planned").await;
        assert_eq!(planned["worst_case"]["nano_usd"], 20_000_000);
        assert_eq!(planned["unbounded"], json!(["b"]));
        assert_eq!(planned["over"][0]["requested"], 20_000_000);
        completes(&run).await;
    });
}

/// A call for 100 tokens that would do with `least`, under a limit of 40 mills.
async fn clamped(world: &World, least: Option<u64>) -> Result<Option<u64>, String> {
    let control = world.open().await;
    set(&control, AccountId::Workspace, 40, OnExceed::Abort).await;
    let session = guard(&control).await;
    let mut request = request("p", 100);
    if let Some(least) = least {
        request = request.min_output_tokens(least);
    }
    match session.reserve(&request).await.unwrap() {
        Admission::Clamped(permit) => {
            let most = permit.max_output_tokens();
            permit.settle(&answer("ok", 40)).await.unwrap();
            assert_eq!(workspace(&control).spent().money, mills(40));
            Ok(most)
        }
        Admission::Denied(error) => Err(error.kind().code().to_owned()),
        other @ (Admission::Allowed(_) | Admission::Answered(_) | Admission::NeedsApproval(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn a_call_is_clamped_to_what_is_affordable_where_so_little_is_of_use() {
    for (least, told) in [
        (Some(10), Ok(Some(40))),
        (Some(40), Ok(Some(40))),
        (Some(41), Err("budget_exceeded".to_owned())),
        (None, Err("budget_exceeded".to_owned())),
    ] {
        let world = World::seeded(5);
        assert_eq!(world.run(clamped(&world, least)), told, "{least:?}");
    }
}

#[test]
fn a_plan_is_as_quick_however_many_steps_are_used_over_and_over() {
    let world = World::seeded(9);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        publish(&control, &estimated("retry: { maximum_attempts: 1 }")).await;
        let mut inner = "w@1".to_owned();
        for level in 1..=7 {
            let steps: Vec<String> = (0..30)
                .map(|n| format!("s{n}: {{ uses: '{inner}' }}"))
                .collect();
            let steps = steps.join(", ");
            publish(
                &control,
                &format!("{{ workflow: w{level}, steps: {{ {steps} }} }}"),
            )
            .await;
            inner = format!("w{level}@1");
        }
        let options = StartOptions {
            budget: Some(mission_control::RunBudget {
                limit: limit(10),
                on_exceed: OnExceed::Abort,
            }),
            ..StartOptions::by("ann")
        };
        let refused = control.start("w7", json!({}), options).await.unwrap_err();
        let Some(Detail::Accounts(failing)) = refused.detail() else {
            panic!("{refused:?}");
        };
        let worst = 30_i64.pow(7) * 10 * 1_000_000;
        assert!(
            failing.iter().any(|one| one.requested == worst),
            "{failing:?}"
        );
    });
}
