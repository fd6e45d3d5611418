//! Tools of chat agents: what a model is told, what a policy decides, and what is done only once.

use std::time::Duration;

use mission_control::{ApprovalFilter, ApprovalId, Policy};

use crate::common::*;

pub(crate) const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";
const APIS: [&str; 3] = ["openai_chat", "openai_responses", "anthropic"];

/// The tools of the agents here: shell scripts by name.
pub(crate) fn tool(name: &str, script: &str, more: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    format!("{name}: {{ description: \"does {name}\", program: [sh, -c, {script}] {more} }}")
}

/// A tool that writes its arguments to the file `done`, one line a call, and answers with them.
pub(crate) fn pay() -> String {
    let schema =
        "parameters: { type: object, required: [to], properties: { to: { type: string } } }";
    tool("pay", "tee -a done; echo >> done", &format!(", {schema}"))
}

pub(crate) async fn world(server: &ModelServer, api: &str, tools: &str) -> World {
    World::with(&agents(server, api, tools)).await
}

pub(crate) fn agents(server: &ModelServer, api: &str, tools: &str) -> String {
    let url = server.url("/v1");
    format!(
        "agents: {{ a: {{ kind: chat, api: {api}, base_url: \"{url}\", model: test/m,
           max_output_tokens: 100, {tools} }} }}"
    )
}

/// A model that wants these tools called, one after the other, and then says `done`.
pub(crate) fn model(wishes: impl IntoIterator<Item = Completion>) -> ModelServer {
    let script = Script::always(Answer::text("done", Usage::text(5, 5)));
    let script = wishes.into_iter().fold(script, Script::then);
    ModelServer::start(script).unwrap()
}

pub(crate) fn wants(tool: &str, arguments: &Value) -> Completion {
    Completion::calls(tool, arguments, Usage::text(10, 5))
}

pub(crate) async fn policy(world: &World, text: &str) {
    let policy = Policy::from_yaml(text).unwrap();
    world.control.publish_policy("ann", policy).await.unwrap();
}

/// What the model was told of its first wish, in the request with this number, and whether as an error.
pub(crate) fn told(server: &ModelServer, request: usize) -> (String, bool) {
    let asked = server.received()[request].clone();
    let body = &asked.body;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let plain = |text: String| {
        let failed = text.starts_with("{\"error\":");
        (text, failed)
    };
    if asked.path.ends_with("/completions") {
        let last = body["messages"].as_array().unwrap();
        let one = last.iter().find(|one| one["role"] == "tool").unwrap();
        assert_eq!(one["tool_call_id"], "call_1");
        plain(text(&one["content"]))
    } else if asked.path.ends_with("/responses") {
        let items = body["input"].as_array().unwrap();
        let one = items
            .iter()
            .find(|one| one["type"] == "function_call_output");
        assert_eq!(one.unwrap()["call_id"], "call_1");
        plain(text(&one.unwrap()["output"]))
    } else {
        let one = &body["messages"][2]["content"][0];
        assert_eq!(one["tool_use_id"], "call_1");
        (text(&one["content"]), one["is_error"] == true)
    }
}

