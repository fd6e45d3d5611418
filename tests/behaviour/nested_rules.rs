//! Rules and plan checks across runs that are nested in one another.

use crate::asking::enforce;
use crate::common::*;
use crate::guardrails::rail;
use crate::nested::{SPENDING, publish, spender};
use mission_control::core::event::run::PlanCheck;
use mission_control::{RiskTier, RunBudget, RunPolicy};

/// Two runs of the gate, one after the other, and then a step of the outer run's own.
const TWICE: &str = "{ workflow: w, steps: { one: { uses: 'gate@1' }, two: { uses: 'gate@1', needs: [one] }, \
                     c: { agent: it, needs: [two] } } }";

/// What the agents of both runs got to do, by the path of their steps.
async fn done(world: &World, it: Agent, policy: &str) -> (String, usize) {
    let control = open_for(world, "it", it).await;
    enforce(&control, policy).await;
    publish(&control, SPENDING).await;
    let run = begin(&control, TWICE, json!({})).await;
    let ended = match run.settled_or_blocked().await.unwrap() {
        Position::Ended(Outcome::Completed(_)) => "completed".to_owned(),
        Position::Ended(Outcome::Failed { step, code, .. }) => format!("{step}: {code}"),
        Position::Ended(Outcome::Aborted(reason)) => format!("{reason:?}"),
        Position::Blocked { steps, .. } => steps[0].path.clone(),
    };
    let mut judged = count(&control, &run, "guardrail.judged").await;
    for nested in run.state().await.unwrap().nested.keys() {
        judged += count(&control, &control.run(*nested), "guardrail.judged").await;
    }
    (ended, judged)
}

/// Each step calls `pay` with the same parameters, and fails where it may not.
fn payer(risk: RiskTier) -> Agent {
    agent(move |ctx, _| async move {
        let tool = || async { Ok(json!("paid")) };
        let paid = ctx
            .tool_call("pay", risk, &json!({"to": "eve"}), tool)
            .await;
        match paid {
            Ok(paid) => Ok(paid.into()),
            Err(error) => Err(AgentError::new(error.code()).fatal()),
        }
    })
}

#[test]
fn what_a_run_may_cost_and_call_counts_what_is_nested_in_it() {
    // Each of the five steps makes a call of at most 50 mills that costs 20.
    for (rule, step) in [
        ("max_cost_per_run: { usd: '0.069' }", "one/b"),
        ("max_cost_per_run: { usd: '0.089' }", "two/a"),
        ("max_cost_per_run: { usd: '0.129' }", "c"),
        ("max_cost_per_run: { usd: '0.130' }", "completed"),
        ("max_calls_per_run: 3", "two/b"),
        ("max_calls_per_run: 4", "c"),
        ("max_calls_per_run: 5", "completed"),
    ] {
        let world = World::seeded(1);
        let policy = rail(&format!("at: model_call, {rule}"), "enforce");
        let (ended, judged) = world.run(done(&world, spender(), &policy));
        let expected = usize::from(step != "completed");
        assert_eq!((ended.as_str(), judged), (step, expected), "{rule}");
    }
}

#[test]
fn how_often_a_run_uses_a_tool_counts_what_is_nested_in_it() {
    for (most, step) in [
        (1, "one: nested_failed"),
        (3, "two: nested_failed"),
        (4, "c: agent_failed"),
        (5, "completed"),
    ] {
        let world = World::seeded(2);
        let policy = rail(
            &format!("at: tool_call, max_uses_per_run: {most}"),
            "enforce",
        );
        let (ended, _) = world.run(done(&world, payer(RiskTier::Write), &policy));
        assert_eq!(ended, step, "{most}");
    }
}

#[test]
fn what_cannot_be_undone_is_done_once_in_a_run_and_all_that_is_nested_in_it() {
    let gate = "{ workflow: gate, steps: { a: { agent: it } } }";
    let parallel = "{ workflow: w, steps: { all: { uses: 'gate@1', for_each: '[1, 2, 3]', on_failure: continue }, \
                    c: { agent: it, needs: [all], on_failure: continue } } }";
    let world = World::seeded(3);
    world.run(async {
        let control = open_for(&world, "it", payer(RiskTier::Irreversible)).await;
        let rails = rail("at: tool_call, once_per_intent: true", "enforce");
        enforce(
            &control,
            &format!("{{ {rails}, approvals: {{ from: financial }} }}"),
        )
        .await;
        publish(&control, gate).await;
        let run = begin(&control, parallel, json!({})).await;
        completes(&run).await;
        let mut made = count(&control, &run, "tool_call.dispatched").await;
        assert_eq!(made, 0, "the outer run's own comes last");
        for nested in run.state().await.unwrap().nested.keys() {
            made += count(&control, &control.run(*nested), "tool_call.dispatched").await;
        }
        assert_eq!(made, 1);
    });
}

