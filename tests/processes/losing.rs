//! A process is killed: what it had out is treated as after a crash, and nothing else is.

use std::path::Path;

use mission_control::{
    AbortReason, AccountId, Admission, AgentError, AgentExecutor, BlockReason, MissionControl,
    NanoUsd, Outcome, Position, RunHandle, SessionOptions, StartOptions, StepContext, StepOutcome,
};
use serde_json::{Value, json};

use crate::child::{Player, await_nod, say};
use crate::common::{Echo, answer, hello, mills, open, place, request, workflow};

const ONE: &str = "{ workflow: one, steps: { a: { agent: held } } }";

/// Says that it was called, and waits to be killed.
struct Held;

#[mission_control::async_trait]
impl AgentExecutor for Held {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        ctx.side_effect("disk", &ctx.effect_key().to_string())
            .await?;
        say("called");
        std::future::pending().await
    }
}

/// Has the agent `held`, until it is killed.
pub(crate) async fn has_the_agent(path: &Path) {
    let control = open(path).await;
    control.register_agent("held", Held).await.unwrap();
    control.start_dispatch().await.unwrap();
    say("ready");
    await_nod().await;
}

/// Has a session with a call out, and one that was settled, until it is killed.
pub(crate) async fn has_a_session(path: &Path) {
    let control = open(path).await;
    assert!(control.is_joined());
    let session = control
        .guard("worker", SessionOptions::default())
        .await
        .unwrap();
    let settled = request("settled");
    let call = session.model_call(&settled, |_| async { Ok(answer(20)) });
    call.await.unwrap();
    let Admission::Allowed(permit) = session.reserve(&request("out")).await.unwrap() else {
        panic!("it fits");
    };
    say(&session.id().to_string());
    await_nod().await;
    drop((permit, session));
}

/// Owns the store, starts a run and is killed while its step is out.
pub(crate) async fn owns_and_runs(path: &Path) {
    let control = open(path).await;
    assert!(!control.is_joined());
    control.register_agent("held", Held).await.unwrap();
    control.publish(workflow(ONE)).await.unwrap();
    control.start_dispatch().await.unwrap();
    say("ready");
    await_nod().await;
    let run = start(&control, "one").await;
    say(&run.id().to_string());
    await_nod().await;
}

async fn start(control: &MissionControl, workflow: &str) -> RunHandle {
    let started = control.start(workflow, hello(), StartOptions::by("ann"));
    started.await.unwrap()
}

pub(crate) async fn until_blocked(run: &RunHandle, reason: BlockReason) {
    let mut events = run.events();
    loop {
        if let Position::Blocked { steps, .. } = run.settled_or_blocked().await.unwrap()
            && steps.iter().any(|step| step.reason == reason)
        {
            return;
        }
        events.next().await.unwrap();
    }
}

#[tokio::test]
async fn a_step_of_a_killed_process_is_done_again_by_another_that_has_its_agent() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    owner.publish(workflow(ONE)).await.unwrap();
    let mut player = Player::start("has_the_agent", &path);
    player.wait_for("ready");
    let run = start(&owner, "one").await;
    player.wait_for("called");
    player.kill();
    until_blocked(&run, BlockReason::AgentUnavailable).await;
    owner.register_agent("held", Echo).await.unwrap();
    assert!(matches!(
        run.outcome().await.unwrap(),
        Outcome::Completed(_)
    ));
    let kinds = kinds(&owner, &run).await;
    assert!(
        kinds.contains(&"attempt.interrupted".to_owned()),
        "{kinds:?}"
    );
}

async fn kinds(control: &MissionControl, run: &RunHandle) -> Vec<String> {
    let records = control.log().read_run(run.id(), 0, 1_000).await.unwrap();
    records.iter().map(|one| one.kind.to_string()).collect()
}

#[tokio::test]
async fn the_block_of_a_killed_process_is_in_doubt_and_its_session_ends() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let mut player = Player::start("has_a_session", &path);
    let id = player.next().unwrap().parse().unwrap();
    player.kill();
    let outcome = owner.run(id).outcome().await.unwrap();
    assert_eq!(outcome, Outcome::Aborted(AbortReason::HostLost));
    let account = owner.account(&AccountId::Workspace).unwrap();
    assert_eq!(account.spent().money, mills(20));
    assert_eq!(account.reserved().money, NanoUsd::ZERO);
    // The whole block, of which the call that was out may have cost a part.
    assert!(account.in_doubt().money >= mills(50), "{account:?}");
}

#[tokio::test]
async fn a_joined_process_takes_over_and_recovers_what_was_out() {
    let (_dir, path) = place();
    let mut player = Player::start("owns_and_runs", &path);
    player.wait_for("ready");
    let joined = open(&path).await;
    assert!(joined.is_joined());
    player.nod();
    let id = player.next().unwrap();
    player.wait_for("called");
    player.kill();
    joined.register_agent("held", Echo).await.unwrap();
    joined.start_dispatch().await.unwrap();
    let run = joined.run(id.parse().unwrap());
    assert!(matches!(
        run.outcome().await.unwrap(),
        Outcome::Completed(_)
    ));
    assert!(!joined.is_joined());
    // And others join it.
    let third = open(&path).await;
    assert!(third.is_joined());
    let state = third.run(run.id()).state().await.unwrap();
    assert!(state.status.is_terminal());
}

#[tokio::test]
async fn a_command_that_waits_while_the_owner_changes_is_done_once() {
    let (_dir, path) = place();
    let mut player = Player::start("owns_and_runs", &path);
    player.wait_for("ready");
    let joined = open(&path).await;
    joined.register_agent("held", Echo).await.unwrap();
    let starts: Vec<_> = (0..20)
        .map(|n| {
            let control = joined.clone();
            tokio::spawn(async move {
                let input = json!({"n": n});
                control.start("one", input, StartOptions::by("ann")).await
            })
        })
        .collect();
    player.kill();
    let mut ids = std::collections::BTreeSet::new();
    for start in starts {
        ids.insert(start.await.unwrap().unwrap().id());
    }
    let page = joined.runs(mission_control::RunQuery::default()).await;
    let found: std::collections::BTreeSet<_> =
        page.unwrap().items.iter().map(|run| run.run_id).collect();
    assert_eq!(ids, found);
}

#[tokio::test]
async fn the_name_of_the_owner_is_told_where_it_does_not_answer() {
    let (_dir, path) = place();
    let owner = mission_control::store::RedbLog::open(&path).unwrap();
    let error = mission_control::open(&path).await.unwrap_err();
    let pid = Some(std::process::id());
    let detail = mission_control::Detail::AlreadyOpen { pid };
    assert_eq!(error.detail(), Some(&detail), "{error:?}");
    drop(owner);
}
