//! One store, several processes: joining, running agents elsewhere, losing processes, taking over.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not test functions"
)]

mod agents;
mod alive;
mod asked;
mod child;
mod common;
mod joining;
mod losing;
mod payments;
mod refusing;
mod ruled;
mod storm;
mod stuck;

/// The part of a child process. Does nothing in a plain test run.
#[tokio::test]
async fn plays_its_part() {
    let Some((part, path)) = child::part() else {
        return;
    };
    match part.as_str() {
        "has_the_agent" => losing::has_the_agent(&path).await,
        "has_a_session" => losing::has_a_session(&path).await,
        "owns_and_runs" => losing::owns_and_runs(&path).await,
        "pays" => asked::pays(&path).await,
        "owns_and_starts" => asked::owns_and_starts(&path).await,
        "owns_two" => alive::owns_two(&path).await,
        "owns" => refusing::owns(&path).await,
        "owns_and_pays" => payments::owns_and_pays(&path).await,
        "joins_and_pays" => payments::joins_and_pays(&path).await,
        "works" => storm::works(&path).await,
        other => panic!("there is no part `{other}`"),
    }
}