#[test]
fn a_rule_for_one_workflow_counts_what_is_nested_in_its_runs_and_nothing_around_them() {
    for (flow, most, step) in [
        ("gate", 1, "one/b"),
        ("gate", 2, "completed"),
        ("w", 3, "two/b"),
        ("w", 5, "completed"),
        ("other", 1, "completed"),
    ] {
        let world = World::seeded(4);
        let rule =
            format!("at: model_call, for: {{ workflows: [{flow}] }}, max_calls_per_run: {most}");
        let (ended, _) = world.run(done(&world, spender(), &rail(&rule, "enforce")));
        assert_eq!(ended, step, "{flow} {most}");
    }
}

#[test]
fn an_observed_rule_about_agents_is_told_at_each_dispatch_that_it_would_have_kept_back() {
    for (mode, judged) in [("observe", 1), ("'off'", 0)] {
        let world = World::seeded(5);
        world.run(async {
            let control = open_for(&world, "it", slow()).await;
            let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";
            let run = begin(&control, yaml, json!({})).await;
            world.pass(secs(1)).await;
            let rule = "at: admission, agents: { deny: [it] }";
            enforce(&control, &rail(rule, mode)).await;
            completes(&run).await;
            assert_eq!(count(&control, &run, "guardrail.judged").await, judged);
            if judged > 0 {
                let told = facts(&control, &run, "guardrail.judged").await;
                let told = (
                    &told["step"],
                    &told["rule"],
                    &told["mode"],
                    &told["verdict"],
                );
                assert_eq!(
                    told,
                    (&json!("b"), &json!("r"), &json!("observe"), &json!("deny"))
                );
            }
        });
    }
}

fn slow() -> Agent {
    agent(|ctx, input| async move {
        ctx.sleep(secs(5)).await;
        Ok(input.into())
    })
}

/// A step whose attempts cost at most 10 mills.
fn estimated(name: &str, rest: &str) -> String {
    let estimate = format!(
        "{{ model: {}, input_tokens: 0, max_output_tokens: 10 }}",
        model()
    );
    format!("{name}: {{ agent: it, retry: {{ maximum_attempts: 1 }}, estimate: {estimate}{rest} }}")
}

/// The accounts that refuse to start `w`, without the run's id.
async fn refusing(control: &MissionControl) -> Vec<String> {
    match control.start("w", json!({}), StartOptions::by("ann")).await {
        Ok(_) => Vec::new(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::BudgetExceeded, "{error}");
            let Some(mission_control::Detail::Accounts(failing)) = error.detail() else {
                panic!("{error:?}");
            };
            let path = |account: &str| account.split_once('/').unwrap().1.to_owned();
            failing.iter().map(|one| path(&one.account)).collect()
        }
    }
}

#[test]
fn a_used_workflow_that_could_never_fit_its_own_budget_is_refused_by_its_path() {
    let steps = |rest: &str| {
        format!(
            "steps: {{ {}, {} }}",
            estimated("a", rest),
            estimated("b", ", needs: [a]")
        )
    };
    for (gate, told) in [
        (format!("budget: {{ usd: '0.020' }}, {}", steps("")), vec![]),
        (
            format!("budget: {{ usd: '0.019' }}, {}", steps("")),
            vec!["m/qa"],
        ),
        (
            format!(
                "budget: {{ usd: '0.019', on_exceed: pause }}, {}",
                steps("")
            ),
            vec![],
        ),
        (steps(", budget: { usd: '0.009' }"), vec!["m/qa/a"]),
        (steps(", budget: { usd: '0.010' }"), vec![]),
    ] {
        let world = World::seeded(6);
        world.run(async {
            let control = open_for(&world, "it", spender()).await;
            publish(&control, &format!("{{ workflow: gate, {gate} }}")).await;
            publish(&control, "{ workflow: mid, steps: { qa: { uses: 'gate@1', for_each: '[1]', max_items: 3 } } }").await;
            publish(&control, "{ workflow: w, steps: { m: { uses: 'mid@1' } } }").await;
            assert_eq!(refusing(&control).await, told, "{gate}");
        });
    }
}

