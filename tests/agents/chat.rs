//! Chat agents against a model server: what is asked, what is paid, and what a fault does.

use std::ffi::OsString;

use crate::common::*;

/// One attempt of the agent `a`.
const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";
/// The formats.
const APIS: [&str; 3] = ["openai_chat", "openai_responses", "anthropic"];
/// What an attempt can cost at most: the model's largest input, and the output limit.
const HELD: i64 = 1_000 + 100;

fn serve(answer: impl Into<Answer>) -> ModelServer {
    ModelServer::start(Script::always(answer)).unwrap()
}

fn agents(server: &ModelServer, api: &str, more: &str) -> String {
    let url = server.url("/v1");
    format!(
        "agents: {{ a: {{ kind: chat, api: {api}, base_url: \"{url}\", model: test/m,
           max_output_tokens: 100 {more} }} }}"
    )
}

async fn world(server: &ModelServer, api: &str, more: &str) -> World {
    World::with(&agents(server, api, more)).await
}

/// Usage in every class that a format can say.
fn usage() -> Usage {
    Usage {
        input_cache_read: 30,
        output_reasoning: 7,
        ..Usage::text(12, 5)
    }
}

fn completion() -> Completion {
    Completion {
        reasoning: Some("hm".to_owned()),
        ..Completion::text("hello", usage())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_it_used_is_what_is_settled() {
    for api in APIS {
        for stream in ["true", "false"] {
            let server = serve(completion());
            let world = world(&server, api, &format!(", stream: {stream}")).await;
            let run = world.start(ONCE, json!("hi")).await;
            assert_eq!(
                output(&run.outcome().await.unwrap()),
                &json!({"text": "hello"})
            );
            let settled = world.facts(&run, "model_call.settled").await;
            let settled: Usage = serde_json::from_value(settled[0]["usage"].clone()).unwrap();
            // Anthropic does not say how much of the output was thought.
            let expected = match api {
                "anthropic" => Usage {
                    output_reasoning: 0,
                    output_text: 12,
                    ..usage()
                },
                _ => usage(),
            };
            assert_eq!(settled, expected, "{api} {stream}");
            assert_eq!(world.money(), (mills(12 + 3 + 12), NanoUsd::ZERO));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_asked_in_the_words_of_its_format() {
    for (api, path, limit, system) in [
        (
            "openai_chat",
            "/v1/chat/completions",
            "/max_completion_tokens",
            "/messages/0/content",
        ),
        (
            "openai_responses",
            "/v1/responses",
            "/max_output_tokens",
            "/instructions",
        ),
        ("anthropic", "/v1/messages", "/max_tokens", "/system"),
    ] {
        let server = serve(completion());
        let world = world(&server, api, ", system: \"be brief\"").await;
        world.run(ONCE, json!({"prompt": "hi"})).await;
        let received = server.received();
        let asked = &received[0];
        assert_eq!(
            (asked.path.as_str(), &asked.body["model"]),
            (path, &json!("m"))
        );
        assert_eq!(asked.body.pointer(limit), Some(&json!(100)), "{api}");
        assert_eq!(
            asked.body.pointer(system),
            Some(&json!("be brief")),
            "{api}"
        );
        assert!(asked.body.to_string().contains("\"hi\""), "{}", asked.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_no_text_is_asked_as_json() {
    let server = serve(completion());
    let world = world(&server, "openai_chat", ", limit_field: max_tokens").await;
    world.run(ONCE, json!({"topic": "redb", "n": 2})).await;
    let body = &server.received()[0].body;
    assert_eq!(body["messages"][0]["content"], r#"{"n":2,"topic":"redb"}"#);
    assert_eq!(
        (&body["max_tokens"], &body["max_completion_tokens"]),
        (&json!(100), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_denied_reaches_the_server_never() {
    let server = serve(completion());
    let world = world(&server, "openai_chat", "").await;
    world.limit(1_000).await;
    let outcome = world.run(ONCE, json!("hi")).await;
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    assert_eq!(server.counts().received, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_sends_again_what_was_refused_and_it_is_one_attempt() {
    for refusal in [
        Answer::too_many("0.01"),
        Answer::status(529),
        Answer::status(503),
    ] {
        let server = ModelServer::start(Script::always(completion()).then(refusal)).unwrap();
        let world = world(&server, "anthropic", "").await;
        let run = world.start(ONCE, json!("hi")).await;
        output(&run.outcome().await.unwrap());
        assert_eq!(world.facts(&run, "model_call.throttled").await.len(), 1);
        assert_eq!(server.counts().received, 2);
        assert_eq!(world.money(), (mills(27), NanoUsd::ZERO));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_keeps_money_where_it_may_have_been_billed_and_only_there() {
    let cut = Completion {
        fault: Fault::CutAfter(2),
        ..completion()
    };
    let broken = Completion {
        fault: Fault::ErrorAfter(2),
        ..completion()
    };
    for (answer, doubt, code) in [
        (Answer::status(400), 0, "provider_failed"),
        (Answer::status(500), HELD, "provider_failed"),
        (cut.into(), HELD, "provider_failed"),
        (broken.into(), HELD, "provider_failed"),
    ] {
        let server = serve(answer);
        let world = world(&server, "openai_chat", "").await;
        let (failed, message) = failure(world.run(ONCE, json!("hi")).await);
        assert_eq!(failed, code, "{message}");
        assert_eq!(world.money(), (NanoUsd::ZERO, mills(doubt)), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_costs_nothing() {
    let server = serve(completion());
    let agents = agents(&server, "openai_chat", "");
    drop(server);
    let world = World::with(&agents).await;
    failure(world.run(ONCE, json!("hi")).await);
    assert_eq!(world.money(), (NanoUsd::ZERO, NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_is_in_doubt() {
    let server = serve(Completion {
        fault: Fault::StallAfter(1),
        ..completion()
    });
    let world = world(&server, "openai_responses", ", timeout: 100ms").await;
    let (code, _) = failure(world.run(ONCE, json!("hi")).await);
    assert_eq!(code, "timeout");
    assert_eq!(world.money(), (NanoUsd::ZERO, mills(HELD)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_cuts_the_stream_in_the_middle_and_pays_for_all_of_it() {
    for api in APIS {
        let server = serve(Completion {
            fault: Fault::StallAfter(2),
            ..completion()
        });
        let world = world(&server, api, "").await;
        let run = world.start(ONCE, json!("hi")).await;
        server.until(|counts| counts.pieces == 2).await;
        run.abort(("ann", "as tested")).await.unwrap();
        server.until(|counts| counts.hung_up == 1).await;
        world
            .control
            .shutdown(std::time::Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(world.money(), (mills(HELD), NanoUsd::ZERO), "{api}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_usage_all_that_was_held_is_spent() {
    let silent = Completion {
        usage_in: UsageIn::Nowhere,
        ..completion()
    };
    for api in APIS {
        let server = serve(silent.clone());
        let world = world(&server, api, "").await;
        output(&world.run(ONCE, json!("hi")).await);
        assert_eq!(world.money(), (mills(HELD), NanoUsd::ZERO), "{api}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_in_a_chunk_that_is_not_empty_is_read() {
    let server = serve(Completion {
        usage_in: UsageIn::LastPiece,
        ..completion()
    });
    let world = world(&server, "openai_chat", "").await;
    output(&world.run(ONCE, json!("hi")).await);
    assert_eq!(world.money(), (mills(27), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_model_stopped_decides_what_the_step_gives() {
    for api in APIS {
        let stopped = |stop| {
            serve(Completion {
                stop,
                ..completion()
            })
        };
        let server = stopped(Stop::Length);
        let world_of = world(&server, api, "").await;
        let outcome = world_of.run(ONCE, json!("hi")).await;
        assert_eq!(
            output(&outcome),
            &json!({"text": "hello", "truncated": true}),
            "{api}"
        );
        for (stop, expected) in [(Stop::Refusal, "refused"), (Stop::ToolCall, "tool_call")] {
            let server = stopped(stop);
            let world = world(&server, api, "").await;
            let (code, _) = failure(world.run("agent: a", json!("hi")).await);
            assert_eq!(
                (code.as_str(), server.counts().received),
                (expected, 1),
                "{api}"
            );
            assert_eq!(world.money(), (mills(27), NanoUsd::ZERO));
        }
    }
}

fn with_key(name: &str) -> Option<OsString> {
    (name == "MODEL_KEY").then(|| "sk-very-secret".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_goes_to_the_server_and_nowhere_else() {
    let echo = json!({"error": {"message": "no such key: sk-very-secret"}});
    for (api, header) in [("openai_chat", "authorization"), ("anthropic", "x-api-key")] {
        let server = serve(Answer::json(401, echo.clone()));
        let text = agents(&server, api, ", key_env: MODEL_KEY");
        let place = Place::of(".").with_environment(with_key);
        let world = World::at(&text, &place).await;
        let (_, message) = failure(world.run(ONCE, json!("hi")).await);
        assert!(server.received()[0].headers[header].contains("sk-very-secret"));
        assert!(message.contains("no such key: ***"), "{message}");
        let specs = file::read(text.as_bytes(), &place).unwrap();
        assert!(!format!("{specs:?}").contains("sk-very"), "{specs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_tried_again_does_not_pay_again() {
    let server = serve(Completion::text("no object", usage()));
    let world = world(&server, "openai_chat", "").await;
    let step = "agent: a, output_schema: { type: object, required: [x] },
        retry: { maximum_attempts: 3, initial_interval: 1ms }";
    failure(world.run(step, json!("hi")).await);
    assert_eq!(server.counts().received, 1);
    assert_eq!(world.money(), (mills(12 + 3 + 12), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_under_a_status_of_success_is_no_answer() {
    let error = json!({"error": {"type": "server_error", "message": "out of luck"}});
    for api in APIS {
        for stream in ["true", "false"] {
            let server = serve(Answer::json(200, error.clone()));
            let world = world(&server, api, &format!(", stream: {stream}")).await;
            failure(world.run(ONCE, json!("hi")).await);
            assert_eq!(
                world.money(),
                (NanoUsd::ZERO, mills(HELD)),
                "{api} {stream}"
            );
        }
    }
}
