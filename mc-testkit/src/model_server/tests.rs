//! What the server answers, seen by the plainest client there is.

use std::io::{Read, Write};
use std::net::TcpStream;

use mc_core::usage::Usage;
use serde_json::{Value, json};

use super::{Answer, Completion, Fault, ModelServer, Script, Stop, UsageIn};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

fn usage() -> Usage {
    Usage {
        input_cache_read: 30,
        output_reasoning: 7,
        ..Usage::text(12, 5)
    }
}

fn serve(answer: impl Into<Answer>) -> ModelServer {
    ModelServer::start(Script::always(answer)).unwrap()
}

/// Sends a request and returns everything that came until the connection closed.
fn post(server: &ModelServer, path: &str, body: &Value) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// The lines of the body that are data.
fn data(answer: &str) -> Vec<Value> {
    let lines = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The body of an answer that is one JSON object.
fn whole(answer: &str) -> Value {
    let (from, to) = (answer.find("\r\n{"), answer.rfind('}'));
    // A body in chunks has their sizes between them.
    let body = &answer[from.unwrap()..=to.unwrap()];
    let lines = body.split("\r\n").filter(|line| line.len() > 4);
    serde_json::from_str(&lines.collect::<String>()).unwrap()
}

#[test]
fn each_format_says_its_usage_in_its_own_classes() {
    let server = serve(Completion::text("hello", usage()));
    let asked = json!({"model": "m"});
    let chat = &whole(&post(&server, CHAT, &asked))["usage"];
    assert_eq!(chat["prompt_tokens"], 42);
    assert_eq!(chat["prompt_tokens_details"]["cached_tokens"], 30);
    assert_eq!(chat["completion_tokens_details"]["reasoning_tokens"], 7);
    let response = &whole(&post(&server, RESPONSES, &asked))["usage"];
    assert_eq!(
        (&response["input_tokens"], &response["output_tokens"]),
        (&json!(42), &json!(12))
    );
    let message = &whole(&post(&server, MESSAGES, &asked))["usage"];
    assert_eq!(
        (
            &message["input_tokens"],
            &message["cache_read_input_tokens"]
        ),
        (&json!(12), &json!(30))
    );
}

#[test]
fn a_stream_of_chat_has_usage_in_a_chunk_of_its_own_only_if_asked() {
    let server = serve(Completion::text("hello", usage()));
    let plain = data(&post(&server, CHAT, &json!({"stream": true})));
    assert!(plain.iter().all(|chunk| chunk["usage"].is_null()));
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = data(&post(&server, CHAT, &asked));
    let last = chunks.last().unwrap();
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &json!(54))
    );
}

#[test]
fn usage_may_come_with_the_last_piece_or_not_at_all() {
    let with = |usage_in| Completion {
        usage_in,
        ..Completion::text("hello", usage())
    };
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = data(&post(&serve(with(UsageIn::LastPiece)), CHAT, &asked));
    let one = chunks
        .iter()
        .find(|chunk| chunk["usage"].is_object())
        .unwrap();
    assert_eq!(one["choices"][0]["delta"]["content"], "o");
    for path in [CHAT, RESPONSES, MESSAGES] {
        let answer = post(&serve(with(UsageIn::Nowhere)), path, &asked);
        assert!(!answer.contains("\"usage\""), "{answer}");
    }
}

#[test]
fn the_pieces_of_a_stream_make_the_text() {
    let server = serve(Completion {
        pieces: 3,
        reasoning: Some("hm".to_owned()),
        ..Completion::text("h\u{e9}llo w\u{f6}rld", usage())
    });
    for (path, at) in [
        (CHAT, "/choices/0/delta/content"),
        (RESPONSES, "/delta"),
        (MESSAGES, "/delta/text"),
    ] {
        let events = data(&post(&server, path, &json!({"stream": true})));
        let thought = |event: &&Value| !event["type"].as_str().unwrap_or("").contains("reasoning");
        let pieces = events
            .iter()
            .filter(thought)
            .filter_map(|one| one.pointer(at));
        let text: String = pieces.filter_map(Value::as_str).collect();
        assert_eq!(text, "h\u{e9}llo w\u{f6}rld", "{path}");
    }
}