#[test]
fn a_plan_of_which_nothing_is_known_is_told_where_a_limit_stands_and_nowhere_else() {
    for (budget, told) in [(Some(60), Some(json!(["a"]))), (None, None)] {
        let world = World::seeded(7);
        world.run(async {
            let control = open_for(&world, "it", spender()).await;
            let mut options = StartOptions::by("ann");
            options.budget = budget.map(|of| RunBudget {
                limit: limit(of),
                on_exceed: OnExceed::Abort,
            });
            let run = begin_with(&control, ONE, json!({}), options).await;
            completes(&run).await;
            let events = events(&control, &run).await;
            let planned = find(&events, "run.planned").map(|facts| facts["unbounded"].clone());
            assert_eq!(planned, told);
        });
    }
}

/// Fails at its second step the first time.
fn once_failing() -> Agent {
    let notes = Notes::default();
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            notes.add(ctx.step().as_str());
            call(&ctx, ctx.step().as_str(), 10, 10).await?;
            let first = notes.all().iter().filter(|one| *one == "b").count() == 1;
            if ctx.step().as_str() == "b" && first {
                return Err(AgentError::new("once").fatal());
            }
            Ok(json!({}).into())
        }
    })
}

/// The run ends at its second step of three, when 20 mills are spent; what remains can cost 20.
async fn fails_at_b(
    world: &World,
    (check, own): (PlanCheck, Option<i64>),
) -> (MissionControl, RunHandle) {
    let control = open_for(world, "it", once_failing()).await;
    set(&control, flow(), 30, OnExceed::Abort).await;
    let steps = [
        estimated("a", ""),
        estimated("b", ", needs: [a]"),
        estimated("c", ", needs: [b]"),
    ];
    let yaml = format!("{{ workflow: w, steps: {{ {} }} }}", steps.join(", "));
    let options = StartOptions {
        budget: own.map(|of| RunBudget {
            limit: limit(of),
            on_exceed: OnExceed::Abort,
        }),
        policy: Some(RunPolicy {
            plan_check: check,
            ..settings().run_policy
        }),
        ..StartOptions::by("ann")
    };
    let run = begin_with(&control, &yaml, json!({}), options).await;
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    (control, run)
}

fn flow() -> AccountId {
    "workflow:w".parse().unwrap()
}

#[test]
fn what_remains_of_a_run_that_is_redriven_has_to_fit_too() {
    for (check, then, goes) in [
        (PlanCheck::Strict, 30, false),
        (PlanCheck::Strict, 40, true),
        (PlanCheck::Reserving, 30, false),
        (PlanCheck::Reserving, 40, true),
        (PlanCheck::Advisory, 30, true),
        (PlanCheck::Off, 30, true),
    ] {
        let world = World::seeded(8);
        world.run(async {
            let (control, run) = fails_at_b(&world, (check, None)).await;
            set(&control, flow(), then, OnExceed::Abort).await;
            let redriven = run.redrive("ann", None, "as tested").await;
            let told = redriven.as_ref().err().map(mission_control::Error::kind);
            let refused = (!goes).then_some(ErrorKind::BudgetExceeded);
            assert_eq!(told, refused, "{check:?} {redriven:?}");
            if goes {
                completes(&run).await;
            }
        });
    }
}

#[test]
fn a_limit_that_cannot_be_raised_any_more_is_told_and_keeps_no_run_from_going_on() {
    for check in [PlanCheck::Strict, PlanCheck::Reserving] {
        let world = World::seeded(10);
        world.run(async {
            let (control, run) = fails_at_b(&world, (check, Some(30))).await;
            set(&control, flow(), 100, OnExceed::Abort).await;
            run.redrive("ann", None, "as tested").await.unwrap();
            completes(&run).await;
            let events = events(&control, &run).await;
            let mut planned = events.iter().filter(|one| &*one.kind == "run.planned");
            let planned =
                serde_json::from_str::<Value>(&planned.next_back().unwrap().facts).unwrap();
            let over = &planned["over"][0];
            assert_eq!(over["account"], format!("run:{}", run.id()));
            assert_eq!(
                (&over["spent"], &over["requested"]),
                (&json!(20_000_000), &json!(20_000_000))
            );
        });
    }
}

#[test]
fn the_rules_about_starts_judge_a_run_that_is_redriven() {
    let world = World::seeded(9);
    world.run(async {
        let (control, run) = fails_at_b(&world, (PlanCheck::Off, None)).await;
        let rule = "at: admission, workflows: { deny: [w] }";
        for (mode, goes) in [("enforce", false), ("observe", true)] {
            enforce(&control, &rail(rule, mode)).await;
            let redriven = run.redrive("ann", None, "as tested").await;
            assert_eq!(redriven.is_ok(), goes, "{redriven:?}");
        }
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let judged = log.iter().filter(|one| &*one.kind == "admission.judged");
        assert_eq!(judged.count(), 2);
    });
}
