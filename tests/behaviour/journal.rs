//! The journal: what was answered before a crash is not asked again.

use crate::common::*;
use mission_control::RiskTier;

/// An agent whose every attempt makes a model call, a tool call and a value, then hangs until told.
fn journaled(sent: Notes, prompt: Notes) -> Agent {
    agent(move |ctx, _| {
        let (sent, prompt) = (sent.clone(), prompt.clone());
        async move {
            let asked = request(&prompt.all().join("+"), 10);
            let reply = ctx.model_call(&asked, |_| {
                sent.add("model");
                async { Ok(answer("ok", 5)) }
            });
            let said = reply.await?.output;
            let tool = || async {
                sent.add("tool");
                Ok(json!("sent"))
            };
            ctx.tool_call("send", RiskTier::Write, &json!({"to": "x"}), tool)
                .await?;
            let value = ctx
                .once("id", || async {
                    sent.add("once");
                    json!(42)
                })
                .await?;
            if ctx.attempt() == 1 {
                ctx.sleep(secs(1_000)).await;
            }
            Ok(json!([said, value]).into())
        }
    })
}

fn crashed_and_resumed(change: &str) -> (World, Notes, Value, Vec<String>, i64) {
    let world = World::seeded(1);
    let (sent, prompt) = (Notes::default(), Notes::default());
    prompt.add("p");
    let id = world.run(async {
        let control = world.open().await;
        let it = journaled(sent.clone(), prompt.clone());
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(10)).await;
        run.id()
    });
    world.crash();
    if !change.is_empty() {
        prompt.add(change);
    }
    let (value, kinds, spent) = world.run(async {
        let control = world.open().await;
        let it = journaled(sent.clone(), prompt.clone());
        register(&control, "it", it).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        let value = output_of(&run).await;
        let spent = run.state().await.unwrap().spent().money.as_nano() / 1_000_000;
        (value, kinds(&control, &run).await, spent)
    });
    (world, sent, value, kinds, spent)
}

#[test]
fn what_was_answered_before_a_crash_comes_from_the_log() {
    let (_, sent, value, _, spent) = crashed_and_resumed("");
    assert_eq!(value, json!(["ok", 42]));
    assert_eq!(sent.all(), ["model", "tool", "once"]);
    assert_eq!(spent, 5);
}

#[test]
fn another_request_in_the_same_place_is_written_down_and_runs_live() {
    let (_, sent, _, kinds, spent) = crashed_and_resumed("changed");
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "journal.diverged")
            .count(),
        1
    );
    assert_eq!(sent.len(), 6);
    assert_eq!(spent, 10);
}
