//! Command agents: what they get, what they may answer, what they pay, and how they are ended.

use crate::common::*;

/// One attempt of the agent `a`.
const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";

/// The agents file of one shell script, with more fields.
fn script(script: &str, more: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    format!("agents: {{ a: {{ kind: command, program: [sh, -c, {script}] {more} }} }}")
}

const BOUND: &str =
    ", models: [ { model: test/m, input_tokens: 40, max_output_tokens: 10, calls: 2 } ]";

/// A report of the usage of one call, as the shell prints it.
fn report(input: u64, output: u64) -> String {
    let usage = json!({"input_uncached": input, "output_text": output, "requests": 1});
    let reply = json!({"output": "done", "usage": [{"model": "test/m", "usage": usage}]});
    format!("cat > /dev/null; echo '{reply}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_its_attempt_as_json_and_gives_its_output() {
    let world = World::with(&script("printf '{\"output\":'; cat; echo '}'", BOUND)).await;
    let run = world.start(ONCE, json!({"a": 1})).await;
    let outcome = run.outcome().await.unwrap();
    let asked = output(&outcome);
    assert_eq!(asked["input"], json!({"a": 1}));
    assert_eq!(
        (&asked["agent"], &asked["step"]),
        (&json!("a"), &json!("s"))
    );
    assert_eq!(
        (&asked["attempt"], &asked["run"]),
        (&json!(1), &json!(run.id()))
    );
    assert_eq!(asked["effect_key"].as_str().unwrap().len(), 64);
    let admitted = json!([{"model": "test/m", "calls": 2, "max_output_tokens": 10}]);
    assert_eq!(asked["models"], admitted);
    assert_eq!(asked.get("time_left_ms"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_how_long_its_attempt_has_left() {
    let world = World::with(&script("printf '{\"output\":'; cat; echo '}'", "")).await;
    let limited = format!("{ONCE}, timeout: 1h");
    let outcome = world.run(&limited, json!({})).await;
    let asked = output(&outcome);
    let left = asked["time_left_ms"].as_u64().unwrap();
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_is_settled_and_the_rest_of_the_hold_goes_back() {
    let world = World::with(&script(&report(30, 5), BOUND)).await;
    world.limit(100).await;
    assert_eq!(output(&world.run(ONCE, json!({})).await), "done");
    assert_eq!(world.money(), (mills(35), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_fit_the_budget_is_not_started() {
    let world = World::with(&script("echo started > mark; echo '{\"output\":1}'", BOUND)).await;
    world.limit(99).await;
    let outcome = world.run(ONCE, json!({})).await;
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    assert!(!world.dir.path().join("mark").exists());
    assert_eq!(world.money(), (NanoUsd::ZERO, NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_report_the_hold_is_in_doubt() {
    for body in [
        "cat > /dev/null; echo '{\"output\":1}'",
        "exit 3",
        "echo nonsense",
    ] {
        let world = World::with(&script(body, BOUND)).await;
        world.run(ONCE, json!({})).await;
        assert_eq!(world.money(), (NanoUsd::ZERO, mills(100)), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_report_costs_nothing() {
    let world = World::with(&script("echo '{\"output\":1,\"usage\":[]}'", BOUND)).await;
    assert_eq!(output(&world.run(ONCE, json!({})).await), 1);
    assert_eq!(world.money(), (NanoUsd::ZERO, NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_held_is_recorded_in_full_even_over_the_budget() {
    let world = World::with(&script(&report(30, 5), "")).await;
    world.limit(20).await;
    world.run(ONCE, json!({})).await;
    assert_eq!(world.money(), (mills(35), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_pays_for_itself() {
    let usage = json!([{"model": "test/m", "usage": {"input_uncached": 10}}]);
    let bad = json!({"error": {"code": "flaky", "message": "again"}, "usage": usage});
    let good = json!({"output": "ok", "usage": usage});
    let body = format!(
        "cat > /dev/null; if [ -e tried ]; then echo '{good}'; else echo > tried; echo '{bad}'; fi"
    );
    for models in ["", BOUND] {
        let world = World::with(&script(&body, models)).await;
        let retry = "agent: a, retry: { maximum_attempts: 3, initial_interval: 1ms }";
        assert_eq!(output(&world.run(retry, json!({})).await), "ok");
        assert_eq!(world.money(), (mills(20), NanoUsd::ZERO), "{models}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_status_and_the_end_of_standard_error() {
    let world = World::with(&script("echo lost the map >&2; exit 3", "")).await;
    let (code, message) = failure(world.run(ONCE, json!({})).await);
    assert_eq!(code, "command_failed");
    assert!(
        message.contains('3') && message.contains("lost the map"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_no_attempt_mends_is_not_tried_again() {
    let reply = r#"{"error":{"code":"no_such_city","message":"Atlantis","retryable":false}}"#;
    let body = format!("echo x >> tries; echo '{reply}'");
    let world = World::with(&script(&body, "")).await;
    let (code, message) = failure(world.run("agent: a", json!({})).await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("no_such_city", "Atlantis")
    );
    let tries = std::fs::read_to_string(world.dir.path().join("tries")).unwrap();
    assert_eq!(tries.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_fails_the_attempt() {
    for body in ["echo '{}'", "echo '{\"output\":1}{\"output\":2}'", "true"] {
        let world = World::with(&script(body, "")).await;
        let (code, message) = failure(world.run(ONCE, json!({})).await);
        assert_eq!(code, "invalid_output", "{body}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_writes_without_end_is_ended() {
    let world = World::with(&script("yes", ", max_output_bytes: 1000")).await;
    let (code, message) = failure(world.run(ONCE, json!({})).await);
    assert_eq!(code, "invalid_output");
    assert!(message.contains("1000 bytes"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_no_more_of_the_environment_than_is_named() {
    let world = World::with(&script(
        "printf '{\"output\":\"%s\"}' \"$CARGO_MANIFEST_DIR\"",
        "",
    ))
    .await;
    assert_eq!(output(&world.run(ONCE, json!({})).await), "");
}

/// Waits until a file is there and not empty; the programs write it, at once or never.
async fn written(path: &std::path::Path) -> String {
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Returns once no process of this id is left.
async fn gone(pid: &str) {
    let status = std::path::PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    // One that nobody has waited for yet is a zombie.
    while std::fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_program_with_its_children_even_if_they_ignore_it() {
    let body = "trap '' TERM; sleep 1000 & echo $! > child; echo $$ > self; wait; wait; sleep 1000";
    let world = World::with(&script(body, &format!("{BOUND}, grace: 50ms"))).await;
    let run = world.start(ONCE, json!({})).await;
    let own = written(&world.dir.path().join("self")).await;
    let child = written(&world.dir.path().join("child")).await;
    run.abort(("ann", "as tested")).await.unwrap();
    assert!(matches!(run.outcome().await.unwrap(), Outcome::Aborted(_)));
    gone(&own).await;
    gone(&child).await;
    assert_eq!(world.money(), (NanoUsd::ZERO, mills(100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_the_program_with_its_children_even_if_they_ignore_it() {
    let body = "trap '' TERM; sleep 1000 & echo $! > child; echo $$ > self; wait; wait; sleep 1000";
    let world = World::with(&script(body, ", grace: 1h")).await;
    world.start(ONCE, json!({})).await;
    let own = written(&world.dir.path().join("self")).await;
    let child = written(&world.dir.path().join("child")).await;
    let stopped = world.control.shutdown(std::time::Duration::ZERO).await;
    stopped.unwrap();
    gone(&own).await;
    gone(&child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_takes_too_long_is_ended_and_may_still_report() {
    let reply =
        r#"{"error":{"code":"stopped"},"usage":[{"model":"test/m","usage":{"input_uncached":7}}]}"#;
    let body = format!(
        "trap \"echo '{}'; exit 0\" TERM; sleep 1000 & wait",
        reply.replace('"', "\\\"")
    );
    let world = World::with(&script(&body, &format!("{BOUND}, timeout: 100ms"))).await;
    let (code, _) = failure(world.run(ONCE, json!({})).await);
    assert_eq!(code, "stopped");
    assert_eq!(world.money(), (mills(7), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_is_ended_with_it() {
    let body = "sleep 1000 & echo $! > child; echo '{\"output\":1}'";
    let world = World::with(&script(body, ", grace: 50ms")).await;
    assert_eq!(output(&world.run(ONCE, json!({})).await), 1);
    let child = written(&world.dir.path().join("child")).await;
    gone(&child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_was_paid_for_is_not_made_again() {
    let world = World::with(&script(
        &format!("echo x >> tries; {}", report(30, 5)),
        BOUND,
    ))
    .await;
    let step = "agent: a, output_schema: { type: object },
        retry: { maximum_attempts: 3, initial_interval: 1ms }";
    failure(world.run(step, json!({})).await);
    let tries = std::fs::read_to_string(world.dir.path().join("tries")).unwrap();
    assert_eq!(tries.lines().count(), 1);
    assert_eq!(world.money(), (mills(35), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_environment_does_not_show_in_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(dir.path()).with_environment(|name| match name {
        "PATH" => std::env::var_os("PATH"),
        "MODEL_KEY" => Some("sk-very-secret".into()),
        _ => None,
    });
    let text = script(
        "echo \"bad key $MODEL_KEY\" >&2; exit 1",
        ", env: [MODEL_KEY]",
    );
    let world = World::at(&text, &place).await;
    let (_, message) = failure(world.run(ONCE, json!({})).await);
    assert!(message.contains("bad key ***"), "{message}");
}

/// From more than 50 input tokens on, a call costs ten times as much.
const TIERS: &str = r#"rate = [{ input = "1000", output = "1000" },
    { tier_start = 50, input = "10000", output = "10000" }]"#;

fn used(entries: &[(u64, u64, u64)]) -> String {
    let one = |(input, output, requests): &(u64, u64, u64)| {
        let usage = json!({"input_uncached": input, "output_text": output, "requests": requests});
        json!({"model": "test/m", "usage": usage})
    };
    let usage: Vec<Value> = entries.iter().map(one).collect();
    let reply = json!({"output": "done", "usage": usage});
    format!("cat > /dev/null; echo '{reply}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_report_is_charged_by_its_own_size() {
    for (entries, cost) in [
        (&[(40, 5, 1), (40, 5, 1)][..], 90),
        // A sum of two calls: none of them was larger than the file allows.
        (&[(80, 10, 2)], 90),
        (&[(80, 10, 0)], 90),
        // One call that was larger is charged as it is.
        (&[(60, 0, 1)], 600),
    ] {
        let world = World::under(priced(TIERS), &script(&used(entries), BOUND)).await;
        world.limit(100).await;
        let run = world.start(ONCE, json!({})).await;
        run.outcome().await.unwrap();
        assert_eq!(world.money(), (mills(cost), NanoUsd::ZERO), "{entries:?}");
        let settled = world.facts(&run, "model_call.settled").await;
        assert_eq!(settled.len(), 1, "{entries:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_calls_binds_what_a_program_does_by_itself() {
    let calls = |most| Limit {
        calls: Some(most),
        ..Limit::default()
    };
    let limited = async |most| {
        let world = World::with(&script(&used(&[(10, 1, 2)]), BOUND)).await;
        let set = world.control.set_limit(
            ("ann", "as tested"),
            AccountId::Workspace,
            calls(most),
            OnExceed::Abort,
        );
        set.await.unwrap();
        let outcome = world.run(ONCE, json!({})).await;
        (matches!(outcome, Outcome::Completed(_)), world)
    };
    let (completed, _) = limited(1).await;
    assert!(!completed, "it may make two calls");
    let (completed, world) = limited(2).await;
    assert!(completed);
    let account = world.control.account(&AccountId::Workspace).unwrap();
    assert_eq!(account.spent().calls, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_beyond_a_budget_that_is_full_is_recorded_in_full_and_flagged() {
    for on_exceed in [OnExceed::Abort, OnExceed::Pause] {
        let world = World::with(&script(&report(5_000, 0), "")).await;
        let set = |limit| {
            let limit = Limit::usd(mills(limit));
            world
                .control
                .set_limit(("ann", "as tested"), AccountId::Workspace, limit, on_exceed)
        };
        set(100).await.unwrap();
        // All of it is spent before.
        let before = world.start(ONCE, json!({})).await;
        before.settled_or_blocked().await.unwrap();
        set(5_000).await.unwrap();
        let run = world.start(ONCE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        assert_eq!(world.money(), (mills(10_000), NanoUsd::ZERO));
        assert_eq!(world.facts(&run, "budget.breached").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_price_does_not_keep_the_rest_of_a_report_from_being_recorded() {
    let one = |model: &str, used: u64| {
        let usage = json!({"input_uncached": used, "requests": 1});
        json!({"model": model, "usage": usage})
    };
    let usage = [one("test/nobody-knows", 1), one("test/m", 7)];
    let reply = json!({"output": "done", "usage": usage});
    let world = World::with(&script(&format!("cat > /dev/null; echo '{reply}'"), "")).await;
    let run = world.start(ONCE, json!({})).await;
    let position = run.settled_or_blocked().await.unwrap();
    assert!(matches!(position, Position::Blocked { .. }), "{position:?}");
    assert_eq!(world.money(), (mills(7), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_a_rule_forbids_is_recorded_and_the_step_is_stopped() {
    let world = World::with(&script(&report(30, 5), "")).await;
    let rules = "guardrails: [ { id: cap, at: model_call, models: { deny: [test/m] } } ]";
    crate::tools::policy(&world, rules).await;
    let run = world.start(ONCE, json!({})).await;
    let position = run.settled_or_blocked().await.unwrap();
    let Position::Blocked { steps, .. } = position else {
        panic!("{position:?}");
    };
    assert_eq!(steps[0].reason, BlockReason::Guardrail, "{steps:?}");
    assert_eq!(world.money(), (mills(35), NanoUsd::ZERO));
}
