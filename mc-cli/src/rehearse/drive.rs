//! Drives recorded runs through the engine, on one thread and in virtual time.
//!
//! Each run starts when the clock shows the time at which it was recorded; runs that overlapped
//! then overlap again. The clock jumps from one moment at which something is due to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mc_agents::recorded::{AGENT, RecordedAgent, RecordedRun, WORKFLOW};
use mission_control::core::id::AuthMethod;
use mission_control::core::ports::{Clock, Entropy, EventLog};
use mission_control::core::sim::{SeededEntropy, Simulation, Stalled};
use mission_control::store::{RedbLog, RedbOptions, Threads};
use mission_control::{
    Builder, Detail, Error, ErrorKind, Limit, MissionControl, Mode, ModelId, OnExceed, OsEntropy,
    Position, PriceTable, Result, Run, RunBudget, RunHandle, RunId, RunPolicy, Settings,
    StartOptions, StepKey, Timestamp, UnknownModels, WorkflowName,
};

use super::options::{RehearseOptions, UnknownIds};
use super::tally::{Rehearsed, Tally};

/// The longest that a refused call waits: a day of virtual time.
const MODEL_RETRY_MAX_ELAPSED_MS: u64 = 24 * 3_600_000;

/// The default operator: the login name.
pub fn operator_name() -> String {
    let name = |key| std::env::var(key).ok().filter(|name| !name.is_empty());
    name("USER")
        .or_else(|| name("LOGNAME"))
        .unwrap_or_else(|| "rehearse".to_owned())
}

/// The key under which a recorded run is started once.
pub(super) fn start_key(run: &RecordedRun) -> String {
    format!("rehearse/{}", run.id)
}

struct Stage {
    options: RehearseOptions,
    runs: Arc<[RecordedRun]>,
    log: Arc<dyn EventLog>,
    settings: Settings,
    /// Runs that a rule of the policy did not let start, with that rule.
    refused: Mutex<BTreeMap<String, String>>,
}

/// A file without a run.
pub(crate) fn nothing() -> Error {
    Error::invalid("file", "there is no run in it")
}

/// Opens or makes a store for a rehearsal: all on one thread.
pub(crate) fn open(db: &Path) -> Result<RedbLog> {
    let options = RedbOptions {
        threads: Threads::Inline,
        ..RedbOptions::default()
    };
    options.open(db)
}

/// Re-enacts the runs and reads from the log what came of them.
pub(crate) fn drive(
    options: &RehearseOptions,
    mut runs: Vec<RecordedRun>,
    log: RedbLog,
) -> Result<Tally> {
    let first = runs.iter().map(|run| run.started).min();
    let first = first.ok_or_else(nothing)?;
    runs.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    let log: Arc<dyn EventLog> = Arc::new(log);
    let settings = settings(options, &runs);
    let stage = Stage {
        options: options.clone(),
        runs: runs.into(),
        log,
        settings,
        refused: Mutex::default(),
    };
    let (next_seq, last) = futures_now(end_of(stage.log.as_ref()))?;
    // Time never goes back in a log: a second rehearsal begins where the first stopped.
    let world = Simulation::new(
        seed(options, next_seq),
        last.map_or(first, |last| last.max(first)),
    );
    let entropy: Arc<dyn Entropy> = match options.seed {
        Some(_) => Arc::clone(world.entropy()) as Arc<dyn Entropy>,
        None => Arc::new(OsEntropy),
    };
    let performed = world.block_on(stage.perform(&world, entropy));
    // The engine's tasks hold its log: they are dropped with whatever still waits.
    world.settle();
    world.crash();
    // Where nothing could move any more the log says which runs did not end.
    performed.unwrap_or_else(|Stalled| Ok(()))?;
    futures_now(stage.tally())
}

/// The log works inside each call: its futures are ready at once, and no time passes.
fn futures_now<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    Simulation::new(0, Timestamp::EPOCH)
        .block_on(future)
        .unwrap_or_else(|stalled| {
            Err(Error::internal("the log did not answer").with_source(stalled))
        })
}

async fn end_of(log: &dyn EventLog) -> Result<(u64, Option<Timestamp>)> {
    let next = log.head().await?.next_seq;
    let last = log.read_workspace(next.saturating_sub(1), 1).await?;
    Ok((next, last.first().map(|record| record.ts)))
}

/// A resumed rehearsal draws other ids than the first, whatever the seed.
fn seed(options: &RehearseOptions, next_seq: u64) -> u64 {
    let mut bytes = [0; 8];
    match options.seed {
        Some(seed) => SeededEntropy::new(seed.wrapping_add(next_seq)).fill(&mut bytes),
        None => OsEntropy.fill(&mut bytes),
    }
    u64::from_be_bytes(bytes)
}

fn settings(options: &RehearseOptions, runs: &[RecordedRun]) -> Settings {
    let prices = PriceTable::embedded();
    let models = runs
        .iter()
        .flat_map(|run| &run.calls)
        .map(|call| &call.model);
    let unknown: BTreeSet<ModelId> = models.filter(|id| !prices.has(id)).cloned().collect();
    Settings {
        unknown_models: match options.unknown_ids {
            UnknownIds::Deny => UnknownModels::Deny,
            UnknownIds::ListAsFree => UnknownModels::Free(unknown),
        },
        run_policy: RunPolicy {
            no_progress: Mode::Observe,
            unattended: true,
            model_retry_max_elapsed_ms: MODEL_RETRY_MAX_ELAPSED_MS,
            ..Settings::default().run_policy
        },
        ..Settings::default()
    }
}

