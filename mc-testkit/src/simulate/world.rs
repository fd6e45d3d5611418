//! One seed, lived through: opens, works, presses buttons, crashes, opens again, and tidies up.

use std::sync::Arc;
use std::time::Duration;

use mc_core::budget::{AccountId, Amount, Limit, OnExceed};
use mc_core::engine::{Engine, MissionControl, Parts, Position, RunHandle};
use mc_core::error::Result;
use mc_core::id::{AuthMethod, Digest, RunId, StepKey};
use mc_core::money::NanoUsd;
use mc_core::ports::Clock;
use mc_core::run::{Run, Step};
use mc_core::sequencer::Settings;
use mc_core::sim::Simulation;
use mc_core::time::Timestamp;
use serde_json::json;

use super::asking;
use super::buttons::Desk;
use super::checker::Finding;
use super::disk::{Disk, WatchedLog};
use super::draw::Draw;
use super::groups::broken_groups;
use super::habits::Habits;
use super::handlers::Handlers;
use super::liveness::Liveness;
use super::nesting::Shelf;
use super::script::{AGENTS, Hangs, Scripted, tag_account};

/// What a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lived {
    /// The root of the log's tree: the same seed gives the same.
    pub root: Digest,
    /// Events in the log.
    pub events: usize,
    /// Runs.
    pub runs: usize,
    /// Approvals that were used up.
    pub approvals: usize,
    /// Runs that were nested in others.
    pub nested: usize,
    /// Runs that went on after they had failed, each time.
    pub redriven: usize,
    /// Crashes.
    pub crashes: u32,
    /// Everything that must not be.
    pub findings: Vec<Finding>,
}

/// The beginning of every world: 2026-01-01.
const START: Timestamp = Timestamp::from_unix_us(1_767_225_600_000_000);

struct World {
    simulation: Simulation,
    log: WatchedLog,
    draw: Draw,
    seed: u64,
    habits: Habits,
    handlers: Handlers,
    runs: Vec<RunId>,
}

/// Lives a seed through, with everything that can happen.
pub fn live(seed: u64) -> Lived {
    live_with(seed, Habits::Wild)
}

/// Lives a seed through.
pub fn live_with(seed: u64, habits: Habits) -> Lived {
    let mut world = World {
        simulation: Simulation::new(seed, START),
        log: WatchedLog::default(),
        draw: Draw::of(seed, "world"),
        seed,
        habits,
        handlers: Handlers::default(),
        runs: Vec::new(),
    };
    let lives = 1 + world.draw.below(3);
    let mut crashes = 0;
    for _ in 1..lives {
        world.one_life();
        world.simulation.crash();
        crashes += 1;
    }
    world.last_life();
    world.simulation.crash();
    world.log.faults().checker(|checker| {
        let root = checker.verify();
        Lived {
            root,
            events: checker.events(),
            runs: checker.runs().len(),
            approvals: of_kind(checker, "approval.consumed"),
            nested: of_kind(checker, "step.composed"),
            redriven: of_kind(checker, "run.redriven"),
            crashes,
            findings: [checker.findings(), &broken_groups(checker.records())].concat(),
        }
    })
}

fn of_kind(checker: &super::checker::Checker, kind: &str) -> usize {
    let records = checker.records().iter();
    records.filter(|record| &*record.kind == kind).count()
}

impl World {
    fn find(&self, invariant: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.log
            .faults()
            .checker(|checker| checker.find(invariant, what));
    }

    /// A process that works for a while and then dies where it stands.
    fn one_life(&mut self) {
        self.log.faults().set(Disk::Works);
        let (parts, agent) = (self.parts(), self.agent(Hangs::Yes));
        let clock = Arc::clone(self.simulation.clock());
        let Self {
            simulation,
            draw,
            runs,
            habits,
            log,
            ..
        } = self;
        let mut liveness = Liveness::default();
        let lived = simulation.block_on(async {
            let mut desk = Desk {
                control: open(parts, &agent).await?,
                agent: agent(),
                draw,
                runs,
                habits: *habits,
                sessions: Vec::new(),
                shelf: Shelf::default(),
            };
            for _ in 0..4 + desk.draw.below(12) {
                desk.press().await;
                // Now and then nobody presses anything for a while: whatever moves then moves by itself.
                let pauses = if desk.draw.one_in(8) { 10 } else { 1 };
                for _ in 0..pauses {
                    let pause = Duration::from_millis(desk.draw.below(4_000));
                    clock
                        .sleep_until(clock.monotonic().saturating_add(pause))
                        .await;
                    let now = clock.monotonic();
                    log.faults().checker(|checker| {
                        desk.agent.handlers.look(checker, now);
                        liveness.look(checker, now);
                    });
                }
            }
            Ok::<_, mc_core::error::Error>(())
        });
        self.judge(lived);
    }

    fn judge(&self, lived: std::result::Result<Result<()>, mc_core::sim::Stalled>) {
        match lived {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.find("open", format!("{error:?}")),
            Err(stalled) => self.find("I7", stalled.to_string()),
        }
    }

