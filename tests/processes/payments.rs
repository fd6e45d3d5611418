//! A payment whose process is killed between its dispatch and its result, again and again.
//!
//! What was paid is counted in a file beside the store, by whoever pays. After each kill the payment is
//! in doubt, a restart does not make it again, and only a person's word lets it be made.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mission_control::{
    AgentError, AgentExecutor, ApprovalFilter, BlockReason, MissionControl, Position, Resolution,
    RunHandle, RunId, RunQuery, StartOptions, StepContext, StepKey, StepOutcome,
};
use serde_json::{Value, json};

use crate::child::{Player, await_nod, say};
use crate::common::{answer, hello, open, place, request, workflow};
use crate::losing::until_blocked;

const PAY: &str = "
workflow: pay
steps:
  a: { agent: payer, risk: financial, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 50 } }
";
const KILLS: usize = 50;
const KILLS_OF_A_JOINER: usize = 10;

/// Where a payer is when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// It has begun.
    Begun,
    /// Its model was asked and has not answered.
    Asking,
    /// It has paid.
    Paid,
    /// It has paid, and the log says so.
    Logged,
    /// It is not killed.
    Never,
}

const MOMENTS: [Moment; 4] = [Moment::Begun, Moment::Asking, Moment::Paid, Moment::Logged];

impl Moment {
    /// That of the next payment: by how many there were.
    fn of(path: &Path) -> Self {
        MOMENTS[noted(path, "entered").len() % MOMENTS.len()]
    }
}

/// Adds a line to a file beside the store, at once.
fn note(path: &Path, name: &str, line: &str) {
    let mut file = std::fs::OpenOptions::new();
    let file = file.create(true).append(true);
    let mut file = file.open(path.with_file_name(name)).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn noted(path: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path.with_file_name(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// How often each run's payment was made, or begun.
fn counted(path: &Path, name: &str) -> BTreeMap<RunId, usize> {
    let mut counts = BTreeMap::new();
    for line in noted(path, name) {
        *counts.entry(line.parse().unwrap()).or_default() += 1;
    }
    counts
}

/// Pays, and stays where it is told to, for the killer.
struct Payer {
    path: PathBuf,
    stays: Option<Moment>,
}

impl Payer {
    async fn here(&self, ours: Moment, stays: Moment) {
        if ours == stays {
            say("here");
            std::future::pending::<()>().await;
        }
    }
}

#[mission_control::async_trait]
impl AgentExecutor for Payer {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let stays = self.stays.unwrap_or_else(|| Moment::of(&self.path));
        let run = ctx.run_id().to_string();
        note(&self.path, "entered", &run);
        self.here(Moment::Begun, stays).await;
        let request = request("whom to pay?");
        let asked = ctx.model_call(&request, |_| async {
            self.here(Moment::Asking, stays).await;
            Ok(answer(20))
        });
        asked.await?;
        note(&self.path, "paid", &run);
        self.here(Moment::Paid, stays).await;
        ctx.side_effect("bank", &ctx.effect_key().to_string())
            .await?;
        self.here(Moment::Logged, stays).await;
        Ok(json!("paid").into())
    }
}

async fn register(control: &MissionControl, path: &Path, stays: Option<Moment>) {
    let path = path.to_owned();
    let payer = Payer { path, stays };
    control.register_agent("payer", payer).await.unwrap();
}

/// Starts a payment and lets it go out.
async fn start_approved(control: &MissionControl) -> RunHandle {
    let run = control.start("pay", hello(), StartOptions::by("ann"));
    let run = run.await.unwrap();
    approve(control, &run).await;
    run
}

async fn approve(control: &MissionControl, run: &RunHandle) {
    until_blocked(run, BlockReason::Approval).await;
    let asked = control.approvals(ApprovalFilter::Pending).await.unwrap();
    assert_eq!(asked.len(), 1);
    control.approve(asked[0].id, "bob", "due").await.unwrap();
}

/// Owns the store: says of every payment before how it stands, and makes one more.
pub(crate) async fn owns_and_pays(path: &Path) {
    let control = open(path).await;
    assert!(!control.is_joined());
    register(&control, path, None).await;
    control.publish(workflow(PAY)).await.unwrap();
    control.start_dispatch().await.unwrap();
    for id in all(&control).await {
        say(&format!("{id} {}", stands(&control.run(id)).await));
    }
    say(&format!("new {}", start_approved(&control).await.id()));
    await_nod().await;
}

/// Has the agent `payer` in a process that joins the owner.
pub(crate) async fn joins_and_pays(path: &Path) {
    let control = open(path).await;
    assert!(control.is_joined());
    register(&control, path, None).await;
    control.start_dispatch().await.unwrap();
    say("ready");
    await_nod().await;
}

async fn all(control: &MissionControl) -> Vec<RunId> {
    let page = control.runs(RunQuery::default()).await.unwrap();
    page.items.iter().map(|run| run.run_id).collect()
}

/// How a payment stands, once it does not move by itself.
async fn stands(run: &RunHandle) -> &'static str {
    match run.settled_or_blocked().await.unwrap() {
        Position::Blocked { steps, .. } if steps[0].reason == BlockReason::InDoubt => "in doubt",
        Position::Blocked { .. } => "blocked",
        Position::Ended(_) => "ended",
    }
}

/// One process: makes a payment, and is killed before it has a result. How the earlier ones stood.
fn pays_and_dies(path: &Path) -> BTreeMap<RunId, String> {
    let mut player = Player::start("owns_and_pays", path);
    let mut stood = BTreeMap::new();
    loop {
        let line = player.next().unwrap();
        match line.split_once(' ') {
            // The payment may be out before its process can say its name.
            None if line == "here" => break,
            Some(("new", _)) => {}
            Some((id, how)) => drop(stood.insert(id.parse().unwrap(), how.to_owned())),
            None => panic!("{line}"),
        }
    }
    player.kill();
    stood
}

/// Nobody has said anything: each payment was begun once and made once at most.
fn each_at_most_once(path: &Path, kills: usize) {
    let entered = counted(path, "entered");
    assert_eq!(entered.len(), kills);
    assert!(entered.values().all(|times| *times == 1), "{entered:?}");
    let paid = counted(path, "paid");
    assert!(paid.values().all(|times| *times == 1), "{paid:?}");
    // Two moments of four lie before the payment, and they come first.
    assert_eq!(paid.len(), kills / 4 * 2);
}

/// A person looks at what was paid, and says so; then every payment is made, once.
async fn settle(control: &MissionControl, path: &Path) {
    let paid = counted(path, "paid");
    let step: StepKey = "a".parse().unwrap();
    for id in all(control).await {
        let run = control.run(id);
        assert_eq!(stands(&run).await, "in doubt");
        let made = paid.contains_key(&id);
        let word = if made {
            Resolution::Happened(Arc::new(json!("paid")))
        } else {
            Resolution::DidNotHappen
        };
        let said = run.resolve("cleo", &step, word, "the bank's list").await;
        said.unwrap();
        if !made {
            // What did not happen is asked for anew.
            approve(control, &run).await;
        }
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.output(), Some(&json!("paid")), "{outcome:?}");
    }
    let paid = counted(path, "paid");
    assert!(paid.values().all(|times| *times == 1), "{paid:?}");
    assert_eq!(paid.len(), all(control).await.len());
}

