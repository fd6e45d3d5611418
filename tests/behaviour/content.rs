//! Content: what hosts and agents hand in is kept whole, or refused by the limit that it passes.

use std::sync::OnceLock;

use crate::common::*;
use mc_testkit::CrashBackend;
use mission_control::core::event::PartRef;
use mission_control::store::RedbLog;

const ONCE: &str = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 1 } } } }";

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| Value::Array(vec![inner]))
}

fn large() -> Value {
    json!("x".repeat(64 * 1024 * 1024 + 1))
}

async fn outcome_of(world: &World, it: Agent) -> (MissionControl, RunHandle, Outcome) {
    let control = open_for(world, "it", it).await;
    let run = begin(&control, ONCE, json!({})).await;
    let outcome = run.outcome().await.unwrap();
    (control, run, outcome)
}

#[test]
fn what_a_host_hands_in_is_refused_before_anything_is_stored() {
    let world = World::seeded(1);
    world.run(async {
        let control = open_for(&world, "it", echo()).await;
        let run = begin(&control, ONCE, json!({})).await;
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

/// Nesting whose recursive drop, clone or writing would end the process.
const WITHOUT_END: usize = 200_000;

/// A deep value that its owner lends out, and that does not end the process when it goes.
struct Lent(Value);

impl Drop for Lent {
    fn drop(&mut self) {
        let mut open = vec![self.0.take()];
        while let Some(value) = open.pop() {
            if let Value::Array(items) = value {
                open.extend(items);
            }
        }
    }
}

#[test]
fn nesting_without_end_is_refused_wherever_an_agent_hands_it_over() {
    let world = World::seeded(6);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let deep = || nested(WITHOUT_END);
            let refused = |text: String| assert!(text.contains("nested deeper than 64"), "{text}");
            let once = ctx.once("o", || async { deep() }).await;
            refused(once.unwrap_err().to_string());
            let decision = ctx.decision(json!(1), deep(), deep()).await;
            refused(decision.unwrap_err().to_string());
            let one = json!(1);
            let read = mission_control::RiskTier::Read;
            let tool = ctx.tool_call("t", read, &one, || async { Ok(deep()) });
            refused(tool.await.unwrap_err().to_string());
            let lent = Lent(deep());
            let tool = ctx.tool_call("t", read, &lent.0, || async { Ok(json!(1)) });
            refused(tool.await.unwrap_err().to_string());
            for (output, reasoning) in [(deep(), None), (json!(1), Some(deep()))] {
                let answer = ModelAnswer {
                    output,
                    reasoning,
                    ..answer("", 7)
                };
                let slot = std::sync::Mutex::new(Some(answer));
                let send = |_| std::future::ready(Ok(slot.lock().unwrap().take().unwrap()));
                let call = ctx.model_call(&request("p", 10), send).await;
                refused(format!("{:?}", call.unwrap_err()));
            }
            Ok(deep().into())
        });
        let (_, run, outcome) = outcome_of(&world, it).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        assert_eq!(run.state().await.unwrap().spent().money, mills(14));
    });
}

#[test]
fn a_request_without_end_is_refused_also_where_it_is_reported() {
    let world = World::seeded(7);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let mut asked = request("p", 10);
            let mut lent = Lent(nested(WITHOUT_END));
            asked.parameters = lent.0.take();
            let call = ctx.model_call(&asked, |_| async { Ok(answer("", 1)) });
            assert!(format!("{:?}", call.await.unwrap_err()).contains("deeper than 64"));
            let report = ctx.report(&asked, &answer("", 1)).await;
            assert!(report.unwrap_err().to_string().contains("deeper than 64"));
            lent.0 = asked.parameters.take();
            let mut thought = answer("", 1);
            thought.reasoning = Some(nested(WITHOUT_END));
            let report = ctx.report(&request("p", 10), &thought).await;
            assert!(report.unwrap_err().to_string().contains("deeper than 64"));
            lent.0 = Value::Array(vec![lent.0.take(), thought.reasoning.take().unwrap()]);
            Ok(json!("went on").into())
        });
        let (_, _, outcome) = outcome_of(&world, it).await;
        assert_eq!(output(&outcome), json!("went on"));
    });
}

