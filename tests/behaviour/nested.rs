//! Composition: a step that uses another workflow is a run of its own, nested in its own.

use crate::common::*;
use mission_control::core::ports::RunQuery;
use mission_control::{AbortReason, Detail, PauseReason, RunBudget};

/// Two steps of the agent `it`, one after the other.
pub const GATE: &str =
    "{ workflow: gate, steps: { check: { agent: it }, judge: { agent: it, needs: [check] } } }";

/// One step that uses the gate, with more to say of it.
pub fn outer(rest: &str) -> String {
    format!("{{ workflow: w, steps: {{ qa: {{ uses: 'gate@1'{rest} }} }} }}")
}

pub async fn publish(control: &MissionControl, yaml: &str) {
    let workflow = Workflow::from_yaml(yaml).unwrap();
    control.publish(workflow).await.unwrap();
}

/// Opens a world with an agent, publishes a gate, and starts a run that uses it.
async fn compose(
    (world, it): (&World, Agent),
    gate: &str,
    (yaml, input): (&str, Value),
) -> (MissionControl, RunHandle) {
    let control = open_for(world, "it", it).await;
    publish(&control, gate).await;
    let run = begin(&control, yaml, input).await;
    (control, run)
}

/// The run that is nested for a step.
async fn nested(control: &MissionControl, run: &RunHandle, step: &str) -> RunHandle {
    let state = run.state().await.unwrap();
    let step = state.step(&step.parse().unwrap()).unwrap();
    control.run(step.nested.unwrap())
}

/// Waits for one signal, then gives it.
fn waiter() -> Agent {
    agent(|ctx, input| async move {
        Ok(match ctx.resumed() {
            None => suspended(input, go()),
            Some((_, given)) => given.cloned().unwrap_or_default().into(),
        })
    })
}

/// Fails at the step `judge`.
fn strict() -> Agent {
    agent(|ctx, input| async move {
        if ctx.step().name() == "judge" {
            return Err(AgentError::new("not good enough").fatal());
        }
        Ok(input.into())
    })
}

#[test]
fn a_composed_step_is_a_run_of_its_own_whose_output_is_the_steps() {
    let world = World::seeded(1);
    world.run(async {
        let yaml = outer(", input: { text: '${{ inputs.t }}' }");
        let (control, run) = compose((&world, echo()), GATE, (&yaml, json!({"t": "hi"}))).await;
        let output = output_of(&run).await;
        assert_eq!(
            output,
            json!({"judge": {"text": "hi", "check": {"text": "hi"}}})
        );
        let inner = nested(&control, &run, "qa").await;
        let state = inner.state().await.unwrap();
        assert_eq!(state.workflow().unwrap().0.as_str(), "gate");
        let place = state.outer().unwrap();
        assert_eq!((place.run, place.step.as_str()), (run.id(), "qa"));
        assert_eq!(state.path_of(&"check".parse().unwrap()), "qa/check");
        assert_eq!(
            kinds(&control, &run).await,
            [
                "run.created",
                "run.started",
                "step.composed",
                "nested.ended",
                "step.completed",
                "nested.sealed",
                "run.completed",
                "run.sealed",
            ]
        );
        assert!(state.sealed && run.state().await.unwrap().sealed);
        let listed = control.log().query_runs(RunQuery::default()).await.unwrap();
        let outers = listed
            .items
            .iter()
            .map(|run| run.outer.as_ref().map(|o| o.run));
        assert_eq!(outers.flatten().collect::<Vec<_>>(), [run.id()]);
    });
}

#[test]
fn each_item_has_a_run_and_their_outputs_come_back_in_order() {
    let world = World::seeded(2);
    world.run(async {
        let gate = "{ workflow: gate, steps: { a: { agent: it } } }";
        let yaml = outer(", for_each: '[3, 1, 2]', max_parallel: 2, input: { n: '${{ item }}' }");
        let it = agent(|ctx, input| async move {
            ctx.sleep(secs(input["n"].as_u64().unwrap())).await;
            Ok(input["n"].clone().into())
        });
        let (_, run) = compose((&world, it), gate, (&yaml, json!({}))).await;
        assert_eq!(output_of(&run).await, json!([3, 1, 2]));
        let state = run.state().await.unwrap();
        assert_eq!(state.nested.len(), 3);
    });
}

#[test]
fn an_input_that_the_used_workflow_refuses_fails_the_step_before_a_run_begins() {
    let world = World::seeded(3);
    world.run(async {
        let gate = "{ workflow: gate, input_schema: { type: object, required: [text] }, steps: { a: { agent: it } } }";
        let (_, run) = compose((&world, echo()), gate, (&outer(""), json!({"t": 1}))).await;
        let outcome = run.outcome().await.unwrap();
        let Outcome::Failed { step, code, message } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((step.as_str(), code.as_str()), ("qa", "invalid_input"));
        assert!(message.contains("text"), "{message}");
        assert!(run.state().await.unwrap().nested.is_empty());
    });
}

