//! Agents somewhere else: what they are asked, how they answer at once or later, what they pay.

use crate::common::*;
use mission_control::Position;
use mission_control::core::budget::{OnReach, Threshold};

/// One attempt of the agent `a`.
const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";
/// What an attempt may use; it is held before anything is sent.
const BOUND: &str = ", models: [ { model: test/m, input_tokens: 40, max_output_tokens: 10 } ]";
/// What that costs at most.
const HELD: i64 = 50;

fn serve(answer: impl Into<Answer>) -> ModelServer {
    ModelServer::start(Script::always(answer)).unwrap()
}

fn agent_at(url: &str, more: &str) -> String {
    format!("agents: {{ a: {{ kind: http, url: \"{url}\" {more} }} }}")
}

async fn world_at(url: &str, more: &str) -> World {
    World::with(&agent_at(url, more)).await
}

async fn world(server: &ModelServer, more: &str) -> World {
    world_at(&server.url("/agents/a"), more).await
}

fn used(input: u64, output: u64) -> Value {
    json!([{"model": "test/m", "usage": {"input_uncached": input, "output_text": output}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_asked_with_its_effect_key_and_settled_by_its_report() {
    let reply = json!({"output": {"a": 1}, "usage": used(30, 5)});
    let server = serve(Answer::json(200, reply));
    let world = world(&server, BOUND).await;
    assert_eq!(
        output(&world.run(ONCE, json!({"q": "?"})).await),
        &json!({"a": 1})
    );
    let received = server.received();
    let asked = &received[0];
    assert_eq!(
        (asked.path.as_str(), &asked.body["input"]),
        ("/agents/a", &json!({"q": "?"}))
    );
    assert_eq!(asked.body["effect_key"], asked.headers["idempotency-key"]);
    assert_eq!(asked.body["models"][0]["max_output_tokens"], 10);
    assert_eq!(world.money(), (mills(35), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_does_not_fit_the_budget_is_not_asked() {
    let server = serve(Answer::json(200, json!({"output": 1})));
    let world = world(&server, BOUND).await;
    world.limit(HELD - 1).await;
    let outcome = world.run(ONCE, json!({})).await;
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    assert_eq!(server.counts().received, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_has_the_same_effect_key() {
    let good = Answer::json(200, json!({"output": 1, "usage": []}));
    let script = Script::always(good)
        .then(Answer::too_many("0.01"))
        .then(Answer::status(503));
    let server = ModelServer::start(script).unwrap();
    let world = world(&server, BOUND).await;
    let retry = "agent: a, retry: { maximum_attempts: 3, initial_interval: 1ms }";
    output(&world.run(retry, json!({})).await);
    let keys = server
        .received()
        .into_iter()
        .map(|one| one.headers["idempotency-key"].clone());
    let keys: std::collections::BTreeSet<String> = keys.collect();
    assert_eq!((keys.len(), server.counts().received), (1, 3));
    assert_eq!(world.money(), (NanoUsd::ZERO, NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_keeps_money_where_it_may_have_been_spent_and_only_there() {
    let error =
        |rest: &Value| json!({"error": {"code": "no_luck", "retryable": false}, "usage": rest});
    let mut silent = error(&json!([]));
    silent.as_object_mut().unwrap().remove("usage");
    for (answer, code, spent, doubt) in [
        (Answer::status(404), "provider_failed", 0, 0),
        (Answer::status(500), "provider_failed", 0, HELD),
        (Answer::json(422, silent.clone()), "no_luck", 0, 0),
        (Answer::json(500, error(&used(1, 2))), "no_luck", 3, 0),
        (Answer::json(200, error(&used(1, 2))), "no_luck", 3, 0),
        (Answer::json(200, silent), "no_luck", 0, HELD),
        (
            Answer::json(200, json!({"out": 1})),
            "invalid_output",
            0,
            HELD,
        ),
        (
            Answer::json(500, json!({"output": 1, "usage": []})),
            "provider_failed",
            0,
            HELD,
        ),
    ] {
        let server = serve(answer.clone());
        let world = world(&server, BOUND).await;
        let (failed, message) = failure(world.run(ONCE, json!({})).await);
        assert_eq!(failed, code, "{answer:?}: {message}");
        assert_eq!(world.money(), (mills(spent), mills(doubt)), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_later_is_a_signal_and_settles_what_was_in_doubt() {
    let server = serve(Answer::json(202, json!({"status": "pending"})));
    let world = world(&server, BOUND).await;
    let run = world.start(ONCE, json!({})).await;
    let position = run.settled_or_blocked().await.unwrap();
    assert!(matches!(position, Position::Blocked { .. }), "{position:?}");
    assert_eq!(world.money(), (NanoUsd::ZERO, mills(HELD)));
    let name = server.received()[0].body["reply_signal"].clone();
    let reply = json!({"output": "late", "usage": used(20, 7)});
    run.signal("ann", name.as_str().unwrap(), reply)
        .await
        .unwrap();
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
    assert_eq!(world.money(), (mills(27), NanoUsd::ZERO));
    assert_eq!(server.counts().received, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_answer_without_a_report_leaves_the_doubt() {
    let server = serve(Answer::json(202, json!({"status": "pending"})));
    let world = world(&server, BOUND).await;
    let run = world.start(ONCE, json!({})).await;
    run.settled_or_blocked().await.unwrap();
    let name = server.received()[0].body["reply_signal"].clone();
    run.signal("ann", name.as_str().unwrap(), json!({"output": 1}))
        .await
        .unwrap();
    assert_eq!(output(&run.outcome().await.unwrap()), 1);
    assert_eq!(world.money(), (NanoUsd::ZERO, mills(HELD)));
}

/// A run whose agent answers later, and the name of the signal that it waits for.
async fn pending(world: &World, server: &ModelServer) -> (RunHandle, String) {
    let run = world.start(ONCE, json!({})).await;
    run.settled_or_blocked().await.unwrap();
    let name = server.received()[0].body["reply_signal"].clone();
    (run, name.as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_answer_used_is_settled_before_others_get_what_was_in_doubt() {
    let server = serve(Answer::json(202, json!({"status": "pending"})));
    let world = world(&server, BOUND).await;
    world.limit(HELD).await;
    let (run, name) = pending(&world, &server).await;
    let other = world.control.start("w", json!({}), StartOptions::by("ann"));
    let other = other.await.unwrap();
    other.settled_or_blocked().await.unwrap();
    let reply = json!({"output": "late", "usage": used(40, 10)});
    run.signal("ann", &name, reply).await.unwrap();
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
    let outcome = other.outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    assert_eq!(world.money(), (mills(HELD), NanoUsd::ZERO));
    assert_eq!(server.counts().received, 1);
    let late = world.facts(&run, "result.late").await;
    assert_eq!(late[0]["used"]["usage"]["output_text"], 10);
    assert_eq!(late[0]["actual"]["nano_usd"], HELD * 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_answer_is_written_down_whole_although_it_freezes_its_account() {
    let server = serve(Answer::json(202, json!({"status": "pending"})));
    let freezes = Threshold {
        percent: 90,
        then: OnReach::Freeze,
    };
    let settings = Settings {
        thresholds: vec![freezes],
        ..priced(PRICES)
    };
    let world = World::under(settings, &agent_at(&server.url("/agents/a"), BOUND)).await;
    world.limit(60).await;
    let (run, name) = pending(&world, &server).await;
    let mut entries = used(40, 15);
    entries.as_array_mut().unwrap().push(used(1, 2)[0].clone());
    let reply = json!({"output": "late", "usage": entries});
    run.signal("ann", &name, reply).await.unwrap();
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
    assert_eq!(world.money(), (mills(58), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_and_a_time_out_give_the_request_up() {
    let stalled = Completion {
        fault: Fault::StallAfter(1),
        ..Completion::default()
    };
    let server = serve(stalled);
    let url = server.url("/v1/messages");
    let world = world_at(&url, BOUND).await;
    let run = world.start(ONCE, json!({})).await;
    server.until(|counts| counts.pieces == 1).await;
    run.abort(("ann", "as tested")).await.unwrap();
    server.until(|counts| counts.hung_up == 1).await;
    assert_eq!(world.money(), (NanoUsd::ZERO, mills(HELD)));
    let world = world_at(&url, &format!("{BOUND}, timeout: 50ms")).await;
    let (code, _) = failure(world.run(ONCE, json!({})).await);
    assert_eq!(code, "timeout");
    assert_eq!(world.money(), (NanoUsd::ZERO, mills(HELD)));
}
