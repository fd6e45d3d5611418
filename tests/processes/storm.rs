//! Four processes work on one file, and whoever owns it is killed every two seconds.
//!
//! What was acknowledged is there in the end, what a provider billed is counted, no limit is passed,
//! every intent has one effect key however often it was tried, and what cannot be undone is done once:
//! it is counted beside the log, by whoever does it. `MC_STORM_SECONDS` lets it go on for longer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mission_control::{
    Account, AccountId, AgentError, AgentExecutor, AgentName, ApprovalFilter, BlockReason, Error,
    ErrorKind, Limit, MissionControl, OnExceed, Outcome, Policy, Position, Resolution, RunHandle,
    RunId, SessionOptions, StartOptions, StepContext, StepKey, StepOutcome,
};
use serde_json::{Value, json};

use crate::child::{Player, await_nod, say};
use crate::common::{answer, mills, open, place, request, workflow};

const WORKERS: usize = 4;
const BETWEEN_KILLS: Duration = Duration::from_secs(2);
const SECONDS: u64 = 60;
/// Longer than any change of the owner takes.
const SILENCE: Duration = Duration::from_secs(30);

/// Thousandths of a dollar that a call costs.
const COST: u64 = 20;
/// What the guarded agent may spend, in thousandths of a dollar.
const GUARDED: i64 = 4_000;

const FLOW: &str = "
workflow: storm
steps:
  a: { agent: worker, risk: write, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 50 } }
  b: { agent: worker, risk: write, needs: [a] }
  send: { agent: payer, risk: irreversible, needs: [b] }
  pay: { agent: payer, risk: financial, needs: [b] }
";

/// Payments are asked about, and approved by who did not start them.
const POLICY: &str = "approvals: { from: financial, four_eyes: [financial] }";
/// The steps that must not be done twice.
const ONCE: [&str; 2] = ["send", "pay"];

/// Adds a line to a file beside the store: another world than the log, as a provider's is.
fn note(path: &Path, name: &str, line: &str) {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path.with_file_name(name));
    file.unwrap()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

fn noted(path: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path.with_file_name(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Makes a call that is billed, and leaves a mark in the world.
#[derive(Clone)]
struct Worker {
    path: PathBuf,
}

#[mission_control::async_trait]
impl AgentExecutor for Worker {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let request = request(ctx.step().as_str());
        let called = ctx.model_call(&request, |_| async {
            note(&self.path, "bills", "worker");
            Ok(answer(COST))
        });
        called.await?;
        let key = ctx.effect_key().to_string();
        ctx.side_effect("disk", &key).await?;
        note(
            &self.path,
            "effects",
            &format!("{}/{} {key}", ctx.run_id(), ctx.step()),
        );
        Ok(json!({"ok": true}).into())
    }
}

/// Does what cannot be undone: first thing it writes down that it does, in one piece.
#[derive(Clone)]
struct Payer {
    path: PathBuf,
}

#[mission_control::async_trait]
impl AgentExecutor for Payer {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let request = request(ctx.step().as_str());
        let called = ctx.model_call(&request, |_| async {
            note(&self.path, "bills", "payer");
            Ok(answer(COST))
        });
        called.await?;
        note(&self.path, "done", &deed(ctx.run_id(), ctx.step()));
        let key = ctx.effect_key().to_string();
        ctx.side_effect("bank", &key).await?;
        Ok(json!({"ok": true}).into())
    }
}

fn deed(run: RunId, step: impl std::fmt::Display) -> String {
    format!("{run}/{step}")
}

/// How often each thing that cannot be undone was done.
fn deeds(path: &Path) -> BTreeMap<String, usize> {
    let mut deeds = BTreeMap::new();
    for line in noted(path, "done") {
        *deeds.entry(line).or_default() += 1;
    }
    deeds
}

async fn prepare(path: &Path) -> MissionControl {
    let control = open(path).await;
    let path = path.to_owned();
    let payer = Payer { path: path.clone() };
    register(&control, "payer", payer).await;
    register(&control, "worker", Worker { path }).await;
    control
}

/// Owners may die one after the other for longer than a call waits for one.
async fn register(control: &MissionControl, name: &str, agent: impl AgentExecutor + Clone) {
    while let Err(error) = control.register_agent(name, agent.clone()).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        tokio::task::yield_now().await;
    }
}

fn guarded() -> AccountId {
    AccountId::Agent(AgentName::new("guarded").unwrap())
}

/// Works until the test is gone.
pub(crate) async fn works(path: &Path) {
    let control = prepare(path).await;
    control.start_dispatch().await.unwrap();
    let guarding = tokio::spawn(guard(control.clone(), path.to_owned()));
    let working = tokio::spawn(run(control));
    await_nod().await;
    guarding.abort();
    working.abort();
}

