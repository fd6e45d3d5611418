//! A handler that outlives its owner: while it acts, nobody is asked what became of its step.

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

const LOST: &str = "{ workflow: lost, steps: { a: { agent: gone, risk: irreversible } } }";
const PAY: &str = "{ workflow: pay, steps: { a: { agent: payer, risk: irreversible } } }";

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(20);

/// Never comes to an end; asked elsewhere, it says that all was done.
struct Gone;

#[mission_control::async_trait]
impl AgentExecutor for Gone {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        std::future::pending().await
    }

    async fn probe(&self, _: EffectProbe) -> Option<ProbeAnswer> {
        Some(ProbeAnswer::Happened(json!("gone")))
    }
}

/// What was done in the world, and who looked.
#[derive(Clone, Default)]
struct Ledger {
    begun: Arc<Notify>,
    go: Arc<Notify>,
    notes: Arc<Mutex<Vec<&'static str>>>,
}

impl Ledger {
    fn note(&self, what: &'static str) {
        self.notes.lock().unwrap().push(what);
    }

    fn notes(&self) -> Vec<&'static str> {
        self.notes.lock().unwrap().clone()
    }
}

/// Pays once it may, whatever becomes of its owner.
struct Pays(Ledger);

#[mission_control::async_trait]
impl AgentExecutor for Pays {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.0.begun.notify_one();
        self.0.go.notified().await;
        self.0.note("paid");
        Err(AgentError::new("its answer was lost"))
    }
}

/// Looks in the ledger: what is not there has not happened, as far as it can see.
struct Looks(Ledger);

#[mission_control::async_trait]
impl AgentExecutor for Looks {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        self.0.note("paid anew");
        Ok(json!("paid anew").into())
    }

    async fn probe(&self, _: EffectProbe) -> Option<ProbeAnswer> {
        let paid = self.0.notes().contains(&"paid");
        self.0.note("asked");
        Some(if paid {
            ProbeAnswer::Happened(json!("paid"))
        } else {
            ProbeAnswer::DidNotHappen
        })
    }
}

/// Owns the store, has a step of its own out and one of whoever has `payer`, and is killed.
pub(crate) async fn owns_two(path: &Path) {
    let control = open(path).await;
    let policy = Policy::from_yaml("approvals: { from: financial }").unwrap();
    control.publish_policy("ann", policy).await.unwrap();
    for text in [LOST, PAY] {
        control.publish(workflow(text)).await.unwrap();
    }
    control.register_agent("gone", Gone).await.unwrap();
    control.start_dispatch().await.unwrap();
    say("ready");
    await_nod().await;
    for name in ["lost", "pay"] {
        let run = control.start(name, hello(), StartOptions::by("ann")).await;
        say(&run.unwrap().id().to_string());
    }
    await_nod().await;
}

/// Never takes over.
async fn stays_joined(path: &Path) -> MissionControl {
    let builder = Builder::new().with_settings(settings());
    let far = builder.with_succession(Succession::Never).open(path).await;
    far.unwrap()
}

/// Kills the owner once the step of `payer` is out, with an agent in another process that looks what
/// became of it, and waits until `heir` has asked for what was lost with the owner: by then it has asked
/// for whatever it would.
async fn change_owner(
    player: &mut Player,
    (heir, looks): (&MissionControl, &MissionControl),
    ledger: &Ledger,
) -> RunHandle {
    player.nod();
    let lost = heir.run(player.next().unwrap().parse().unwrap());
    let run = heir.run(player.next().unwrap().parse().unwrap());
    ledger.begun.notified().await;
    heir.register_agent("gone", Gone).await.unwrap();
    let looking = looks.register_agent("payer", Looks(ledger.clone()));
    looking.await.unwrap();
    player.kill();
    let outcome = timeout(LONG, lost.outcome()).await.unwrap().unwrap();
    assert_eq!(outcome.output(), Some(&json!("gone")));
    assert!(!heir.is_joined());
    run
}

/// Nobody was asked before the handler has ended, and then it is found out.
async fn is_asked_afterwards(run: &RunHandle, ledger: &Ledger) {
    assert_eq!(ledger.notes(), [""; 0]);
    until_blocked(run, BlockReason::InDoubt).await;
    ledger.go.notify_one();
    let outcome = timeout(LONG, run.outcome()).await.unwrap().unwrap();
    assert_eq!(outcome.output(), Some(&json!("paid")));
    let notes = ledger.notes();
    assert_eq!(notes[..2], ["paid", "asked"]);
    assert!(!notes.contains(&"paid anew"));
}

/// An owner with something to do, and another process that never takes over.
async fn owner_and_other(path: &Path) -> (Player, MissionControl) {
    let mut player = Player::start("owns_two", path);
    player.wait_for("ready");
    (player, stays_joined(path).await)
}

#[tokio::test]
async fn nobody_is_asked_while_a_handler_acts_in_a_process_that_came_back() {
    let (_dir, path) = place();
    let (mut player, far) = owner_and_other(&path).await;
    let ledger = Ledger::default();
    let pays = far.register_agent("payer", Pays(ledger.clone()));
    pays.await.unwrap();
    let heir = open(&path).await;
    let run = change_owner(&mut player, (&heir, &heir), &ledger).await;
    is_asked_afterwards(&run, &ledger).await;
}

#[tokio::test]
async fn nobody_is_asked_while_a_handler_acts_in_the_process_that_took_over() {
    let (_dir, path) = place();
    let (mut player, far) = owner_and_other(&path).await;
    let (heir, ledger) = (open(&path).await, Ledger::default());
    let pays = heir.register_agent("payer", Pays(ledger.clone()));
    pays.await.unwrap();
    let run = change_owner(&mut player, (&heir, &far), &ledger).await;
    is_asked_afterwards(&run, &ledger).await;
}
