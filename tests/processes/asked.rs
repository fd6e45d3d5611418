//! Probes: an agent of a joined process is asked what became of a step in doubt, like one of the owner's.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mission_control::{
    AgentError, AgentExecutor, BlockReason, Builder, EffectProbe, MissionControl, Policy,
    ProbeAnswer, RunHandle, StartOptions, StepContext, StepOutcome, Succession,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::child::{Player, await_nod, say};
use crate::common::{hello, open, place, settings, workflow};
use crate::losing::until_blocked;

const PAY: &str = "{ workflow: pay, steps: { a: { agent: payer, risk: irreversible } } }";

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(20);

/// Acts, says so, and is killed before it can say more.
struct Pays;

#[mission_control::async_trait]
impl AgentExecutor for Pays {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        say("paid");
        std::future::pending().await
    }
}

/// Finds out what was paid; it never pays itself.
struct Knows(Option<ProbeAnswer>);

#[mission_control::async_trait]
impl AgentExecutor for Knows {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!("paid anew").into())
    }

    async fn probe(&self, effect: EffectProbe) -> Option<ProbeAnswer> {
        assert_eq!((effect.attempt, &effect.input), (1, &hello()));
        self.0.clone()
    }
}

fn receipt() -> Value {
    json!({"receipt": 7})
}

fn knows() -> Knows {
    Knows(Some(ProbeAnswer::Happened(receipt())))
}

/// Publishes what is paid, and that nobody has to approve it.
async fn publish(control: &MissionControl) {
    let policy = Policy::from_yaml("approvals: { from: financial }").unwrap();
    control.publish_policy("ann", policy).await.unwrap();
    control.publish(workflow(PAY)).await.unwrap();
    control.start_dispatch().await.unwrap();
}

async fn start(control: &MissionControl) -> RunHandle {
    let started = control.start("pay", hello(), StartOptions::by("ann"));
    started.await.unwrap()
}

/// Has the agent `payer`, until it is killed.
pub(crate) async fn pays(path: &Path) {
    let control = open(path).await;
    control.register_agent("payer", Pays).await.unwrap();
    say("ready");
    await_nod().await;
}

/// Owns the store, starts a run once it is told to, and is killed.
pub(crate) async fn owns_and_starts(path: &Path) {
    let control = open(path).await;
    assert!(!control.is_joined());
    publish(&control).await;
    say("ready");
    await_nod().await;
    say(&start(&control).await.id().to_string());
    await_nod().await;
}

/// Who said what became of the step, and how it was known.
async fn informant(control: &MissionControl, run: &RunHandle) -> (String, String) {
    let records = control.log().read_run(run.id(), 0, 1_000).await.unwrap();
    let resolved = records.iter().filter(|one| &*one.kind == "step.resolved");
    let resolved: Vec<_> = resolved.collect();
    assert_eq!(resolved.len(), 1, "it is resolved once");
    let actor = serde_json::to_value(&resolved[0].actor).unwrap();
    let method = resolved[0].auth_method.as_str();
    (actor.to_string(), method.to_owned())
}

async fn ends_with(control: &MissionControl, run: &RunHandle, output: &Value) {
    // Where nobody asks its agent, a person would have to come.
    let outcome = timeout(LONG, run.outcome()).await.unwrap().unwrap();
    assert_eq!(outcome.output(), Some(output), "{outcome:?}");
    let (actor, method) = informant(control, run).await;
    assert!(actor.contains("payer"), "{actor}");
    assert_eq!(method, "socket");
}

/// A store with a run whose step was out in a process that has been killed.
async fn in_doubt(path: &Path) -> (MissionControl, RunHandle) {
    let owner = open(path).await;
    publish(&owner).await;
    let mut player = Player::start("pays", path);
    player.wait_for("ready");
    let run = start(&owner).await;
    player.wait_for("paid");
    player.kill();
    until_blocked(&run, BlockReason::InDoubt).await;
    (owner, run)
}

#[tokio::test]
async fn whoever_brings_a_killed_process_agent_is_asked_what_it_did() {
    let (_dir, path) = place();
    let (owner, run) = in_doubt(&path).await;
    let joined = open(&path).await;
    joined.register_agent("payer", knows()).await.unwrap();
    ends_with(&owner, &run, &receipt()).await;
}

#[tokio::test]
async fn what_a_far_agent_knows_did_not_happen_is_done_again() {
    let (_dir, path) = place();
    let (owner, run) = in_doubt(&path).await;
    let joined = open(&path).await;
    let never = Knows(Some(ProbeAnswer::DidNotHappen));
    joined.register_agent("payer", never).await.unwrap();
    ends_with(&owner, &run, &json!("paid anew")).await;
}

#[tokio::test]
async fn one_that_does_not_know_is_not_the_last_that_is_asked() {
    let (_dir, path) = place();
    let (owner, run) = in_doubt(&path).await;
    owner.register_agent("payer", Knows(None)).await.unwrap();
    let (second, third) = (open(&path).await, open(&path).await);
    second.register_agent("payer", knows()).await.unwrap();
    third.register_agent("payer", Knows(None)).await.unwrap();
    ends_with(&owner, &run, &receipt()).await;
}

#[tokio::test]
async fn a_process_that_has_the_agent_already_is_asked_once_another_is_killed() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    publish(&owner).await;
    let mut player = Player::start("pays", &path);
    player.wait_for("ready");
    let run = start(&owner).await;
    player.wait_for("paid");
    let joined = open(&path).await;
    joined.register_agent("payer", knows()).await.unwrap();
    player.kill();
    ends_with(&owner, &run, &receipt()).await;
}

/// Acts for as long as it takes, whatever becomes of its owner, and finds out then.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<Notify>,
    go: Arc<Notify>,
    notes: Arc<Mutex<Vec<&'static str>>>,
}

impl Slow {
    fn note(&self, what: &'static str) {
        self.notes.lock().unwrap().push(what);
    }
}

#[mission_control::async_trait]
impl AgentExecutor for Slow {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.begun.notify_one();
        self.go.notified().await;
        self.note("paid");
        Err(AgentError::new("its answer was lost"))
    }

    async fn probe(&self, _: EffectProbe) -> Option<ProbeAnswer> {
        self.note("asked");
        Some(ProbeAnswer::Happened(receipt()))
    }
}

#[tokio::test]
async fn the_next_owner_asks_a_far_agent_and_only_once_its_handler_has_ended() {
    let (_dir, path) = place();
    let mut player = Player::start("owns_and_starts", &path);
    player.wait_for("ready");
    let builder = Builder::new().with_settings(settings());
    let far = builder.with_succession(Succession::Never).open(&path).await;
    let (far, slow) = (far.unwrap(), Slow::default());
    far.register_agent("payer", slow.clone()).await.unwrap();
    let heir = open(&path).await;
    player.nod();
    let id = player.next().unwrap().parse().unwrap();
    slow.begun.notified().await;
    player.kill();
    let run = heir.run(id);
    until_blocked(&run, BlockReason::InDoubt).await;
    assert!(!heir.is_joined());
    // It has joined the new owner, and is asked as whoever joins is.
    far.publish(workflow(PAY)).await.unwrap();
    slow.go.notify_one();
    ends_with(&heir, &run, &receipt()).await;
    let notes = slow.notes.lock().unwrap().clone();
    assert_eq!(notes[..2], ["paid", "asked"]);
}