#[test]
fn a_definition_without_end_is_refused_with_its_place() {
    let step = || mission_control::core::workflow::StepSpec::agent("a", "it");
    let deep = step().input(nested(WITHOUT_END));
    let deep = deep
        .output_schema(nested(WITHOUT_END))
        .input(nested(WITHOUT_END));
    let refused = Workflow::builder("w")
        .input_schema(nested(WITHOUT_END))
        .step(deep)
        .step(step().input(nested(WITHOUT_END)))
        .build();
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidWorkflow);
    let problems = format!("{:?}", refused.detail());
    assert!(problems.contains("nested deeper than 64"), "{problems}");
    assert!(problems.contains("/steps/a/input/0/0"), "{problems}");
}

const MEGABYTE: usize = 1_000_000;

/// Ten megabytes of text that no compression makes small.
fn noise() -> &'static str {
    static NOISE: OnceLock<String> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut state = 1_u64;
        let mut letter = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Letters that JSON writes as they are, but for one.
            char::from(b']' - u8::try_from(state >> 58).unwrap().min(b']' - b'#'))
        };
        let text: String = (0..10 * MEGABYTE).map(|_| letter()).collect();
        text.replace('\\', "a")
    })
}

/// So many megabytes of text.
fn megabytes(count: usize) -> String {
    let whole = noise().repeat(count / 10);
    whole + &noise()[..count % 10 * MEGABYTE]
}

/// Gives as many megabytes as its input says, or tells how long the text is that it got.
fn large_and_small() -> Agent {
    agent(|_, input| async move {
        Ok(match input["megabytes"].as_u64() {
            Some(count) => json!(megabytes(usize::try_from(count).unwrap())).into(),
            None => json!(input.as_str().map(str::len)).into(),
        })
    })
}

const HANDS_ON: &str = "
workflow: w
steps:
  a: { agent: it, retry: { maximum_attempts: 1 } }
  b: { agent: it, needs: [a], input: \"${{ steps.a.output }}\" }
";

/// A world whose store is a file in memory.
fn on_a_disk() -> (World, CrashBackend) {
    let disk = CrashBackend::new();
    let log = Arc::new(RedbLog::inline(disk.clone()).unwrap());
    let start = START;
    (World(Scenario::new(5, start, log)), disk)
}

#[test]
fn an_output_of_ten_megabytes_is_kept_once_handed_on_and_there_after_a_restart() {
    let (world, disk) = on_a_disk();
    let id = world.run(async {
        let control = open_for(&world, "it", large_and_small()).await;
        let run = begin(&control, HANDS_ON, json!({"megabytes": 10})).await;
        assert_eq!(output_of(&run).await, json!(10 * MEGABYTE));
        run.id()
    });
    world.crash();
    assert!(disk.image().len() < 15 * MEGABYTE, "it is there twice");
    world.run(async {
        let control = world.open().await;
        let events = events(&control, &control.run(id)).await;
        let completed = events.iter().find(|event| &*event.kind == "step.completed");
        let (seq, part) = (completed.unwrap().seq, 0);
        let output = control
            .log()
            .read_part(PartRef { seq, part })
            .await
            .unwrap();
        assert!(*output == *serde_json::to_vec(&megabytes(10)).unwrap());
    });
}

#[test]
fn an_output_of_a_hundred_megabytes_is_refused_by_its_limit_and_other_runs_go_on() {
    let (world, disk) = on_a_disk();
    world.run(async {
        let control = open_for(&world, "it", large_and_small()).await;
        let large = begin(&control, HANDS_ON, json!({"megabytes": 100})).await;
        let input = json!({"megabytes": 1});
        let small = start(&control, input).await;
        let Outcome::Failed { code, message, .. } = large.outcome().await.unwrap() else {
            panic!("it was kept");
        };
        assert_eq!(code, "invalid_output");
        assert!(
            message.contains("output") && message.contains("64 MiB"),
            "{message}"
        );
        assert_eq!(output(&small.outcome().await.unwrap()), json!(MEGABYTE));
    });
    // Only what the other run gave is in the store.
    assert!(disk.image().len() < 2 * MEGABYTE);
}