#[tokio::test]
async fn a_payment_that_is_killed_fifty_times_is_made_once_at_most_without_a_persons_word() {
    let (_dir, path) = place();
    for kills in 0..KILLS {
        let stood = pays_and_dies(&path);
        assert_eq!(stood.len(), kills);
        let moved = stood.iter().find(|(_, how)| *how != "in doubt");
        assert_eq!(moved, None, "after {kills} kills");
        each_at_most_once_so_far(&path, kills + 1);
    }
    let control = open(&path).await;
    register(&control, &path, Some(Moment::Never)).await;
    control.start_dispatch().await.unwrap();
    for id in all(&control).await {
        assert_eq!(stands(&control.run(id)).await, "in doubt");
    }
    each_at_most_once(&path, KILLS);
    settle(&control, &path).await;
}

fn each_at_most_once_so_far(path: &Path, kills: usize) {
    assert_eq!(noted(path, "entered").len(), kills);
    assert!(noted(path, "paid").len() <= kills);
}

#[tokio::test]
async fn a_payment_whose_joined_process_is_killed_is_in_doubt_and_no_other_process_makes_it() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    owner.publish(workflow(PAY)).await.unwrap();
    for _ in 0..KILLS_OF_A_JOINER {
        let mut player = Player::start("joins_and_pays", &path);
        player.wait_for("ready");
        let run = start_approved(&owner).await;
        player.wait_for("here");
        player.kill();
        until_blocked(&run, BlockReason::InDoubt).await;
    }
    register(&owner, &path, Some(Moment::Never)).await;
    owner.start_dispatch().await.unwrap();
    for id in all(&owner).await {
        assert_eq!(stands(&owner.run(id)).await, "in doubt");
    }
    each_at_most_once(&path, KILLS_OF_A_JOINER);
    settle(&owner, &path).await;
}
