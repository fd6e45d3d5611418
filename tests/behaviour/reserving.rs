//! Runs that reserve: what they can cost is held for them from the start.

use crate::common::*;
use mission_control::core::event::run::PlanCheck;
use mission_control::{Budget, Detail, Note, RunPolicy};

/// What one attempt costs at most: 10 thousandths of a dollar.
fn estimate() -> String {
    let model = model();
    format!(
        "estimate: {{ model: {model}, input_tokens: 0, max_output_tokens: 10, calls: 1 }}, retry: {{ maximum_attempts: 1 }}"
    )
}

/// Two steps, one after the other.
fn two(name: &str) -> String {
    let estimate = estimate();
    format!(
        "{{ workflow: {name}, steps: {{ a: {{ agent: it, {estimate} }}, b: {{ agent: it, needs: [a], {estimate} }} }} }}"
    )
}

/// Notes who it works for and at what, and takes ten seconds.
fn worker(notes: &Notes) -> Agent {
    let notes = notes.clone();
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            notes.add(format!(
                "{}{}",
                input["who"].as_str().unwrap_or("?"),
                ctx.step()
            ));
            ctx.sleep(secs(
                input["a"]
                    .as_u64()
                    .filter(|_| ctx.step().name() == "a")
                    .unwrap_or(10),
            ))
            .await;
            Ok(json!({}).into())
        }
    })
}

fn options(plan_check: PlanCheck) -> StartOptions {
    StartOptions {
        policy: Some(RunPolicy {
            plan_check,
            ..settings().run_policy
        }),
        ..StartOptions::by("ann")
    }
}

/// A world with a limit for all, and the workflows in it.
async fn open_limited(world: &World, of: i64, yamls: &[&str]) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "it", worker(&notes)).await;
    for yaml in yamls {
        let workflow = Workflow::from_yaml(*yaml).unwrap();
        control.publish(workflow).await.unwrap();
    }
    set(&control, AccountId::Workspace, of, OnExceed::Abort).await;
    control.start_dispatch().await.unwrap();
    (control, notes)
}

async fn start_as(control: &MissionControl, name: &str, who: &str, check: PlanCheck) -> RunHandle {
    let started = control.start(name, json!({"who": who}), options(check));
    started.await.unwrap()
}

/// A run of so many steps in a row among five others, with room for so many steps at a time: after how
/// many seconds it has ended.
fn took(check: PlanCheck, name: &str, steps: i64) -> u64 {
    let world = World::seeded(1);
    world.run(async {
        let last = estimate();
        let outer = format!(
            "{{ workflow: w, steps: {{ qa: {{ uses: 'gate@1' }}, c: {{ agent: it, needs: [qa], {last} }} }} }}"
        );
        let (control, _) = open_limited(&world, 10 * steps, &[&two("gate"), &outer]).await;
        let first = start_as(&control, name, "A", check).await;
        let mut others = Vec::new();
        for who in ["B", "C", "D", "E", "F"] {
            others.push(start_as(&control, "gate", who, PlanCheck::Strict).await);
        }
        completes(&first).await;
        let elapsed = world.elapsed();
        for run in &others {
            completes(run).await;
        }
        assert!(first.state().await.unwrap().sealed);
        assert_eq!(*workspace(&control).reserved(), Amount::ZERO);
        elapsed.as_secs()
    })
}

#[test]
fn no_other_run_takes_what_is_held_for_a_step_that_has_not_gone_out() {
    assert_eq!(took(PlanCheck::Reserving, "gate", 2), 20);
    assert!(took(PlanCheck::Strict, "gate", 2) > 20);
}

#[test]
fn what_a_composed_step_can_cost_is_held_for_the_run_that_is_nested_for_it() {
    assert_eq!(took(PlanCheck::Reserving, "w", 3), 30);
    assert!(took(PlanCheck::Strict, "w", 3) > 30);
}

#[test]
fn a_run_that_cannot_have_all_of_it_now_is_refused_by_name_and_may_come_again() {
    let world = World::seeded(2);
    world.run(async {
        let (control, notes) = open_limited(&world, 30, &[&two("w")]).await;
        let first = start_as(&control, "w", "A", PlanCheck::Reserving).await;
        let again = || control.start("w", json!({"who": "B"}), options(PlanCheck::Reserving));
        let error = again().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("workspace"), "{error}");
        assert!(matches!(error.detail(), Some(Detail::Accounts(all)) if all.len() == 1));
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        assert!(log.iter().any(|one| &*one.kind == "run.refused"));
        completes(&first).await;
        completes(&again().await.unwrap()).await;
        assert_eq!(notes.len(), 4);
    });
}

#[test]
fn a_run_whose_account_is_frozen_is_refused_and_what_pauses_runs_is_no_room() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_limited(&world, 30, &[&two("w")]).await;
        control
            .freeze("ann", AccountId::Workspace, Note::because("as tested"))
            .await
            .unwrap();
        let start = || control.start("w", json!({}), options(PlanCheck::Reserving));
        assert_eq!(start().await.unwrap_err().kind(), ErrorKind::Unavailable);
        control
            .unfreeze("ann", AccountId::Workspace, Note::because("as tested"))
            .await
            .unwrap();
        set(&control, AccountId::Workspace, 19, OnExceed::Pause).await;
        assert_eq!(start().await.unwrap_err().kind(), ErrorKind::BudgetExceeded);
        set(&control, AccountId::Workspace, 20, OnExceed::Pause).await;
        completes(&start().await.unwrap()).await;
    });
}