#[test]
fn an_output_that_the_steps_schema_refuses_fails_it() {
    let world = World::seeded(4);
    world.run(async {
        let yaml = outer(", output_schema: { type: string }");
        let (control, run) = compose((&world, echo()), GATE, (&yaml, json!({}))).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Failed { code, .. } if code == "invalid_output"),
            "{outcome:?}"
        );
        let inner = nested(&control, &run, "qa").await;
        completes(&inner).await;
    });
}

#[test]
fn a_failed_nested_run_fails_its_step_and_is_named_with_the_place() {
    let world = World::seeded(5);
    world.run(async {
        let (control, run) = compose((&world, strict()), GATE, (&outer(""), json!({}))).await;
        let outcome = run.outcome().await.unwrap();
        let Outcome::Failed {
            step,
            code,
            message,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!((step.as_str(), code.as_str()), ("qa", "nested_failed"));
        let inner = nested(&control, &run, "qa").await;
        let said = format!(
            "nested run {} of gate@1 failed at `qa/judge`: agent_failed",
            inner.id()
        );
        assert_eq!(message, said);
    });
}

#[test]
fn a_run_goes_on_without_a_composed_step_that_may_fail() {
    let world = World::seeded(6);
    world.run(async {
        let yaml = "{ workflow: w, steps: { qa: { uses: 'gate@1', on_failure: continue }, b: { agent: it, needs: [qa] } } }";
        let (_, run) = compose((&world, strict()), GATE, (yaml, json!({"x": 1}))).await;
        assert_eq!(output_of(&run).await, json!({"x": 1, "qa": null}));
    });
}

#[test]
fn a_paused_composed_step_gets_another_run_once_it_may_try_again() {
    let world = World::seeded(7);
    world.run(async {
        let tries = Notes::default();
        let noted = tries.clone();
        let it = agent(move |_, _| {
            noted.add("try");
            let first = noted.len() == 1;
            async move {
                if first {
                    return Err(AgentError::new("once").fatal());
                }
                Ok(json!("good").into())
            }
        });
        let gate = "{ workflow: gate, steps: { a: { agent: it, risk: read } } }";
        let yaml = outer(", on_failure: pause");
        let (_, run) = compose((&world, it), gate, (&yaml, json!({}))).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert!(matches!(
            position,
            Position::Blocked {
                paused: Some(PauseReason::StepFailed { .. }),
                ..
            }
        ));
        run.resume(("ann", "as tested")).await.unwrap();
        assert_eq!(output_of(&run).await, json!("good"));
        assert_eq!(run.state().await.unwrap().nested.len(), 2);
    });
}

#[test]
fn what_cannot_be_undone_is_not_done_again_by_another_run() {
    let world = World::seeded(8);
    world.run(async {
        let gate = "{ workflow: gate, steps: { check: { agent: it, risk: irreversible }, judge: { agent: it, needs: [check] } } }";
        let yaml = outer(", on_failure: pause");
        let (control, run) = compose((&world, strict()), gate, (&yaml, json!({}))).await;
        let position = run.settled_or_blocked().await.unwrap();
        let Position::Blocked { steps, .. } = &position else {
            panic!("{position:?}");
        };
        assert_eq!(steps[0].path, "qa/check");
        let asked = control.approvals(mission_control::ApprovalFilter::default()).await.unwrap();
        control.approve(asked[0].id, "eve", "yes").await.unwrap();
        let position = run.settled_or_blocked().await.unwrap();
        assert!(matches!(position, Position::Blocked { paused: Some(_), .. }), "{position:?}");
        run.resume(("ann", "as tested")).await.unwrap();
        let position = run.settled_or_blocked().await.unwrap();
        let state = run.state().await.unwrap();
        assert_eq!(state.nested.len(), 1, "{position:?}");
    });
}

#[test]
fn the_end_of_a_run_is_the_end_of_those_nested_in_it() {
    let world = World::seeded(9);
    world.run(async {
        let (control, run) = compose((&world, waiter()), GATE, (&outer(""), json!({}))).await;
        run.settled_or_blocked().await.unwrap();
        let inner = nested(&control, &run, "qa").await;
        run.abort(("ann", "as tested")).await.unwrap();
        let outcome = inner.outcome().await.unwrap();
        let with = AbortReason::Outer { run: run.id() };
        assert_eq!(outcome, Outcome::Aborted(with));
        assert!(inner.state().await.unwrap().sealed && run.state().await.unwrap().sealed);
    });
}

#[test]
fn a_nested_run_that_is_aborted_by_itself_fails_its_step() {
    let world = World::seeded(10);
    world.run(async {
        let (control, run) = compose((&world, waiter()), GATE, (&outer(""), json!({}))).await;
        run.settled_or_blocked().await.unwrap();
        nested(&control, &run, "qa")
            .await
            .abort(("ann", "as tested"))
            .await
            .unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Failed { code, .. } if code == "nested_aborted"),
            "{outcome:?}"
        );
    });
}

