//! What a host holds: opens the engine, registers agents, publishes, starts and asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::{Notify, broadcast, watch};

use super::agent::AgentExecutor;
use super::budget::Budget;
use super::calls::unexpected;
use super::content;
use super::driver::Driver;
use super::halt::By;
use super::inner::{Inner, Live, Phase, lock};
use super::options::{StartOptions, operator};
use super::port::{Peek, Peeked};
use super::registry::Offers;
use super::registry::Registry;
use super::restart::idle_scribe;
use super::run_handle::RunHandle;
use super::session::{Session, SessionOptions};
use super::spawner::Spawner;
use super::status::{Counters, Health, Metrics};
use super::steady_clock::SteadyClock;
use super::sync::Mutex;
use crate::budget::{Account, AccountId, Amount, Limit, OnExceed};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Actor, AgentName, AgentVersion, AuthMethod, Digest, RunId, WorkflowName};
use crate::ports::{Clock, Entropy, EventLog, HaltSwitch, Page, Recovered, RunQuery, RunSummary};
use crate::sequencer::{Activate, Activation, Publish, Reply, Request, Settings, Start, StartKey};
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// Notices that a subscriber may be behind before it is told that it lags.
const NOTICES: usize = 1_024;

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub entropy: Arc<dyn Entropy>,
    /// Where tasks run.
    pub spawner: Arc<dyn Spawner>,
    /// Settings.
    pub settings: Settings,
    /// How callers of this process are known.
    pub auth_method: AuthMethod,
    /// What halts everything from beside the store; none where nothing does.
    pub switch: Option<Arc<dyn HaltSwitch>>,
}

/// Opens engines.
#[derive(Clone, Copy, Debug)]
pub struct Engine;

/// The control over a store and its runs. Cloning is cheap; all clones are one.
#[derive(Clone, Debug)]
pub struct MissionControl {
    pub(super) inner: Arc<Inner>,
}

/// A version of a workflow that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version.
    pub version: u32,
    /// The hash of its definition.
    pub hash: Digest,
}

impl Engine {
    /// Takes the log over, reads its state back, and starts to commit; attempts go out only after
    /// [`MissionControl::start_dispatch`].
    ///
    /// # Errors
    /// `Unavailable` (another owner, disk full), `Corrupt`.
    pub async fn open(parts: Parts) -> Result<MissionControl> {
        let found = parts.log.acquire().await?;
        let (inner, driving) = Inner::of(parts, found.last_ts, Phase::Recovering);
        Driver::start(inner.clone(), &found, driving).await?;
        Ok(MissionControl { inner })
    }

    /// As [`Self::open`], for a log whose earlier owners other processes may have joined, and that they
    /// can join now: what is in doubt is asked about once they have had the time to come back.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_joinable(parts: Parts) -> Result<MissionControl> {
        let found = parts.log.acquire().await?;
        let (inner, driving) = Inner::of(parts, found.last_ts, Phase::Recovering);
        inner.expect_joiners();
        Driver::start(inner.clone(), &found, driving).await?;
        inner.wait_for_joiners();
        Ok(MissionControl { inner })
    }
}

impl Inner {
    /// A shared account as this process has it in memory; that of a run with others nested in it is
    /// their sum.
    pub(super) fn account_here(&self, id: &AccountId) -> Option<Account> {
        let live = lock(&self.live);
        let workspace = live.sequencer.as_ref()?.workspace();
        let summed = workspace.family.account(id);
        summed.or_else(|| workspace.accounts.get(id)).cloned()
    }

    /// What all handles of an engine share, and what is to be dropped with its driver.
    pub(super) fn of(
        parts: Parts,
        last: Option<Timestamp>,
        phase: Phase,
    ) -> (Arc<Self>, watch::Sender<()>) {
        let (wall, monotonic) = (parts.clock.now(), parts.clock.monotonic());
        let steady = SteadyClock::starting(wall, last, monotonic);
        let (driving, until_gone) = watch::channel(());
        let inner = Arc::new(Self {
            log: parts.log,
            clock: parts.clock,
            steady: Mutex::new(steady),
            entropy: parts.entropy,
            spawner: parts.spawner,
            settings: parts.settings,
            auth_method: parts.auth_method,
            switch: parts.switch,
            switch_turn: Mutex::new(()),
            live: Mutex::new(Live {
                phase,
                sequencer: None,
                leaving: false,
            }),
            bell: Notify::new(),
            turned: Notify::new(),
            agents: Registry::default(),
            attempts: Mutex::new(BTreeMap::new()),
            acting: Mutex::default(),
            joiners_until: Mutex::default(),
            watchers: Mutex::new(BTreeMap::new()),
            news: broadcast::channel(NOTICES).0,
            untold: Mutex::new(Vec::new()),
            warned: Mutex::new(BTreeSet::new()),
            counters: Counters::default(),
            blocks: Mutex::new(BTreeMap::new()),
            drives: AtomicBool::new(false),
            dispatches: AtomicBool::new(false),
            driving: until_gone,
            handling: watch::channel(()).0,
            letting_go: watch::channel(false).0,
        });
        (inner, driving)
    }
}