pub(crate) fn done(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.dir.path().join("done"));
    text.unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_gets_what_its_tool_answered_and_goes_on_in_every_format() {
    for api in APIS {
        for stream in ["true", "false"] {
            let server = model([wants("pay", &json!({"to": "eve"}))]);
            let tools = format!("stream: {stream}, tools: {{ {} }}", pay());
            let world = world(&server, api, &tools).await;
            let run = world.start(ONCE, json!("hi")).await;
            let outcome = run.outcome().await.unwrap();
            assert_eq!(output(&outcome), &json!({"text": "done"}), "{api} {stream}");
            assert_eq!(told(&server, 1), (r#"{"to":"eve"}"#.to_owned(), false));
            assert_eq!(done(&world), [r#"{"to":"eve"}"#]);
            assert_eq!(world.facts(&run, "tool_call.completed").await.len(), 1);
            // Each turn is a call of its own.
            assert_eq!(world.facts(&run, "model_call.settled").await.len(), 2);
            assert_eq!(world.money(), (mills(15 + 10), NanoUsd::ZERO));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_and_the_whole_conversation_are_in_each_request() {
    for (api, schema, talk) in [
        ("openai_chat", "/tools/0/function/parameters", "messages"),
        ("openai_responses", "/tools/0/parameters", "input"),
        ("anthropic", "/tools/0/input_schema", "messages"),
    ] {
        let wish = |text: &str| wants("pay", &json!({ "to": text }));
        let server = model([wish("one"), wish("two")]);
        let world = world(&server, api, &format!("tools: {{ {} }}", pay())).await;
        output(&world.run(ONCE, json!("hi")).await);
        let received = server.received();
        assert_eq!(received.len(), 3);
        let mut before: Vec<Value> = Vec::new();
        for asked in received {
            let required = asked.body.pointer(schema).unwrap()["required"].clone();
            assert_eq!(required, json!(["to"]), "{api}");
            let all = asked.body[talk].as_array().unwrap().clone();
            assert!(
                all.starts_with(&before) && all.len() > before.len(),
                "{api}"
            );
            before = all;
        }
        assert_eq!(done(&world), [r#"{"to":"one"}"#, r#"{"to":"two"}"#]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_wishes_of_one_answer_are_done_in_their_order() {
    for api in APIS {
        for stream in ["true", "false"] {
            let both = wants("pay", &json!({"to": "one"}));
            let server = model([both.and_calls("call_2", "pay", r#"{"to":"two"}"#)]);
            let tools = format!("stream: {stream}, tools: {{ {} }}", pay());
            let world = world(&server, api, &tools).await;
            output(&world.run(ONCE, json!("hi")).await);
            assert_eq!(
                done(&world),
                [r#"{"to":"one"}"#, r#"{"to":"two"}"#],
                "{api}"
            );
            let asked = server.received()[1].body.to_string();
            let places = ["call_1", "call_2"].map(|id| asked.rfind(id).unwrap());
            assert!(places[0] < places[1], "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_called_is_told_to_the_model_and_starts_nothing() {
    for api in APIS {
        for (tool, arguments, says) in [
            ("nothing", r#"{"to":"eve"}"#, "there is no tool"),
            ("pay", "{", "no JSON object"),
            ("pay", "[1]", "no JSON object"),
            ("pay", r#"{"to":7}"#, "/to"),
            ("pay", "{}", "to"),
        ] {
            let wish = Completion::text("", Usage::text(1, 1)).and_calls("call_1", tool, arguments);
            let server = model([wish]);
            let world = world(&server, api, &format!("tools: {{ {} }}", pay())).await;
            let run = world.start(ONCE, json!("hi")).await;
            output(&run.outcome().await.unwrap());
            let (text, failed) = told(&server, 1);
            assert!(failed && text.contains(says), "{api}: {text}");
            assert!(world.facts(&run, "tool_call.dispatched").await.is_empty());
            assert!(done(&world).is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_is_an_error_for_the_model_and_is_not_started_again() {
    for (script, says) in [
        ("echo no such account >&2; exit 3", "no such account"),
        ("echo said on stdout; exit 1", "said on stdout"),
        ("yes", "more than 100 bytes"),
    ] {
        let fails = tool("pay", script, ", max_output_bytes: 100");
        let server = model([wants("pay", &json!({}))]);
        let world = world(&server, "anthropic", &format!("tools: {{ {fails} }}")).await;
        output(&world.run(ONCE, json!("hi")).await);
        let (text, failed) = told(&server, 1);
        assert!(failed && text.contains(says), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_program_that_is_no_json_is_a_text() {
    let plain = tool("pay", "echo hello there", "");
    let server = model([wants("pay", &json!({}))]);
    let world = world(&server, "openai_chat", &format!("tools: {{ {plain} }}")).await;
    output(&world.run(ONCE, json!("hi")).await);
    assert_eq!(told(&server, 1), ("hello there".to_owned(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_hangs_is_ended_with_its_children_and_the_model_is_told() {
    let hangs = tool(
        "pay",
        "sleep 60 & echo $! > child; wait",
        ", timeout: 100ms, grace: 100ms",
    );
    let server = model([wants("pay", &json!({}))]);
    let world = world(&server, "openai_chat", &format!("tools: {{ {hangs} }}")).await;
    output(&world.run(ONCE, json!("hi")).await);
    let (text, failed) = told(&server, 1);
    assert!(failed && text.contains("too long"), "{text}");
    assert_gone(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_program_with_its_children() {
    let hangs = tool("pay", "sleep 60 & echo $! > child; wait", ", grace: 100ms");
    let server = model([wants("pay", &json!({}))]);
    let world = world(&server, "openai_chat", &format!("tools: {{ {hangs} }}")).await;
    let run = world.start(ONCE, json!("hi")).await;
    until(|| child(&world).is_some()).await;
    run.abort(("ann", "as tested")).await.unwrap();
    let closed = world.control.shutdown(Duration::from_secs(10));
    closed.await.unwrap();
    assert_gone(&world);
    assert_eq!(server.counts().received, 1);
}

/// The process that a hanging tool has started.
fn child(world: &World) -> Option<i32> {
    let text = std::fs::read_to_string(world.dir.path().join("child")).ok()?;
    text.trim().parse().ok()
}

fn assert_gone(world: &World) {
    use rustix::process::{Pid, test_kill_process};
    let id = Pid::from_raw(child(world).unwrap()).unwrap();
    // Nobody may have taken note of its end: then it is there, and does nothing any more.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
    let ended = stat.map_or(true, |stat| stat.contains(") Z "));
    assert!(ended || test_kill_process(id).is_err(), "{id:?} is alive");
}

/// Returns once something is so; a test that waits for ever fails by its time.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_the_policy_or_the_step_denies_is_told_to_the_model() {
    let denies = "guardrails: [ { id: cap, at: tool_call, tools: { deny: [pay] } } ]";
    let schema = "tools: { pay: { risk: read, schema: { type: object, required: [why] } } }";
    for (rules, step, says) in [
        (denies, ONCE.to_owned(), "cap"),
        (schema, ONCE.to_owned(), "why"),
        (
            "tools: {}",
            format!("{ONCE}, tools: [look_up]"),
            "names no tool `pay`",
        ),
    ] {
        let server = model([wants("pay", &json!({"to": "eve"}))]);
        let world = world(&server, "anthropic", &format!("tools: {{ {} }}", pay())).await;
        policy(&world, rules).await;
        let run = world.start(&step, json!("hi")).await;
        output(&run.outcome().await.unwrap());
        let (text, failed) = told(&server, 1);
        assert!(failed && text.contains(says), "{text}");
        assert_eq!(world.facts(&run, "tool_call.denied").await.len(), 1);
        assert!(done(&world).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tools_that_the_step_names_are_offered() {
    let tools = format!("tools: {{ {}, {} }}", pay(), tool("look_up", "echo 7", ""));
    for (step, offered) in [
        (ONCE.to_owned(), vec!["look_up", "pay"]),
        (format!("{ONCE}, tools: [look_up]"), vec!["look_up"]),
    ] {
        let server = model([wants("look_up", &json!({}))]);
        let world = world(&server, "anthropic", &tools).await;
        output(&world.run(&step, json!("hi")).await);
        assert_eq!(told(&server, 1), ("7".to_owned(), false));
        let asked = server.received()[0].body["tools"].clone();
        let names = asked
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone());
        assert_eq!(names.collect::<Vec<_>>(), offered);
    }
}

pub(crate) const ASKS: &str = "tools: { pay: { risk: irreversible } }";

/// The request of a run that is blocked.
pub(crate) async fn asked(world: &World, run: &RunHandle) -> ApprovalId {
    let position = run.settled_or_blocked().await.unwrap();
    let Position::Blocked { steps, .. } = position else {
        panic!("{position:?}");
    };
    assert_eq!(steps[0].reason, BlockReason::Approval);
    let pending = world.control.approvals(ApprovalFilter::Pending);
    pending.await.unwrap()[0].id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_approved_goes_on_without_paying_again() {
    for api in APIS {
        let both = wants("pay", &json!({"to": "one"}));
        let both = both.and_calls("call_2", "pay", r#"{"to":"two"}"#);
        let server = model([both]);
        let world = world(&server, api, &format!("tools: {{ {} }}", pay())).await;
        policy(&world, ASKS).await;
        let run = world.start(ONCE, json!("hi")).await;
        for number in 0..2 {
            let id = asked(&world, &run).await;
            // Nothing is out, and nothing is held.
            assert_eq!(world.money(), (mills(15), NanoUsd::ZERO));
            until(|| run.progress().is_empty()).await;
            assert_eq!(done(&world).len(), number);
            world.control.approve(id, "bob", "yes").await.unwrap();
        }
        output(&run.outcome().await.unwrap());
        assert_eq!(done(&world), [r#"{"to":"one"}"#, r#"{"to":"two"}"#]);
        assert_eq!(server.counts().received, 2, "{api}");
        assert_eq!(world.money(), (mills(15 + 10), NanoUsd::ZERO));
        assert!(world.facts(&run, "journal.diverged").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_call_is_told_to_the_model_and_the_step_goes_on() {
    let server = model([wants("pay", &json!({"to": "eve"}))]);
    let world = world(
        &server,
        "openai_responses",
        &format!("tools: {{ {} }}", pay()),
    )
    .await;
    policy(&world, ASKS).await;
    let run = world.start(ONCE, json!("hi")).await;
    let id = asked(&world, &run).await;
    world.control.reject(id, "bob", "no").await.unwrap();
    output(&run.outcome().await.unwrap());
    let (text, failed) = told(&server, 1);
    assert!(failed && text.contains("pay"), "{text}");
    assert!(done(&world).is_empty());
    assert_eq!(server.counts().received, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_turns_of_an_attempt_are_counted_and_their_end_has_a_name() {
    let wish = wants("pay", &json!({"to": "eve"}));
    let server = ModelServer::start(Script::always(wish)).unwrap();
    let tools = format!("max_turns: 2, tools: {{ {} }}", pay());
    let world = world(&server, "openai_chat", &tools).await;
    let (code, message) = failure(world.run("agent: a", json!("hi")).await);
    assert_eq!(code, "max_turns", "{message}");
    assert_eq!((server.counts().received, done(&world).len()), (2, 1));
}

fn with_secret(name: &str) -> Option<std::ffi::OsString> {
    match name {
        "TOOL_KEY" => Some("tk-very-secret".into()),
        "PATH" => std::env::var_os("PATH"),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_gets_the_variables_that_are_named_and_their_values_show_nowhere() {
    for script in [
        "printf '%s' \"$TOOL_KEY\" | wc -c; echo $TOOL_KEY",
        "echo $TOOL_KEY >&2; exit 1",
    ] {
        let leaks = tool("pay", script, ", env: [TOOL_KEY]");
        let server = model([wants("pay", &json!({}))]);
        let text = agents(&server, "openai_chat", &format!("tools: {{ {leaks} }}"));
        let place = Place::of(".").with_environment(with_secret);
        let world = World::at(&text, &place).await;
        let run = world.start(ONCE, json!("hi")).await;
        output(&run.outcome().await.unwrap());
        let (text, _) = told(&server, 1);
        assert!(text.contains("***") && !text.contains("very"), "{text}");
        let records = world.control.log().read_run(run.id(), 0, 1_000).await;
        let log = format!("{:?}", records.unwrap());
        assert!(!log.contains("tk-very-secret"));
    }
}