#[test]
fn the_queue_is_answered_in_order_and_then_the_default() {
    let script = Script::always(Answer::text("rest", usage())).then(Answer::too_many("2"));
    let server = ModelServer::start(script).unwrap();
    server.push(Answer::status(503));
    let first = post(&server, CHAT, &json!({}));
    assert!(
        first.starts_with("HTTP/1.1 429") && first.contains("retry-after: 2"),
        "{first}"
    );
    assert!(post(&server, MESSAGES, &json!({})).starts_with("HTTP/1.1 503"));
    for _ in 0..2 {
        assert!(post(&server, CHAT, &json!({})).contains("rest"));
    }
    assert_eq!(server.counts().received, 4);
}

#[test]
fn requests_are_kept_as_they_came() {
    let server = serve(Answer::json(202, json!({"status": "pending"})));
    let answer = post(&server, "/any/path", &json!({"a": [1]}));
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let received = server.received();
    let one = &received[0];
    assert_eq!(
        (one.path.as_str(), &one.body["a"]),
        ("/any/path", &json!([1]))
    );
    assert_eq!(
        (one.method.as_str(), one.headers["host"].as_str()),
        ("POST", "x")
    );
}

#[test]
fn a_cut_stream_ends_in_the_middle() {
    for fault in [Fault::CutAfter(2), Fault::ErrorAfter(2)] {
        let server = serve(Completion {
            fault,
            ..Completion::text("abcdefgh", usage())
        });
        let answer = post(&server, CHAT, &json!({"stream": true}));
        assert_eq!(server.counts().pieces, 2);
        assert!(!answer.contains("[DONE]"), "{answer}");
        assert_eq!(
            answer.contains("overloaded_error"),
            fault == Fault::ErrorAfter(2)
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let server = serve(Completion {
        fault: Fault::StallAfter(1),
        ..Completion::text("abcdefgh", usage())
    });
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let asked = "POST /messages HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\n{\"stream\":true}";
    stream.write_all(asked.as_bytes()).unwrap();
    server.until(|counts| counts.pieces == 1).await;
    drop(stream);
    server.until(|counts| counts.hung_up == 1).await;
}

#[test]
fn why_a_model_stopped_is_said_in_each_format() {
    for (stop, words) in [
        (
            Stop::Length,
            ["\"length\"", "\"incomplete\"", "\"max_tokens\""],
        ),
        (
            Stop::Refusal,
            ["\"content_filter\"", "\"refusal\"", "\"refusal\""],
        ),
        (
            Stop::ToolCall,
            ["\"tool_calls\"", "\"function_call\"", "\"tool_use\""],
        ),
    ] {
        let server = serve(Completion {
            stop,
            ..Completion::default()
        });
        for (path, word) in [CHAT, RESPONSES, MESSAGES].into_iter().zip(words) {
            for stream in [true, false] {
                let answer = post(&server, path, &json!({"stream": stream}));
                assert!(answer.contains(word), "{path} {word}: {answer}");
            }
        }
    }
}

#[test]
fn a_script_is_plain_json() {
    let text = r#"{"answers":[{"completion":{"text":"hi","usage_in":"nowhere",
        "fault":{"cut_after":1},"usage":{"input_uncached":3}}},{"failure":{"status":429}},
        {"json":{"status":200,"body":[]}}],"default":{"failure":{"status":500}}}"#;
    let script: Script = serde_json::from_str(text).unwrap();
    assert_eq!(script.answers.len(), 3);
    let written = serde_json::to_string(&script).unwrap();
    assert_eq!(serde_json::from_str::<Script>(&written).unwrap(), script);
    assert!(serde_json::from_str::<Script>(r#"{"answer":[]}"#).is_err());
}

#[test]
fn a_server_that_is_dropped_answers_nobody() {
    let server = serve(Answer::status(500));
    let port = server.port();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