impl Driver {
    /// Takes up what was found in a log that was acquired, and begins to drive.
    pub(super) async fn start(
        inner: Arc<Inner>,
        found: &Recovered,
        driving: watch::Sender<()>,
    ) -> Result<()> {
        let scribe = idle_scribe(&inner);
        let mut driver = Self {
            inner: Arc::clone(&inner),
            lease: found.lease,
            scribe,
            parked_due: None,
            defects: Vec::new(),
            offers: Offers::default(),
            driving,
        };
        driver.take_up(found, BTreeMap::new()).await?;
        inner.drives.store(true, Ordering::Release);
        inner.go_up();
        inner.spawner.spawn_driver(Box::pin(driver.run()));
        Ok(())
    }
}

impl MissionControl {
    /// Registers an agent, or another in its place; steps that waited for it go on.
    ///
    /// # Errors
    /// `InvalidInput` for what is not a name, or a version that is not one; `Unavailable` while the
    /// store refuses: it may be registered all the same, and may be registered again.
    pub async fn register_agent(&self, name: &str, agent: impl AgentExecutor) -> Result<()> {
        self.inner.register(name, Arc::new(agent)).await
    }

    /// The agents that are registered here, each with its version where it names one.
    pub fn agents(&self) -> BTreeMap<AgentName, Option<AgentVersion>> {
        self.inner.agents.all()
    }

    /// Stores a workflow and lets new runs take it; the same definition keeps its version.
    ///
    /// # Errors
    /// `Unavailable` while the store refuses.
    pub async fn publish(&self, workflow: Workflow) -> Result<Published> {
        self.publish_as(Actor::System, workflow, Activation::Now)
            .await
    }

    /// Stores a workflow by an operator's word, activated or not.
    ///
    /// # Errors
    /// `InvalidInput`, `Unavailable` while the store refuses.
    pub async fn publish_by(
        &self,
        by: &str,
        workflow: Workflow,
        activation: Activation,
    ) -> Result<Published> {
        self.publish_as(Actor::Operator(operator(by)?), workflow, activation)
            .await
    }

    async fn publish_as(
        &self,
        actor: Actor,
        workflow: Workflow,
        activation: Activation,
    ) -> Result<Published> {
        self.warn_of_unknown_agents(&workflow);
        let publish = Publish {
            workflow: Arc::new(workflow),
            activation,
        };
        published(self.inner.submit(actor, Request::Publish(publish)).await?)
    }

    fn warn_of_unknown_agents(&self, workflow: &Workflow) {
        if self.inner.joined().is_some() {
            // Others may have them.
            return;
        }
        let agents = self.inner.agents.all();
        for (name, step) in workflow.definition().steps() {
            if let Some(agent) = step.agent().filter(|agent| !agents.contains_key(*agent)) {
                tracing::warn!(step = %name, %agent, "the agent is not registered yet");
            }
        }
    }

    /// Lets new runs take a version; going back is activating an older one.
    ///
    /// # Errors
    /// `NotFound`, `InvalidInput`.
    pub async fn activate(&self, by: &str, workflow: &str, version: u32) -> Result<Published> {
        let workflow = workflow_name(workflow)?;
        let request = Request::Activate(Activate { workflow, version });
        published(
            self.inner
                .submit(Actor::Operator(operator(by)?), request)
                .await?,
        )
    }

    /// Begins to dispatch: open runs go on, new ones start.
    ///
    /// # Errors
    /// `Unavailable` while the store refuses.
    pub async fn start_dispatch(&self) -> Result<()> {
        self.inner.dispatches.store(true, Ordering::Relaxed);
        self.switch_hand().obey();
        self.inner
            .submit(Actor::System, Request::StartDispatch)
            .await
            .map(drop)
    }