async fn run(control: MissionControl) {
    for n in 0.. {
        let options = StartOptions {
            idempotency_key: Some(format!("{}/{n}", std::process::id())),
            ..StartOptions::by("ann")
        };
        let Ok(run) = control.start("storm", json!({"n": n}), options).await else {
            continue;
        };
        say(&format!("started {}", run.id()));
        match see_through(&control, &run).await {
            Ok(None) => say(&format!("ended {}", run.id())),
            Ok(Some(_)) => say("doubt"),
            Err(_) => {}
        }
    }
}

/// Approves what a run asks until it has ended, or until somebody has to say what became of a step.
async fn see_through(control: &MissionControl, run: &RunHandle) -> Result<Option<StepKey>, Error> {
    let mut events = run.events();
    loop {
        match run.settled_or_blocked().await? {
            Position::Ended(outcome) => {
                let good = matches!(outcome, Outcome::Completed(_));
                if !good {
                    // A worker's panic would go unheard.
                    say(&format!("broken {}: {outcome:?}", run.id()));
                }
                assert!(good, "{outcome:?}");
                return Ok(None);
            }
            Position::Blocked { steps, .. } => {
                let doubt = steps.iter().find(|one| one.reason == BlockReason::InDoubt);
                if let Some(doubt) = doubt {
                    return Ok(Some(doubt.step.clone()));
                }
            }
        }
        let asked = control.approvals(ApprovalFilter::Pending).await?;
        let own = asked.iter().filter(|asked| asked.id.run_id == run.id());
        let mut decided = 0;
        for asked in own {
            // Whoever asks again after its owner's death may find it decided.
            let word = control.approve(asked.id, "bob", "it is due").await;
            decided += usize::from(word.is_ok());
        }
        if decided == 0 {
            events.next().await?;
        }
    }
}

/// A person looks at what was done, and says so, until the run has ended.
async fn settle(control: &MissionControl, run: &RunHandle, path: &Path) -> usize {
    let mut doubts = 0;
    while let Some(step) = see_through(control, run).await.unwrap() {
        doubts += 1;
        let word = match deeds(path).get(&deed(run.id(), &step)) {
            Some(_) => Resolution::Happened(Arc::new(json!({"ok": true}))),
            None => Resolution::DidNotHappen,
        };
        let said = run.resolve("cleo", &step, word, "the bank's list");
        said.await.unwrap();
    }
    doubts
}

async fn guard(control: MissionControl, path: PathBuf) {
    for n in 0.. {
        let opened = control.guard("guarded", SessionOptions::default()).await;
        let Ok(session) = opened else { continue };
        for m in 0..10 {
            let request = request(&format!("{n}/{m}"));
            let called = session.model_call(&request, |_| async {
                note(&path, "bills", "guarded");
                Ok(answer(COST))
            });
            if called.await.is_err() {
                break;
            }
            say("guarded");
        }
        // What the budget refuses is refused again at once; others are to have their turn.
        tokio::task::yield_now().await;
        let _ = session.close().await;
    }
}

/// The workers, and what they say.
struct Storm {
    path: PathBuf,
    players: BTreeMap<u32, Player>,
    said: Receiver<String>,
    saying: Sender<String>,
    started: BTreeSet<RunId>,
    ended: BTreeSet<RunId>,
    doubts: usize,
    kills: usize,
}

impl Storm {
    fn new(path: &Path) -> Self {
        let (saying, said) = channel();
        Self {
            path: path.to_owned(),
            players: BTreeMap::new(),
            said,
            saying,
            started: BTreeSet::new(),
            ended: BTreeSet::new(),
            doubts: 0,
            kills: 0,
        }
    }

    fn add_worker(&mut self) {
        let mut player = Player::start("works", &self.path);
        let (mut lines, saying) = (player.listen(), self.saying.clone());
        std::thread::spawn(move || {
            while let Some(line) = lines.next() {
                if saying.send(line).is_err() {
                    return;
                }
            }
        });
        self.players.insert(player.id(), player);
    }

    fn hear(&mut self) {
        let line = self.said.recv_timeout(SILENCE).unwrap();
        self.take(&line);
    }

    fn take(&mut self, line: &str) {
        if let Some(id) = line.strip_prefix("started ") {
            self.started.insert(id.parse().unwrap());
        } else if let Some(id) = line.strip_prefix("ended ") {
            self.ended.insert(id.parse().unwrap());
        } else if line.starts_with("broken ") {
            panic!("{line}");
        } else if line == "doubt" {
            self.doubts += 1;
        }
    }

    fn kill_the_owner(&mut self) {
        let mut owner = self.path.as_os_str().to_owned();
        owner.push(".owner");
        let Ok(text) = std::fs::read_to_string(owner) else {
            return;
        };
        let pid = text.lines().next().unwrap_or_default();
        let Ok(pid) = pid.parse::<u32>() else {
            return;
        };
        // The file may still name one that was killed before.
        if let Some(mut player) = self.players.remove(&pid) {
            player.kill();
            self.kills += 1;
            self.add_worker();
        }
    }