#[test]
fn pausing_and_resuming_a_run_does_the_same_to_those_nested_in_it() {
    let world = World::seeded(11);
    world.run(async {
        let it = agent(|ctx, input| async move {
            ctx.sleep(secs(10)).await;
            Ok(input.into())
        });
        let (control, run) = compose((&world, it), GATE, (&outer(""), json!({}))).await;
        world.pass(secs(5)).await;
        run.pause(("ann", "as tested")).await.unwrap();
        let inner = nested(&control, &run, "qa").await;
        let reason = PauseReason::Outer { run: run.id() };
        assert_eq!(inner.state().await.unwrap().paused, Some(reason));
        let refused = inner.resume(("ann", "as tested")).await.unwrap_err();
        assert!(
            refused.message().contains(&run.id().to_string()),
            "{refused}"
        );
        world.pass(secs(60)).await;
        assert_eq!(status(&inner, "judge").await, StepStatus::Waiting);
        run.resume(("ann", "as tested")).await.unwrap();
        completes(&run).await;
    });
}

#[test]
fn who_waits_for_a_run_is_told_where_in_it_a_person_is_needed() {
    let world = World::seeded(12);
    world.run(async {
        let (control, run) = compose((&world, waiter()), GATE, (&outer(""), json!({}))).await;
        for step in ["check", "judge"] {
            let position = run.settled_or_blocked().await.unwrap();
            let Position::Blocked { steps, .. } = position else {
                panic!("{position:?}");
            };
            let inner = nested(&control, &run, "qa").await;
            assert_eq!(
                (steps[0].run, &*steps[0].path),
                (inner.id(), &*format!("qa/{step}"))
            );
            inner.signal("ann", "go", json!(step)).await.unwrap();
        }
        assert_eq!(output_of(&run).await, json!("judge"));
    });
}

/// Two calls of at most 50 and in truth 20, one after the other.
pub const SPENDING: &str =
    "{ workflow: gate, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";

pub fn spender() -> Agent {
    agent(|ctx, _| async move {
        call(&ctx, ctx.step().as_str(), 50, 20).await?;
        Ok(json!({}).into())
    })
}

#[test]
fn what_a_nested_run_spends_counts_in_every_account_around_it() {
    let world = World::seeded(13);
    world.run(async {
        let (control, run) = compose((&world, spender()), SPENDING, (&outer(""), json!({}))).await;
        completes(&run).await;
        let inner = nested(&control, &run, "qa").await.id();
        let run_id = run.id();
        let joined = join(&world, &control);
        for id in [
            "workspace",
            "workflow:gate",
            "agent:it",
            &format!("run:{run_id}"),
            &format!("step:{run_id}/qa"),
        ] {
            let id = id.parse().unwrap();
            let account = control.account(&id).unwrap_or_default();
            assert_eq!(account.spent().money, mills(40), "{id}");
            assert_eq!(joined.control.account(&id), Some(account), "{id}");
        }
        assert!(control.account(&"workflow:w".parse().unwrap()).is_none());
        let state = run.state().await.unwrap();
        assert_eq!(
            (state.spent().money, state.spent_nested().money),
            (mills(0), mills(40))
        );
        assert!(state.nested.contains_key(&inner));
    });
}

#[test]
fn the_budget_of_the_outer_run_ends_it_and_what_is_nested_in_it() {
    let world = World::seeded(14);
    world.run(async {
        let control = open_for(&world, "it", spender()).await;
        publish(&control, SPENDING).await;
        let mut options = StartOptions::by("ann");
        options.budget = Some(RunBudget {
            limit: limit(60),
            on_exceed: OnExceed::Abort,
        });
        let run = begin_with(
            &control,
            &outer(", on_failure: continue"),
            json!({}),
            options,
        )
        .await;
        let account = AccountId::Run(run.id());
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome, Outcome::Aborted(AbortReason::Budget { account }));
        let inner = nested(&control, &run, "qa").await;
        let with = AbortReason::Outer { run: run.id() };
        assert_eq!(inner.outcome().await.unwrap(), Outcome::Aborted(with));
    });
}

