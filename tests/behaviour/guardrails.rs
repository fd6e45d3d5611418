//! Guardrails: each rule of a policy, obeyed and observed, at its checkpoint.

use mission_control::{Policy, RiskTier, RunId};

use crate::common::*;

pub async fn publish(control: &MissionControl, text: &str) {
    let policy = Policy::from_yaml(text).unwrap();
    control.publish_policy("ann", policy).await.unwrap();
}

/// A policy of one rule.
pub fn rail(rule: &str, mode: &str) -> String {
    format!("guardrails: [{{ id: r, mode: {mode}, {rule} }}]")
}

/// The call that was denied, and the first verdict that was written: call, rule, kind, verdict.
pub type Told = (Option<usize>, Found);

/// A verdict: call, rule, kind, verdict.
pub type Found = Option<(usize, String, String, String)>;

pub async fn verdict(control: &MissionControl, run: &RunHandle) -> Found {
    let events = events(control, run).await;
    let facts = find(&events, "guardrail.judged")?;
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    let call = usize::try_from(facts["ordinal"].as_u64()?).ok()?;
    Some((call, text("rule"), text("code"), text("verdict")))
}

/// Makes calls in a session under a rule; each costs all that it may.
pub fn under(rule: &str, mode: &str, calls: &[ModelRequest]) -> Told {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open().await;
        publish(&control, &rail(rule, mode)).await;
        let session = guard(&control).await;
        let mut denied = None;
        for (index, call) in calls.iter().enumerate() {
            match session.reserve(call).await.unwrap() {
                Admission::Allowed(permit) | Admission::Clamped(permit) => {
                    let most = permit.max_output_tokens().unwrap();
                    permit.settle(&answer("ok", most)).await.unwrap();
                }
                Admission::Denied(error) => {
                    assert_eq!(error.kind(), ErrorKind::PolicyDenied);
                    assert!(error.message().starts_with("r: "), "{error}");
                    denied = denied.or(Some(index));
                }
                other @ (Admission::Answered(_) | Admission::NeedsApproval(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        // What it was told at once is durable with its end.
        let run = control.run(session.id());
        session.close().await.unwrap();
        (denied, verdict(&control, &run).await)
    })
}

/// The rule denies this call first; observed, it names the same verdict and denies nothing.
pub fn denies(rule: &str, kind: &str, calls: &[ModelRequest], first: usize) {
    let rule = format!("at: model_call, {rule}");
    let expected = Some((first, "r".to_owned(), kind.to_owned(), "deny".to_owned()));
    assert_eq!(
        under(&rule, "enforce", calls),
        (Some(first), expected.clone()),
        "{rule}"
    );
    assert_eq!(under(&rule, "observe", calls), (None, expected), "{rule}");
    assert_eq!(under(&rule, "'off'", calls), (None, None), "{rule}");
}

pub fn different(times: usize) -> Vec<ModelRequest> {
    (0..times).map(|n| request(&format!("p{n}"), 4)).collect()
}

#[test]
fn rules_about_who_and_what_is_called_deny_at_once() {
    let one = [request("p", 4)];
    denies("agents: { deny: [host] }", "agents", &one, 0);
    denies("models: { deny: [test/m] }", "models", &one, 0);
    denies("models: { allow: ['openai/*'] }", "models", &one, 0);
    denies(
        "service_tiers: { allow: [batch] }",
        "service_tiers",
        &one,
        0,
    );
    denies("regions: { allow: [eu] }", "regions", &one, 0);
    denies(
        "for: { agents: [host] }, models: { allow: [] }",
        "models",
        &one,
        0,
    );
}

#[test]
fn rules_about_size_and_cost_count_the_worst_case() {
    let large = [request("p", 1).input_tokens(9)];
    denies("max_input_tokens: 8", "max_input_tokens", &large, 0);
    denies(
        "max_cost_per_call: { usd: '0.003' }",
        "max_cost_per_call",
        &[request("p", 4)],
        0,
    );
    denies(
        "max_cost_per_step: { usd: '0.010' }",
        "max_cost_per_step",
        &different(3),
        2,
    );
    denies(
        "max_cost_per_run: { usd: '0.010' }",
        "max_cost_per_run",
        &different(3),
        2,
    );
    denies(
        "max_calls_per_step: 2",
        "max_calls_per_step",
        &different(3),
        2,
    );
    denies(
        "velocity: { usd: '0.010', window: 1m }",
        "velocity",
        &different(3),
        2,
    );
}

#[test]
fn rules_about_content_look_at_every_text() {
    let key = format!("use sk-ant-{}", "aB3".repeat(10));
    denies("max_bytes: 10", "max_bytes", &[request("p", 4)], 0);
    denies(
        "forbidden: ['(?i)drop\\s+table']",
        "forbidden",
        &[request("Drop  Table x", 1)],
        0,
    );
    denies("secrets: any", "secrets", &[request(&key, 1)], 0);
    denies(
        "secrets: [email]",
        "secrets",
        &[request("to ann@example.org", 1)],
        0,
    );
    denies(
        "repeated_prompt: { times: 2, within: 1m }",
        "repeated_prompt",
        &[0; 3].map(|_| request("p", 4)),
        2,
    );
}

#[test]
fn a_rule_for_somebody_else_says_nothing() {
    let rule = "at: model_call, for: { agents: [other] }, models: { allow: [] }";
    assert_eq!(under(rule, "enforce", &[request("p", 4)]), (None, None));
    let rule = "at: model_call, for: { models: ['openai/*'] }, max_calls_per_step: 0";
    assert_eq!(under(rule, "enforce", &[request("p", 4)]), (None, None));
}

#[test]
fn a_call_that_asks_for_more_output_than_allowed_is_asked_for_less() {
    for (mode, most) in [("enforce", 3), ("observe", 8)] {
        let world = World::seeded(8);
        world.run(async {
            let control = world.open().await;
            publish(
                &control,
                &rail("at: model_call, max_output_tokens: 3", mode),
            )
            .await;
            let session = guard(&control).await;
            let admission = session.reserve(&request("p", 8)).await.unwrap();
            let permit = match (mode, admission) {
                ("enforce", Admission::Clamped(permit)) | (_, Admission::Allowed(permit)) => permit,
                other => panic!("{other:?}"),
            };
            assert_eq!(permit.max_output_tokens(), Some(most));
            permit.settle(&answer("ok", most)).await.unwrap();
            let run = control.run(session.id());
            session.close().await.unwrap();
            let told = verdict(&control, &run).await.unwrap();
            assert_eq!(
                (told.2.as_str(), told.3.as_str()),
                ("max_output_tokens", "clamp")
            );
        });
    }
}

#[test]
fn windows_and_counts_outlive_a_crash() {
    let world = World::seeded(9);
    let rules = "guardrails: [{ id: r, at: model_call, velocity: { usd: '0.010', window: 1m } }]";
    world.run(async {
        let control = world.open().await;
        publish(&control, rules).await;
        let session = guard(&control).await;
        for _ in 0..2 {
            let Admission::Allowed(permit) = session.reserve(&request("p", 4)).await.unwrap()
            else {
                panic!("denied");
            };
            permit.settle(&answer("ok", 4)).await.unwrap();
        }
        // Whatever is written behind them is durable only with them.
        session.close().await.unwrap();
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let third = session.reserve(&request("p", 4)).await.unwrap();
        assert!(matches!(third, Admission::Denied(_)), "{third:?}");
        world.pass(secs(62)).await;
        let later = session.reserve(&request("p", 4)).await.unwrap();
        assert!(matches!(later, Admission::Allowed(_)), "{later:?}");
    });
}

#[test]
fn a_denied_call_blocks_the_step_that_gives_up_over_it_under_the_rules_id() {
    let world = World::seeded(10);
    world.run(async {
        let control = world.open().await;
        publish(
            &control,
            &rail("at: model_call, max_calls_per_step: 1", "enforce"),
        )
        .await;
        let it = agent(|ctx, _| async move {
            call(&ctx, "one", 4, 1).await?;
            call(&ctx, "two", 4, 1).await?;
            Ok(json!("done").into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let told = ("a".to_owned(), BlockReason::Guardrail, "r".to_owned());
        assert_eq!(blocks(&position), [told]);
        assert_eq!(
            facts(&control, &run, "model_call.denied").await["code"],
            "r"
        );
    });
}

#[test]
fn a_rule_that_halts_cuts_what_is_in_flight_in_its_step() {
    let world = World::seeded(11);
    world.run(async {
        let control = world.open().await;
        let rule = "at: model_call, verdict: halt, forbidden: [stop]";
        publish(&control, &rail(rule, "enforce")).await;
        let it = agent(|ctx, _| async move {
            let slow = call(&ctx, "slow", 4, 1);
            let bad = call(&ctx, "stop", 4, 1);
            let _ = futures::join!(slow, bad);
            ctx.sleep(secs(60)).await;
            Ok(json!("done").into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].2, "r");
        let cut = facts(&control, &run, "attempt.abandoned").await;
        assert_eq!(cut["reason"], "guardrail");
        assert_eq!(count(&control, &run, "model_call.doubted").await, 1);
    });
}

#[test]
fn a_session_whose_rule_halts_ends() {
    let world = World::seeded(12);
    world.run(async {
        let control = world.open().await;
        let rule = "at: model_call, verdict: halt, max_calls_per_step: 0";
        publish(&control, &rail(rule, "enforce")).await;
        let session = guard(&control).await;
        let denied = session.reserve(&request("p", 1)).await.unwrap();
        assert!(matches!(denied, Admission::Denied(_)), "{denied:?}");
        let run = control.run(session.id());
        let aborted = facts(&control, &run, "run.aborted").await;
        assert_eq!(aborted["reason"]["policy"]["code"], "r", "{aborted}");
    });
}

/// Starts three runs that stay; which of them was refused.
pub fn starts(rule: &str, mode: &str) -> (Vec<bool>, usize) {
    let world = World::seeded(13);
    world.run(async {
        let control = world.open_with(settings()).await;
        register(&control, "it", parked()).await;
        control
            .publish(Workflow::from_yaml(ONE).unwrap())
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        publish(&control, &rail(&format!("at: admission, {rule}"), mode)).await;
        let mut refused = Vec::new();
        for n in 0..3 {
            let started = control.start("w", json!(n), StartOptions::by("ann")).await;
            if let Err(error) = &started {
                assert_eq!(error.kind(), ErrorKind::PolicyDenied);
                assert!(error.message().starts_with("r: "), "{error}");
            }
            refused.push(started.is_err());
        }
        let zero = events(&control, &control.run(RunId::ZERO)).await;
        let judged = zero
            .iter()
            .filter(|event| &*event.kind == "admission.judged");
        (refused, judged.count())
    })
}

#[test]
fn rules_of_admission_refuse_a_start_and_say_so_on_run_zero() {
    for (rule, refused) in [
        ("max_runs_in_flight: 2", [false, false, true]),
        ("max_runs_per_minute: 1", [false, true, true]),
        ("agents: { deny: [it] }", [true, true, true]),
        ("workflows: { deny: [w] }", [true, true, true]),
        ("workflows: { allow: [v] }", [true, true, true]),
        (
            "for: { workflows: [v] }, max_runs_in_flight: 0",
            [false, false, false],
        ),
    ] {
        let events = refused.iter().filter(|one| **one).count();
        assert_eq!(
            starts(rule, "enforce"),
            (refused.to_vec(), events),
            "{rule}"
        );
        assert_eq!(starts(rule, "observe"), (vec![false; 3], events), "{rule}");
        assert_eq!(starts(rule, "'off'"), (vec![false; 3], 0), "{rule}");
    }
}

/// Calls the tool `pay` twice in a run; the codes of what was denied.
pub fn pays(rule: &str, mode: &str, params: Value) -> (Vec<String>, Vec<String>) {
    let world = World::seeded(14);
    world.run(async {
        let control = world.open().await;
        let rails = rail(&format!("at: tool_call, {rule}"), mode);
        publish(
            &control,
            &format!("{{ {rails}, tools: {{ pay: {{ price_usd: '0.10' }} }} }}"),
        )
        .await;
        let it = agent(move |ctx, _| {
            let params = params.clone();
            async move {
                for _ in 0..2 {
                    let tool = || async { Ok(json!("paid")) };
                    let _ = ctx.tool_call("pay", RiskTier::Write, &params, tool).await;
                }
                Ok(json!("done").into())
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, json!("done"));
        let codes = |kind: &str, events: &[Record]| -> Vec<String> {
            let same = events.iter().filter(|event| &*event.kind == kind);
            let facts = same.map(|event| serde_json::from_str::<Value>(&event.facts).unwrap());
            facts
                .map(|facts| facts["code"].as_str().unwrap().to_owned())
                .collect()
        };
        let events = events(&control, &run).await;
        (
            codes("tool_call.denied", &events),
            codes("guardrail.judged", &events),
        )
    })
}

#[test]
fn rules_about_tools_deny_the_call_and_nothing_else() {
    let (twice, once) = (2, 1);
    let amount = |amount: i64| json!({ "amount": amount });
    for (rule, kind, params, times) in [
        ("tools: { deny: [pay] }", "tools", amount(1), twice),
        ("tools: { allow: [look] }", "tools", amount(1), twice),
        (
            "schema: { type: object, required: [to] }",
            "schema",
            amount(1),
            twice,
        ),
        (
            "predicate: 'params.amount <= 100'",
            "predicate",
            amount(101),
            twice,
        ),
        ("max_uses_per_run: 1", "max_uses_per_run", amount(1), once),
        ("max_price: { usd: '0.05' }", "max_price", amount(1), twice),
        ("max_bytes: 5", "max_bytes", amount(1), twice),
        ("agents: { deny: [it] }", "agents", amount(1), twice),
        // A rule that has no answer errs, and a rule that errs denies.
        (
            "predicate: 'params.limit <= 100'",
            "rule_error",
            amount(1),
            twice,
        ),
    ] {
        let judged = vec![kind.to_owned(); times];
        let denied = vec!["r".to_owned(); times];
        assert_eq!(
            pays(rule, "enforce", params.clone()),
            (denied, judged.clone()),
            "{rule}"
        );
        assert_eq!(
            pays(rule, "observe", params),
            (Vec::new(), judged),
            "{rule}"
        );
    }
}

#[test]
fn what_holds_for_the_parameters_goes_out() {
    let rule = "for: { tools: [pay] }, predicate: 'params.amount <= 100'";
    let none = || (Vec::new(), Vec::new());
    assert_eq!(pays(rule, "enforce", json!({ "amount": 100 })), none());
    let rule = "for: { tools: [other] }, predicate: 'params.amount <= 100'";
    assert_eq!(pays(rule, "enforce", json!({ "amount": 101 })), none());
}

#[test]
fn a_stream_that_breaks_a_rule_is_to_be_cut_and_told_of_once() {
    for (rule, tokens, text) in [
        ("max_output_tokens: 5", 6, None),
        ("max_cost_per_call: { usd: '0.005' }", 6, None),
        ("forbidden: [boom]", 1, Some("boom")),
        ("max_duration: 1s", 1, None),
    ] {
        for (mode, cut) in [("enforce", true), ("observe", false)] {
            let world = World::seeded(15);
            world.run(async {
                let control = world.open().await;
                publish(&control, &rail(&format!("at: in_flight, {rule}"), mode)).await;
                let session = guard(&control).await;
                let Admission::Allowed(permit) = session.reserve(&request("p", 9)).await.unwrap()
                else {
                    panic!("denied");
                };
                permit.progress(0, None).await.unwrap();
                world.pass(secs(2)).await;
                let told = [
                    permit.progress(tokens, text).await,
                    permit.progress(tokens, text).await,
                ];
                assert_eq!(told.map(|one| one.is_err()), [cut, cut], "{rule}");
                permit.settle(&answer("ok", 1)).await.unwrap();
                let run = control.run(session.id());
                assert_eq!(count(&control, &run, "guardrail.judged").await, 1, "{rule}");
            });
        }
    }
}

/// Whether an answer is given to the host, and what was spent for it.
pub fn answered(rule: &str, mode: &str, answer: &ModelAnswer) -> (bool, NanoUsd) {
    let world = World::seeded(16);
    world.run(async {
        let control = world.open().await;
        publish(&control, &rail(rule, mode)).await;
        let session = guard(&control).await;
        let Admission::Allowed(permit) = session.reserve(&request("p", 4)).await.unwrap() else {
            panic!("denied");
        };
        let given = permit.settle(answer).await.is_ok();
        let run = control.run(session.id());
        session.close().await.unwrap();
        (given, run.state().await.unwrap().spent().money)
    })
}

#[test]
fn an_answer_that_breaks_a_rule_is_paid_for_and_withheld() {
    let ok = answer("boom", 2);
    let dear = answer("ok", 9);
    let served = ModelAnswer {
        model: Some("test/other".parse().unwrap()),
        ..answer("ok", 2)
    };
    for (rule, answer) in [
        ("at: after, forbidden: [boom]", &ok),
        ("at: after, max_bytes: 3", &ok),
        ("at: after, usage: within_hold", &dear),
        ("at: model_call, models: { allow: [test/m] }", &served),
    ] {
        let (given, spent) = answered(rule, "enforce", answer);
        assert!(!given && spent >= mills(2), "{rule}: {spent}");
        assert_eq!(answered(rule, "observe", answer), (true, spent), "{rule}");
    }
}

#[test]
fn an_agent_that_may_act_no_more_gets_no_new_step() {
    let world = World::seeded(17);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            ctx.sleep(secs(9)).await;
            Ok(json!("it").into())
        });
        register(&control, "it", it).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: late, needs: [a] } } }";
        let late = agent(|_, _| async { Ok(json!("late").into()) });
        register(&control, "late", late).await;
        publish(
            &control,
            &rail("at: admission, agents: { deny: [other] }", "enforce"),
        )
        .await;
        let run = begin(&control, yaml, json!({})).await;
        publish(
            &control,
            &rail("at: admission, agents: { deny: [late] }", "enforce"),
        )
        .await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].2, "r");
    });
}