    fn rage(&mut self, lasting: Duration) {
        for _ in 0..WORKERS {
            self.add_worker();
        }
        let begun = Instant::now();
        let mut killed = begun;
        while begun.elapsed() < lasting {
            self.hear();
            if killed.elapsed() >= BETWEEN_KILLS {
                self.kill_the_owner();
                killed = Instant::now();
            }
        }
    }

    /// All of them die at once.
    fn end(&mut self) {
        for player in self.players.values_mut() {
            player.kill();
        }
        self.players.clear();
        while let Ok(line) = self.said.recv_timeout(Duration::from_millis(200)) {
            self.take(&line);
        }
    }
}

fn covered(account: &Account, bills: usize, limit: Option<i64>) {
    let counted = account.spent().money.as_nano() + account.in_doubt().money.as_nano();
    let billed = i64::try_from(bills * usize::try_from(COST).unwrap()).unwrap();
    let billed = mills(billed).as_nano();
    assert!(counted >= billed, "{counted} counted, {billed} billed");
    if let Some(limit) = limit {
        let limit = mills(limit);
        assert!(
            account.exposure().money <= limit,
            "over the limit: {account:?}"
        );
        assert!(billed <= limit.as_nano(), "billed beyond the limit");
    }
}

/// Whoever was told that a run has ended: all of it was done, once. Nothing was done twice.
fn done_once(path: &Path, of: &BTreeSet<RunId>) {
    let deeds = deeds(path);
    let twice = deeds.iter().find(|(_, times)| **times > 1);
    assert_eq!(twice, None, "it cannot be undone");
    for run in of {
        for step in ONCE {
            assert_eq!(deeds.get(&deed(*run, step)), Some(&1), "{run}/{step}");
        }
    }
}

/// Holds the store against what was said and done; how many steps were in doubt in the end.
async fn check(path: &Path, storm: &Storm) -> usize {
    done_once(path, &storm.ended);
    let control = prepare(path).await;
    assert!(!control.is_joined());
    control.start_dispatch().await.unwrap();
    let mut doubts = 0;
    for run in &storm.started {
        doubts += settle(&control, &control.run(*run), path).await;
    }
    done_once(path, &storm.started);
    let of = |who: &str| {
        noted(path, "bills")
            .iter()
            .filter(|line| *line == who)
            .count()
    };
    let account = |id: &AccountId| control.account(id).unwrap_or_default();
    covered(&account(&guarded()), of("guarded"), Some(GUARDED));
    let worker = AccountId::Agent(AgentName::new("worker").unwrap());
    covered(&account(&worker), of("worker"), None);
    let payer = AccountId::Agent(AgentName::new("payer").unwrap());
    covered(&account(&payer), of("payer"), None);
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in noted(path, "effects") {
        // A line may be cut short where its writer was killed.
        if let Some((intent, key)) = line.split_once(' ') {
            keys.entry(intent.to_owned())
                .or_default()
                .insert(key.to_owned());
        }
    }
    let several = keys.iter().find(|(_, keys)| keys.len() > 1);
    assert_eq!(several, None, "one intent, several effect keys");
    assert!(storm.ended.iter().all(|run| storm.started.contains(run)));
    doubts
}

#[tokio::test]
async fn nothing_is_lost_or_overspent_while_the_owner_is_killed_again_and_again() {
    let seconds = std::env::var("MC_STORM_SECONDS").ok();
    let seconds = seconds
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let (_dir, path) = place();
    let control = prepare(&path).await;
    let limit = Limit::usd(mills(GUARDED));
    let set = control.set_limit(("ann", "as tested"), guarded(), limit, OnExceed::Abort);
    set.await.unwrap();
    control.publish(workflow(FLOW)).await.unwrap();
    let policy = Policy::from_yaml(POLICY).unwrap();
    control.publish_policy("ann", policy).await.unwrap();
    control.shutdown(Duration::from_secs(5)).await.unwrap();
    drop(control);
    let mut storm = Storm::new(&path);
    let raging = tokio::task::spawn_blocking(move || {
        storm.rage(Duration::from_secs(seconds));
        storm.end();
        storm
    });
    let storm = raging.await.unwrap();
    assert!(storm.kills >= 2, "{} kills", storm.kills);
    assert!(!storm.ended.is_empty());
    let doubts = check(&path, &storm).await;
    let (started, ended) = (storm.started.len(), storm.ended.len());
    let tally = format!(
        "{} kills, {started} runs started, {ended} ended, {} met a step in doubt, {doubts} steps \
         were in doubt in the end, {} deeds, none twice",
        storm.kills,
        storm.doubts,
        deeds(&path).len(),
    );
    writeln!(std::io::stderr(), "{tally}").unwrap();
}
