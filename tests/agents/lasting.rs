//! Tools that cannot be undone: whatever stops them, and whatever they answer, they are not called twice.

use std::time::Duration;

use mission_control::HaltScope;

use crate::again::{UNASKED, taken_over};
use crate::common::*;
use crate::tools::{ONCE, done, model, policy, tool, until, wants, world};

/// A payment that is made at once; its program ends when it is told to.
fn pays_and_goes_on() -> String {
    let hangs = tool("pay", "echo once >> done; sleep 60", ", grace: 10ms");
    format!("tools: {{ {hangs} }}")
}

async fn paid_once_and_in_doubt(run: &RunHandle, payments: &World) {
    let position = run.settled_or_blocked().await.unwrap();
    let Position::Blocked { steps, .. } = position else {
        panic!("{position:?}");
    };
    assert_eq!(steps[0].reason, BlockReason::InDoubt, "{steps:?}");
    assert_eq!(done(payments).len(), 1);
}

/// Returns once an event of a type is in the log of a run.
async fn logged(world: &World, run: &RunHandle, kind: &str) {
    while world.facts(run, kind).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_halt_stopped_is_in_doubt_once_it_is_resumed() {
    let tools = pays_and_goes_on();
    let server = model([wants("pay", &json!({})), wants("pay", &json!({}))]);
    let world = world(&server, "openai_chat", &tools).await;
    policy(&world, UNASKED).await;
    let run = world.start(ONCE, json!("hi")).await;
    until(|| !done(&world).is_empty()).await;
    let (all, drain) = (HaltScope::Workspace, Duration::from_secs(60));
    world
        .control
        .halt(("ann", "as tested"), all, drain)
        .await
        .unwrap();
    logged(&world, &run, "attempt.failed").await;
    let resumed = world
        .control
        .resume(("ann", "as tested"), HaltScope::Workspace)
        .await;
    resumed.unwrap();
    paid_once_and_in_doubt(&run, &world).await;
    assert!(world.facts(&run, "tool_call.failed").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shutdown_stopped_is_in_doubt_at_the_next_opening() {
    let tools = pays_and_goes_on();
    let server = model([wants("pay", &json!({})), wants("pay", &json!({}))]);
    let before = world(&server, "openai_chat", &tools).await;
    policy(&before, UNASKED).await;
    let run = before.start(ONCE, json!("hi")).await;
    until(|| !done(&before).is_empty()).await;
    before.control.shutdown(Duration::ZERO).await.unwrap();
    let after = taken_over(&before, &server, &tools).await;
    let run = after.control.run(run.id());
    paid_once_and_in_doubt(&run, &before).await;
}

/// A payment whose answer is nested as deeply as JSON may be.
fn deep() -> String {
    let (open, close) = ("[".repeat(64), "]".repeat(64));
    let script = format!("cat > /dev/null; echo once >> done; echo '{open}1{close}'");
    format!("tools: {{ {} }}", tool("pay", &script, ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_kept_is_told_as_an_error_and_its_tool_is_not_called_again() {
    let server = model([wants("pay", &json!({})), wants("pay", &json!({}))]);
    let world = world(&server, "openai_chat", &deep()).await;
    policy(&world, UNASKED).await;
    let run = world
        .start(
            "agent: a, retry: { maximum_attempts: 3, initial_interval: 1ms }",
            json!("hi"),
        )
        .await;
    output(&run.outcome().await.unwrap());
    let (told, failed) = crate::tools::told(&server, 1);
    assert!(
        failed && told.contains("its answer cannot be kept"),
        "{told}"
    );
    // Each of the two that the model asked for was made once.
    assert_eq!(done(&world).len(), 2);
    assert_eq!(world.facts(&run, "tool_call.completed").await.len(), 2);
}