#[test]
fn a_run_that_would_take_what_others_wait_for_is_refused() {
    let world = World::seeded(7);
    world.run(async {
        let large = two("large").replace("max_output_tokens: 10", "max_output_tokens: 25");
        let (control, _) = open_limited(&world, 30, &[&two("w"), &large]).await;
        let first = start_as(&control, "w", "A", PlanCheck::Strict).await;
        let waits = start_as(&control, "large", "B", PlanCheck::Off).await;
        let third = control.start("w", json!({}), options(PlanCheck::Reserving));
        let error = third.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error
                .to_string()
                .contains("others wait for room in workspace"),
            "{error}"
        );
        completes(&first).await;
        completes(&waits).await;
    });
}

#[test]
fn a_run_that_met_a_freeze_goes_on_when_it_is_lifted() {
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_limited(&world, 20, &[&two("w")]).await;
        let run = start_as(&control, "w", "A", PlanCheck::Reserving).await;
        world.pass(secs(1)).await;
        let it = || AccountId::Agent("it".parse().unwrap());
        control
            .freeze("ann", it(), Note::because("as tested"))
            .await
            .unwrap();
        world.pass(secs(20)).await;
        set(&control, AccountId::Workspace, 10, OnExceed::Abort).await;
        control
            .unfreeze("ann", it(), Note::because("as tested"))
            .await
            .unwrap();
        completes(&run).await;
        assert!(world.elapsed() < secs(60));
    });
}

#[test]
fn a_run_of_many_steps_that_fails_gives_all_back_at_once() {
    let world = World::seeded(9);
    world.run(async {
        let estimate = estimate();
        let step = |n: u32| format!("s{n}: {{ agent: it, needs: [bad], {estimate} }}");
        let steps: Vec<String> = (0..600).map(step).collect();
        let yaml = format!(
            "{{ workflow: w, steps: {{ bad: {{ agent: it, retry: {{ maximum_attempts: 1 }} }}, {} }} }}",
            steps.join(", ")
        );
        let it = agent(|_, _| async { Err(AgentError::new("no")) });
        let control = open_for(&world, "it", it).await;
        let workflow = Workflow::from_yaml(yaml).unwrap();
        control.publish(workflow).await.unwrap();
        control.start_dispatch().await.unwrap();
        let run = start_as(&control, "w", "A", PlanCheck::Reserving).await;
        assert!(matches!(run.outcome().await.unwrap(), Outcome::Failed { .. }));
        assert_eq!(*workspace(&control).reserved(), Amount::ZERO);
        assert_eq!(count(&control, &run, "plan.released").await, 600);
    });
}

#[test]
fn a_run_that_waits_for_more_than_was_held_lets_go_of_the_rest() {
    let world = World::seeded(4);
    world.run(async {
        let estimate = estimate();
        let yaml = format!(
            "{{ workflow: w, steps: {{ a: {{ agent: it, for_each: '[1, 2]', {estimate} }}, b: {{ agent: it, needs: [a], {estimate} }} }} }}"
        );
        let (control, notes) = open_limited(&world, 15, &[&yaml]).await;
        let run = start_as(&control, "w", "A", PlanCheck::Reserving).await;
        completes(&run).await;
        assert_eq!(notes.len(), 3);
        let planned = facts(&control, &run, "run.planned").await;
        assert_eq!(planned["reserved"].as_array().unwrap().len(), 1);
        let released = facts(&control, &run, "plan.released").await;
        assert_eq!(released["reason"], "let_go");
    });
}

#[test]
fn what_was_held_in_one_day_takes_no_room_of_the_next_unasked() {
    const DAY: u64 = 24 * 3_600;
    let world = World::seeded(6);
    world.run(async {
        let (control, notes) = open_limited(&world, 20, &[&two("w")]).await;
        let budget = Budget::of(AccountId::Workspace).limit(limit(20));
        let budget = budget.window("day UTC".parse().unwrap());
        control
            .set_budget(("ann", "as tested"), budget)
            .await
            .unwrap();
        let input = json!({"who": "A", "a": DAY + 5});
        let started = control.start("w", input, options(PlanCheck::Reserving));
        let first = started.await.unwrap();
        world.pass(secs(DAY + 1)).await;
        for who in ["B", "C"] {
            start_as(&control, "w", who, PlanCheck::Strict).await;
        }
        world.pass(secs(5)).await;
        assert_eq!(notes.all(), ["Aa", "Ba", "Ca"]);
        assert_eq!(workspace(&control).reserved().money, mills(20));
        completes(&first).await;
    });
}

#[test]
fn what_is_held_for_steps_outlives_a_crash_and_ends_with_the_run() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_limited(&world, 30, &[&two("w")]).await;
        let run = start_as(&control, "w", "A", PlanCheck::Reserving).await;
        world.pass(secs(1)).await;
        let held = |control: &MissionControl| {
            let account = workspace(control);
            [account.reserved().money, account.in_doubt().money]
        };
        assert_eq!(held(&control), [mills(20), mills(0)]);
        world.crash();
        let control = open_for(&world, "it", worker(&Notes::default())).await;
        // What was out is in doubt; the other step has not gone out.
        assert_eq!(held(&control), [mills(10), mills(10)]);
        let run = control.run(run.id());
        run.abort(("ann", "as tested")).await.unwrap();
        assert_eq!(held(&control), [mills(0), mills(10)]);
        assert!(run.state().await.unwrap().planned().next().is_none());
    });
}
