//! Content: what hosts and agents hand in is kept whole, or refused by the limit that it passes.

use crate::common::*;

const ONE: &str = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 1 } } } }";

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| Value::Array(vec![inner]))
}

fn large() -> Value {
    json!("x".repeat(64 * 1024 * 1024 + 1))
}

async fn outcome_of(world: &World, it: Agent) -> (MissionControl, RunHandle, Outcome) {
    let control = world.open().await;
    control.register_agent("it", it).await.unwrap();
    let run = begin(&control, ONE, json!({})).await;
    let outcome = run.outcome().await.unwrap();
    (control, run, outcome)
}

#[test]
fn what_a_host_hands_in_is_refused_before_anything_is_stored() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        control.register_agent("it", echo()).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        run.outcome().await.unwrap();
        let before = control.log().head().await.unwrap().next_seq;
        for (input, limit) in [(nested(65), "nested deeper than 64"), (large(), "64 MiB")] {
            let refused = control
                .start("w", input.clone(), StartOptions::by("ann"))
                .await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            assert!(refused.to_string().contains(limit), "{refused}");
            let refused = run.signal("ann", "go", input).await.unwrap_err();
            assert!(refused.to_string().contains(limit), "{refused}");
        }
        assert_eq!(control.log().head().await.unwrap().next_seq, before);
    });
}

#[test]
fn an_output_that_cannot_be_kept_fails_its_attempt_by_name() {
    for (value, limit) in [(nested(65), "nested deeper than 64"), (large(), "64 MiB")] {
        let world = World::seeded(2);
        world.run(async {
            let it = agent(move |_, _| {
                let value = value.clone();
                async move { Ok(value.into()) }
            });
            let (_, _, outcome) = outcome_of(&world, it).await;
            let Outcome::Failed { code, message, .. } = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(code, "invalid_output");
            assert!(message.contains(limit), "{message}");
        });
    }
}

#[test]
fn an_answer_that_cannot_be_kept_is_paid_for_and_given_to_nobody() {
    let world = World::seeded(3);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let deep = |_| async {
                Ok(ModelAnswer {
                    output: nested(65),
                    ..answer("", 7)
                })
            };
            let request = request("p", 10);
            let refused = ctx.model_call(&request, deep).await.unwrap_err();
            assert!(format!("{refused:?}").contains("nested deeper than 64"));
            Ok(json!("went on").into())
        });
        let (control, run, outcome) = outcome_of(&world, it).await;
        assert_eq!(output(&outcome), json!("went on"));
        let settled = facts(&control, &run, "model_call.settled").await;
        assert_eq!(settled["flags"], json!(["answer_refused"]));
        assert_eq!(run.state().await.unwrap().spent().money, mills(7));
    });
}

#[test]
fn whatever_an_agent_writes_down_is_held_against_the_same_limits() {
    let world = World::seeded(4);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let refused = |text: String| assert!(text.contains("nested deeper than 64"), "{text}");
            let once = ctx.once("o", || async { nested(65) }).await;
            refused(once.unwrap_err().to_string());
            let decision = ctx.decision(nested(65), json!(1), json!(2)).await;
            refused(decision.unwrap_err().to_string());
            let read = mission_control::RiskTier::Read;
            let deep = nested(65);
            let tool = ctx.tool_call("t", read, &deep, || async { Ok(json!(1)) });
            refused(tool.await.unwrap_err().to_string());
            let one = json!(1);
            let tool = ctx.tool_call("t", read, &one, || async { Ok(nested(65)) });
            refused(tool.await.unwrap_err().to_string());
            let mut request = request("p", 10);
            request.messages = vec![nested(65)];
            let call = ctx.model_call(&request, |_| async { Ok(answer("", 1)) });
            refused(format!("{:?}", call.await.unwrap_err()));
            Ok(json!("went on").into())
        });
        let (control, run, outcome) = outcome_of(&world, it).await;
        assert_eq!(output(&outcome), json!("went on"));
        assert_eq!(count(&control, &run, "tool_call.failed").await, 1);
        assert_eq!(count(&control, &run, "model_call.reserved").await, 0);
    });
}
