//! Four processes work on one file, and whoever owns it is killed every two seconds.
//!
//! What was acknowledged is there in the end, what a provider billed is counted, no limit is passed, and
//! every intent has one effect key however often it was tried. `MC_STORM_SECONDS` lets it go on for
//! longer than the suite has time for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mission_control::{
    Account, AccountId, AgentError, AgentExecutor, AgentName, Limit, MissionControl, OnExceed,
    RunId, SessionOptions, StartOptions, StepContext, StepOutcome,
};
use serde_json::{Value, json};

use crate::child::{Player, await_nod, say};
use crate::common::{answer, mills, open, place, request, workflow};

const WORKERS: usize = 4;
const BETWEEN_KILLS: Duration = Duration::from_secs(2);
const SECONDS: u64 = 12;
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
";

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

async fn prepare(path: &Path) -> MissionControl {
    let control = open(path).await;
    let path = path.to_owned();
    control
        .register_agent("worker", Worker { path })
        .await
        .unwrap();
    control
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
        if run.outcome().await.is_ok() {
            say(&format!("ended {}", run.id()));
        }
    }
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

async fn check(path: &Path, storm: &Storm) {
    let control = prepare(path).await;
    assert!(!control.is_joined());
    control.start_dispatch().await.unwrap();
    for run in &storm.started {
        control.run(*run).outcome().await.unwrap();
    }
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
    let set = control.set_limit("ann", guarded(), limit, OnExceed::Abort);
    set.await.unwrap();
    control.publish(workflow(FLOW)).await.unwrap();
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
    check(&path, &storm).await;
    let (started, ended) = (storm.started.len(), storm.ended.len());
    let tally = format!(
        "{} kills, {started} runs started, {ended} ended",
        storm.kills
    );
    writeln!(std::io::stderr(), "{tally}").unwrap();
}
