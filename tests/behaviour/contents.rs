//! Rules about content, at every checkpoint where they can stand, and what a rule does that halts over
//! an answer.

use mission_control::RiskTier;

use crate::common::*;
use crate::guardrails::{answered, pays, publish, rail};

fn secret() -> String {
    format!("use sk-ant-{}", "aB3".repeat(10))
}

#[test]
fn parameters_with_a_secret_or_a_forbidden_text_do_not_go_out() {
    for (rule, kind, params) in [
        ("secrets: any", "secrets", json!({ "key": secret() })),
        (
            "secrets: [email]",
            "secrets",
            json!({ "to": ["ann@example.org"] }),
        ),
        (
            "forbidden: ['(?i)drop\\s+table']",
            "forbidden",
            json!({ "sql": "DROP table x" }),
        ),
        ("forbidden: [admin]", "forbidden", json!({ "admin": 1 })),
    ] {
        let judged = vec![kind.to_owned(); 2];
        let denied = vec!["r".to_owned(); 2];
        let seen = pays(rule, "enforce", params.clone());
        assert_eq!(seen, (denied, judged.clone()), "{rule}");
        let seen = pays(rule, "observe", params.clone());
        assert_eq!(seen, (Vec::new(), judged), "{rule}");
        let none = (Vec::new(), Vec::new());
        assert_eq!(pays(rule, "'off'", params), none, "{rule}");
        assert_eq!(pays(rule, "enforce", json!({ "to": "x" })), none, "{rule}");
    }
}

#[test]
fn an_answer_with_a_secret_is_withheld_also_in_its_reasoning() {
    let thought = ModelAnswer {
        reasoning: Some(json!({ "text": secret() })),
        ..answer("ok", 2)
    };
    for leaked in [answer(&secret(), 2), thought] {
        for (mode, given) in [("enforce", false), ("observe", true), ("'off'", true)] {
            let seen = answered("at: after, secrets: any", mode, &leaked);
            assert_eq!(seen, (given, mills(2)), "{mode}");
        }
    }
    let clean = answered("at: after, secrets: any", "enforce", &answer("ok", 2));
    assert_eq!(clean, (true, mills(2)));
}

/// Calls a tool that answers so: what blocks the step, if anything does, and how many verdicts there are.
fn told(rule: &str, mode: &str, result: Result<Value, String>) -> (Option<String>, usize) {
    let world = World::seeded(71);
    world.run(async {
        let control = world.open().await;
        publish(&control, &rail(&format!("at: after, {rule}"), mode)).await;
        let it = agent(move |ctx, _| {
            let result = result.clone();
            async move {
                let tool = || async { result };
                let _ = ctx
                    .tool_call("look", RiskTier::Read, &json!({}), tool)
                    .await;
                Ok(json!("done").into())
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        let code = match run.settled_or_blocked().await.unwrap() {
            Position::Ended(outcome) => {
                assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
                None
            }
            blocked @ Position::Blocked { .. } => Some(blocks(&blocked)[0].2.clone()),
        };
        (code, count(&control, &run, "guardrail.judged").await)
    })
}

#[test]
fn a_tools_answer_is_judged_by_its_content() {
    for rule in [
        "secrets: any",
        "forbidden: [boom]",
        "max_bytes: 12",
        "for: { tools: [look] }, forbidden: [boom]",
    ] {
        let bad = || Ok(json!({ "found": [format!("boom {}", secret())] }));
        assert_eq!(
            told(rule, "enforce", bad()),
            (Some("r".to_owned()), 1),
            "{rule}"
        );
        assert_eq!(told(rule, "observe", bad()), (None, 1), "{rule}");
        assert_eq!(told(rule, "'off'", bad()), (None, 0), "{rule}");
        assert_eq!(
            told(rule, "enforce", Ok(json!("fine"))),
            (None, 0),
            "{rule}"
        );
        assert_eq!(
            told(rule, "enforce", Err("boom".to_owned())),
            (None, 0),
            "{rule}"
        );
    }
    let elsewhere = "for: { tools: [other] }, forbidden: [boom]";
    assert_eq!(told(elsewhere, "enforce", Ok(json!("boom"))), (None, 0));
}

#[test]
fn an_answer_that_halts_cuts_what_is_out_in_its_step() {
    let world = World::seeded(72);
    world.run(async {
        let control = world.open().await;
        let rule = "at: after, verdict: halt, forbidden: [boom]";
        publish(&control, &rail(rule, "enforce")).await;
        let it = agent(|ctx, _| async move {
            let slow = call(&ctx, "slow", 4, 1);
            let asked = request("bad", 4);
            let bad = ctx.model_call(&asked, |_| async { Ok(answer("boom", 1)) });
            let _ = futures::join!(slow, bad);
            ctx.sleep(secs(60)).await;
            Ok(json!("done").into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let told = ("a".to_owned(), BlockReason::Guardrail, "r".to_owned());
        assert_eq!(blocks(&position), [told]);
        let judged = facts(&control, &run, "guardrail.judged").await;
        assert_eq!([&judged["at"], &judged["verdict"]], ["after", "halt"]);
        assert_eq!(count(&control, &run, "model_call.settled").await, 1);
        assert_eq!(count(&control, &run, "model_call.doubted").await, 1);
    });
}

#[test]
fn an_answer_that_halts_ends_its_session_and_is_paid_for() {
    for (mode, ends) in [("enforce", true), ("observe", false)] {
        let world = World::seeded(73);
        world.run(async {
            let control = world.open().await;
            let rule = "at: after, verdict: halt, forbidden: [boom]";
            publish(&control, &rail(rule, mode)).await;
            let session = guard(&control).await;
            let admission = session.reserve(&request("p", 4)).await.unwrap();
            let Admission::Allowed(permit) = admission else {
                panic!("{admission:?}");
            };
            let given = permit.settle(&answer("boom", 2)).await;
            assert_eq!(given.is_err(), ends, "{mode}");
            let run = control.run(session.id());
            session.close().await.unwrap();
            assert_eq!(
                count(&control, &run, "run.aborted").await,
                usize::from(ends)
            );
            assert_eq!(run.state().await.unwrap().spent().money, mills(2));
            let judged = facts(&control, &run, "guardrail.judged").await;
            assert_eq!(judged["verdict"], "halt");
        });
    }
}