impl Stage {
    async fn perform(&self, world: &Simulation, entropy: Arc<dyn Entropy>) -> Result<()> {
        let control = Builder::new()
            .with_settings(self.settings.clone())
            .with_clock(Arc::clone(world.clock()) as Arc<dyn Clock>)
            .with_entropy(entropy)
            .with_spawner(world.spawner())
            .with_auth_method(AuthMethod::Cli)
            .open_log(Arc::clone(&self.log))
            .await?;
        let mut agent =
            RecordedAgent::new(Arc::clone(&self.runs)).with_refusals(self.refusals().await?);
        if let Some(progress) = &self.options.progress {
            agent = agent.with_observer(Arc::clone(progress));
        }
        if let Some(policy) = &self.options.policy {
            let by = &self.options.operator;
            control.publish_policy(by, policy.clone()).await?;
        }
        control.register_agent(AGENT, agent).await?;
        control.start_dispatch().await?;
        let mut handles = Vec::new();
        for run in self.runs.iter() {
            let start = run.started.since(world.clock().now());
            let clock = world.clock();
            clock
                .sleep_until(clock.monotonic().saturating_add(start))
                .await;
            handles.extend(self.begin(&control, run).await?);
        }
        for handle in &handles {
            match handle.settled_or_blocked().await? {
                // What blocks a run that nobody attends stays; the log says so.
                Position::Ended(_) | Position::Blocked { .. } => {}
            }
        }
        control.shutdown(Duration::ZERO).await
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a run, or notes which rule does not let it start.
    async fn begin(
        &self,
        control: &MissionControl,
        run: &RecordedRun,
    ) -> Result<Option<RunHandle>> {
        match self.start(control, run).await {
            Ok(handle) => Ok(Some(handle)),
            Err(error) => {
                let Some(Detail::Rule { rule, .. }) = error.detail() else {
                    return Err(error);
                };
                self.refused().insert(run.id.clone(), rule.clone());
                Ok(None)
            }
        }
    }

    async fn start(&self, control: &MissionControl, run: &RecordedRun) -> Result<RunHandle> {
        let published = control.publish(run.workflow()?).await?;
        let options = StartOptions {
            version: Some(published.version),
            budget: self.budget(run),
            idempotency_key: Some(start_key(run)),
            labels: self.labels(run),
            ..StartOptions::by(&self.options.operator)
        };
        let labels = options.labels.clone();
        let handle = control.start(WORKFLOW, run.input(), options).await?;
        let state = handle.state().await?;
        let same = state
            .created
            .labels
            .iter()
            .map(|(key, value)| (key.as_str(), &**value));
        if same.eq(labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())))
        {
            return Ok(handle);
        }
        let message = "these runs were rehearsed here with other options; take another store";
        Err(Error::new(ErrorKind::Conflict, message).with_context("run", handle.id()))
    }

    fn budget(&self, run: &RecordedRun) -> Option<RunBudget> {
        let fraction = self.options.budget_fraction?;
        let cost = run.cost(&self.settings.prices, &self.settings.unknown_models);
        (cost.as_nano() > 0).then(|| RunBudget {
            limit: Limit::usd(fraction.of(cost)),
            on_exceed: OnExceed::Abort,
        })
    }

    /// What finds a rehearsed run, and what another rehearsal of it has to agree with.
    fn labels(&self, run: &RecordedRun) -> BTreeMap<String, String> {
        let fraction = self.options.budget_fraction;
        let fraction = fraction.map_or_else(|| "none".to_owned(), |f| f.to_string());
        let unknown = self.options.unknown_ids.as_str().to_owned();
        let mut labels = BTreeMap::from([
            ("budget_fraction".to_owned(), fraction),
            ("recorded_run".to_owned(), run.id.clone()),
            ("unknown_models".to_owned(), unknown),
        ]);
        if let Some(policy) = &self.options.policy {
            labels.insert("policy".to_owned(), policy.hash().to_string());
        }
        labels
    }

    /// How often the provider refused calls in an earlier process: it does not begin anew.
    async fn refusals(&self) -> Result<BTreeMap<(RunId, StepKey, u32), u32>> {
        let mut refused = BTreeMap::new();
        for (_, state) in self.found().await? {
            let Some(run) = state else { continue };
            for (key, step) in &run.steps {
                for (ordinal, call) in &step.calls {
                    let times = call.refused.map_or(0, |refused| refused.times);
                    refused.insert((run.run_id, key.clone(), *ordinal), times);
                }
            }
        }
        Ok(refused)
    }

    /// Each recorded run with the state of the run that re-enacts it, if it was started.
    async fn found(&self) -> Result<Vec<(&RecordedRun, Option<Run>)>> {
        let workflow = WorkflowName::new(WORKFLOW).map_err(|f| Error::invalid("workflow", f))?;
        let mut found = Vec::new();
        for run in self.runs.iter() {
            let (row, _) = self.log.run_by_key(&workflow, &start_key(run)).await?;
            let state = match row {
                Some(row) => self.log.run_row(row.run_id).await?,
                None => None,
            };
            let state = state.map(|row| Run::decode(&row.state)).transpose()?;
            found.push((run, state));
        }
        Ok(found)
    }

    async fn tally(&self) -> Result<Tally> {
        let found = self.found().await?;
        let refused = self.refused().clone();
        let runs = found.into_iter().map(|(run, state)| Rehearsed {
            recorded: run.id.clone(),
            project: run.project.clone(),
            refused_by: refused.get(&run.id).cloned(),
            run_id: state.map(|state| state.run_id),
        });
        let mut tally = Tally::read(self.log.as_ref(), runs.collect()).await?;
        tally.judged = self.options.policy.is_some();
        Ok(tally)
    }
}