#[test]
fn a_nested_runs_own_budget_ends_it_alone() {
    let world = World::seeded(15);
    world.run(async {
        let gate = SPENDING.replace("steps:", "budget: { usd: \"0.06\" }, steps:");
        let (_, run) = compose((&world, spender()), &gate, (&outer(""), json!({}))).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Failed { code, .. } if code == "budget_exceeded"),
            "{outcome:?}"
        );
    });
}

#[test]
fn a_budget_of_the_composing_step_pauses_its_run_until_there_is_room() {
    let world = World::seeded(16);
    world.run(async {
        let yaml = outer(", budget: { usd: \"0.06\", on_exceed: pause }");
        let (control, run) = compose((&world, spender()), SPENDING, (&yaml, json!({}))).await;
        let position = run.settled_or_blocked().await.unwrap();
        let account = AccountId::Step(run.id(), "qa".parse().unwrap());
        let Position::Blocked { paused, steps, .. } = position else {
            panic!("{position:?}");
        };
        assert_eq!(
            paused,
            Some(PauseReason::Budget {
                account: account.clone()
            })
        );
        assert_eq!(steps[0].path, "qa/b");
        set(&control, account, 70, OnExceed::Pause).await;
        completes(&run).await;
    });
}

#[test]
fn the_plan_check_counts_what_nested_runs_can_cost() {
    let world = World::seeded(17);
    world.run(async {
        let estimate = format!("{{ model: {}, input_tokens: 0, max_output_tokens: 10 }}", model());
        let gate = format!("{{ workflow: gate, steps: {{ a: {{ agent: it, retry: {{ maximum_attempts: 1 }}, estimate: {estimate} }} }} }}");
        let control = open_for(&world, "it", spender()).await;
        publish(&control, &gate).await;
        publish(&control, &outer(", for_each: '[1]', max_items: 3")).await;
        for (mills, fits) in [(29, false), (30, true)] {
            let mut options = StartOptions::by("ann");
            options.budget = Some(RunBudget { limit: limit(mills), on_exceed: OnExceed::Abort });
            let started = control.start("w", json!({}), options).await;
            assert_eq!(started.is_ok(), fits, "{started:?}");
        }
    });
}

#[test]
fn an_agent_that_only_a_used_workflow_needs_is_missed_at_the_start() {
    let world = World::seeded(18);
    world.run(async {
        let control = open_for(&world, "other", echo()).await;
        publish(&control, GATE).await;
        publish(&control, &outer("")).await;
        let error = control
            .start("w", json!({}), StartOptions::by("ann"))
            .await
            .unwrap_err();
        let Some(Detail::Workflow(problems)) = error.detail() else {
            panic!("{error:?}");
        };
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "step `qa/check`: agent `it` is not registered");
        assert_eq!(told.len(), 2);
    });
}

#[test]
fn a_family_that_waits_leaves_memory_and_comes_back_together() {
    let world = World::seeded(20);
    world.run(async {
        let few = Settings {
            resident_runs: 1,
            ..settings()
        };
        let control = open_with(&world, few, "it", waiter()).await;
        publish(&control, GATE).await;
        publish(
            &control,
            "{ workflow: mid, steps: { m: { uses: 'gate@1' } } }",
        )
        .await;
        let yaml = "{ workflow: w, steps: { o: { uses: 'mid@1' } } }";
        let run = begin(&control, yaml, json!({})).await;
        for _ in 0..2 {
            run.settled_or_blocked().await.unwrap();
            // Others take its place in memory.
            for _ in 0..3 {
                start(&control, json!({}))
                    .await
                    .settled_or_blocked()
                    .await
                    .unwrap();
            }
            let mid = nested(&control, &run, "o").await;
            let inner = nested(&control, &mid, "m").await;
            inner.signal("ann", "go", json!("on")).await.unwrap();
        }
        assert_eq!(output_of(&run).await, json!("on"));
    });
}

#[test]
fn a_crash_anywhere_leaves_the_runs_of_a_family_consistent() {
    let world = World::seeded(21);
    let run = world.run(async {
        let (_, run) = compose((&world, spender()), SPENDING, (&outer(""), json!({}))).await;
        world.pass(Duration::from_millis(500)).await;
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_for(&world, "it", spender()).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(run);
        completes(&run).await;
        let inner = nested(&control, &run, "qa").await;
        let doubts: Vec<_> = inner.doubts().await.unwrap();
        assert_eq!(doubts.len(), 1, "the call that was out");
        let account = control.account(&AccountId::Run(run.id())).unwrap();
        assert_eq!(
            (account.in_doubt().money, account.spent().money),
            (mills(50), mills(40))
        );
        assert!(!run.state().await.unwrap().sealed);
        let (hold, _) = doubts[0].clone();
        inner
            .reconcile("ann", &hold, Amount::ZERO, "the bill")
            .await
            .unwrap();
        assert!(run.state().await.unwrap().sealed);
    });
}