    /// Starts a run, or finds the one that the idempotency key started before.
    ///
    /// # Errors
    /// `NotFound`, `InvalidInput`, `InvalidWorkflow` (an agent is not registered), `Conflict` (the
    /// key belongs to another request), `Unavailable`.
    pub async fn start(
        &self,
        workflow: &str,
        input: Value,
        options: StartOptions,
    ) -> Result<RunHandle> {
        let workflow = workflow_name(workflow)?;
        let checked = options.check()?;
        let input = content::checked("input", input)?;
        let mut start = Start {
            run_id: RunId::from_bytes(self.inner.new_id()),
            workflow,
            version: options.version,
            input: Arc::new(input),
            budget: options.budget,
            policy: options
                .policy
                .unwrap_or_else(|| self.inner.settings.run_policy.clone()),
            labels: checked.labels,
            tags: checked.tags,
            correlation_id: checked.correlation_id,
            key: None,
        };
        let actor = Actor::Operator(checked.operator);
        loop {
            if let Some(key) = &checked.idempotency_key {
                let (known, head) = self
                    .inner
                    .log
                    .run_by_key(&start.workflow, key.as_str())
                    .await?;
                let looked_up_at = head.next_seq;
                start.key = Some(StartKey {
                    key: key.clone(),
                    known,
                    looked_up_at,
                });
            }
            let request = Request::Start(Box::new(start.clone()));
            match self.inner.submit(actor.clone(), request).await {
                Ok(Reply::Run(run_id)) => return Ok(self.run(run_id)),
                Ok(Reply::Refused(error)) => return Err(super::tools::again(&error)),
                Ok(other) => return Err(unexpected(&other)),
                // Many starts passed between look-up and decision: look again.
                Err(e) if e.kind() == ErrorKind::Conflict && e.detail().is_none() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A handle on a run, whether it exists or not.
    pub fn run(&self, run_id: RunId) -> RunHandle {
        RunHandle {
            inner: Arc::clone(&self.inner),
            run_id,
        }
    }

    /// Opens a session: guarded calls in the name of an agent, without a workflow.
    ///
    /// # Errors
    /// `InvalidInput`, `Unavailable`.
    pub async fn guard(&self, agent: &str, options: SessionOptions) -> Result<Session> {
        self.inner.open_session(agent, options).await
    }

    /// Changes an account's limit.
    ///
    /// # Errors
    /// `InvalidInput`, for an order without a reason too; `NotFound` for the account of a run that does not exist, `InvalidTransition`
    /// for that of a run that has ended.
    pub async fn set_limit(
        &self,
        by: impl Into<By<'_>>,
        account: AccountId,
        limit: Limit,
        on_exceed: OnExceed,
    ) -> Result<()> {
        let budget = Budget::of(account).limit(limit).on_exceed(on_exceed);
        self.set_budget(by, budget).await
    }

    /// A shared account as it stands in memory: workspace, workflow or agent.
    ///
    /// Where another process owns the log, it is asked, and the caller's thread waits for the answer.
    pub fn account(&self, id: &AccountId) -> Option<Account> {
        if let Some(owner) = self.inner.joined() {
            return match owner.port.peek(Peek::Account(id.clone())) {
                Some(Peeked::Account(account)) => account.map(|one| *one),
                Some(_) | None => None,
            };
        }
        self.inner.account_here(id)
    }

    /// The most by which a shared account can end above its limit if what is out now is billed as
    /// badly as the worst outcome so far. Zero while providers keep to output limits and prices.
    pub fn worst_case_overshoot(&self, id: &AccountId) -> Amount {
        let account = self.account(id);
        account.map_or(Amount::ZERO, |account| account.worst_case_overshoot())
    }

    /// Runs that match, newest first.
    ///
    /// # Errors
    /// `InvalidInput` for a cursor or page size that is not one.
    pub async fn runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        self.inner.log.query_runs(query).await
    }

    /// The log, to read.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.inner.log
    }

    /// Whether the engine works.
    pub fn health(&self) -> Health {
        self.inner.health()
    }

    /// Counts and sizes.
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics()
    }
}

fn workflow_name(name: &str) -> Result<WorkflowName> {
    WorkflowName::new(name).map_err(|fault| Error::invalid("workflow", fault))
}

fn published(reply: Reply) -> Result<Published> {
    let Reply::Published {
        workflow,
        version,
        hash,
    } = reply
    else {
        return Err(unexpected(&reply));
    };
    Ok(Published {
        workflow,
        version,
        hash,
    })
}