    /// A process in which everything is cleared that a person can clear: every run ends.
    fn last_life(&mut self) {
        self.one_life();
        self.simulation.crash();
        self.log.faults().set(Disk::Works);
        let (parts, agent) = (self.parts(), self.agent(Hangs::No));
        let Self {
            simulation, runs, ..
        } = self;
        let lived = simulation.block_on(async {
            let control = open(parts, &agent).await?;
            raise_limits(&control).await?;
            for run in &*runs {
                bring_to_an_end(&control, &control.run(*run)).await?;
            }
            Ok(())
        });
        self.judge(lived);
        self.all_ended();
    }

    fn all_ended(&self) {
        let open: Vec<String> = self.log.faults().checker(|checker| {
            let runs = checker
                .runs()
                .values()
                .filter(|run| !run.status.is_terminal());
            runs.map(stands).collect()
        });
        for run in open {
            self.find("I7", format!("{run} never ended"));
        }
    }

    /// Makes this process's agents.
    fn agent(&self, hangs: Hangs) -> impl Fn() -> Scripted + use<> {
        let (seed, habits, log) = (self.seed, self.habits, self.log.clone());
        let (handlers, spawner) = (self.handlers.clone(), self.simulation.spawner());
        let clock = Arc::clone(self.simulation.clock());
        move || Scripted {
            seed,
            log: log.clone(),
            hangs,
            habits,
            handlers: handlers.clone(),
            spawner: Arc::clone(&spawner),
            clock: Arc::clone(&clock),
        }
    }

    fn parts(&self) -> Parts {
        Parts {
            log: Arc::new(self.log.clone()),
            clock: Arc::clone(self.simulation.clock()) as Arc<dyn Clock>,
            entropy: Arc::clone(self.simulation.entropy()) as _,
            spawner: self.simulation.spawner(),
            settings: Settings {
                resident_runs: 3,
                ..Settings::default()
            },
            auth_method: AuthMethod::Library,
            switch: None,
        }
    }
}

/// Where a run stands, in one line.
pub(super) fn stands(run: &Run) -> String {
    let step = |(key, step): (&StepKey, &Step)| {
        let block = step.block.as_ref();
        let block = block.map(|block| format!(" ({}: {})", block.reason, block.code));
        let live = step.live.map(|epoch| format!(", out since epoch {epoch}"));
        let (block, live) = (block.unwrap_or_default(), live.unwrap_or_default());
        format!("{key} {}{block}{live}", step.status.0)
    };
    let open = |(_, step): &(&StepKey, &Step)| !step.status.0.is_terminal();
    let steps: Vec<String> = run.steps.iter().filter(open).map(step).collect();
    let paused = run.paused.as_ref().map_or("", |_| ", paused");
    let (id, status) = (run.run_id, run.status);
    format!("run {id} [{status}{paused}; {}]", steps.join("; "))
}

async fn open(parts: Parts, agent: &impl Fn() -> Scripted) -> Result<MissionControl> {
    let control = Engine::open(parts).await?;
    for name in AGENTS {
        control.register_agent(name, agent()).await?;
    }
    control.start_dispatch().await?;
    Ok(control)
}

async fn raise_limits(control: &MissionControl) -> Result<()> {
    let rich = Limit::usd(NanoUsd::from_nano(1_000_000_000_000));
    control
        .set_limit(
            ("ann", "as drawn"),
            AccountId::Workspace,
            rich,
            OnExceed::Abort,
        )
        .await?;
    control
        .set_limit(("ann", "as drawn"), tag_account(), rich, OnExceed::Abort)
        .await?;
    for agent in AGENTS.iter().filter_map(|name| name.parse().ok()) {
        control
            .set_limit(
                ("ann", "as drawn"),
                AccountId::Agent(agent),
                rich,
                OnExceed::Abort,
            )
            .await?;
    }
    Ok(())
}

/// A run, and those nested in it that are not sealed.
async fn family(control: &MissionControl, run: &RunHandle) -> Result<Vec<RunHandle>> {
    let mut all = vec![run.clone()];
    let mut next = 0;
    while let Some(one) = all.get(next) {
        let nested: Vec<RunId> = one.state().await?.unsealed().collect();
        all.extend(nested.into_iter().map(|id| control.run(id)));
        next += 1;
    }
    Ok(all)
}

/// Clears what a person can clear; after a while the run is aborted, as a person would.
async fn bring_to_an_end(control: &MissionControl, run: &RunHandle) -> Result<()> {
    for _ in 0..8 {
        match run.settled_or_blocked().await? {
            Position::Ended(_) => return Ok(()),
            Position::Blocked { steps, .. } => {
                for one in family(control, run).await? {
                    for (hold, _) in one.doubts().await? {
                        drop(
                            one.reconcile("ann", &hold, Amount::ZERO, "not billed")
                                .await,
                        );
                    }
                    asking::clear(control, &one).await;
                }
                for step in steps {
                    let its = control.run(step.run);
                    drop(its.unblock(("ann", "as drawn"), &step.step).await);
                    drop(its.signal("ann", "go", json!(null)).await);
                }
                drop(run.resume(("ann", "as drawn")).await);
            }
        }
    }
    drop(run.abort(("ann", "as drawn")).await);
    run.outcome().await.map(drop)
}
