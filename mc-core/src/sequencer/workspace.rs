//! The workspace: all live state of one store, as the sequencer holds it.
//!
//! Runs that only wait are not in here; they are rows. What belongs to no run (breakers, versions,
//! settings) is, and so are the shared accounts and the queue for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::acting::Acting;
use super::circuits::Circuits;
use super::resident::Resident;
use crate::budget::{
    Account, AccountId, Amount, Books, BooksMut, Hold, Holders, Kept, OnReach, Owner, Path, Queue,
    Threshold, Ticket,
};
use crate::event::BlockReason;
use crate::event::run::{A_WEEK_MS, PauseReason, PlanCheck, RunPolicy};
use crate::id::{
    AgentName, AgentVersion, Digest, ModelId, Opaque, RunId, StepKey, WorkflowName, WorkspaceId,
};
use crate::policy::guard::{Detector, Redaction};
use crate::policy::{CutStreams, Mode, Policy, PriceAge};
use crate::ports::{KeyRow, WorkflowRow};
use crate::pricing::{PriceTable, UnknownModels};
use crate::resilience::{BreakerSettings, RetryBudgetSettings};
use crate::run::Run;
use crate::time::Timestamp;
use crate::workflow::{Definition, Uses, Workflow, composition};

use super::command::ReserveCall;
use super::family::Family;
use super::halt::{HaltScope, Halts};
use super::prices::Prices;
use super::token::Token;
use super::traffic::{CallsOut, Traffic};
use super::turns::Turns;

/// The bytes of ended runs that stay in memory by default: 64 MiB.
const ENDED_BYTES: u64 = 64 * 1024 * 1024;

/// Settings of an engine: plain data with defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's price table; what a store has imported or overridden lies over it.
    pub prices: Arc<PriceTable>,
    /// What happens to models without a price.
    pub unknown_models: UnknownModels,
    /// The largest age of the table's prices; none for any.
    pub price_age: Option<PriceAge>,
    /// What a stream counts as that was cut before its usage came.
    pub cut_streams: CutStreams,
    /// The breaker of each model.
    pub breaker: BreakerSettings,
    /// The retry budget of each model.
    pub retry_budget: RetryBudgetSettings,
    /// How new runs are treated.
    pub run_policy: RunPolicy,
    /// The shares of a shared account's limit that are told of when they are reached, once a period.
    pub thresholds: Vec<Threshold>,
    /// The most attempts of one run that are out at a time.
    pub max_live_per_run: usize,
    /// How long a retry of tier `write` or above waits for an abandoned attempt to end.
    pub zombie_grace: Duration,
    /// The most abandoned attempts of one agent that are still out; then it gets no new ones.
    pub max_abandoned_per_agent: usize,
    /// The most attempts of recovered runs that go out before one of them has ended; those of
    /// other runs do not count.
    pub recovery_wave: usize,
    /// How long an attempt of a recovered run may be out before another goes out in its stead; and how
    /// long those that had joined an earlier owner have to come back before probes are asked.
    pub recovery_patience: Duration,
    /// What is taken out of content before it is logged; none for nothing.
    pub redaction: Option<Redaction>,
    /// The detectors that rules of the kind `pii` ask, by their names.
    pub detectors: BTreeMap<Opaque, Arc<dyn Detector>>,
    /// The most runs that stay in memory although they have ended or only wait.
    pub resident_runs: usize,
    /// The most bytes, about, that the states of runs take in memory that have ended.
    pub ended_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prices: Arc::new(PriceTable::embedded().clone()),
            unknown_models: UnknownModels::default(),
            price_age: None,
            cut_streams: CutStreams::default(),
            breaker: BreakerSettings::default(),
            retry_budget: RetryBudgetSettings::default(),
            run_policy: RunPolicy {
                no_progress: Mode::Enforce,
                unattended: false,
                model_retry_max_elapsed_ms: 600_000,
                doubt_settle_after_ms: A_WEEK_MS,
                plan_check: PlanCheck::Strict,
            },
            thresholds: Threshold::DEFAULT.to_vec(),
            max_live_per_run: 256,
            zombie_grace: Duration::from_secs(30),
            max_abandoned_per_agent: 8,
            recovery_wave: 256,
            recovery_patience: Duration::from_secs(5),
            redaction: None,
            detectors: BTreeMap::new(),
            resident_runs: 10_000,
            ended_bytes: ENDED_BYTES,
        }
    }
}

/// Whether attempts go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// Not yet: the host has not asked for it.
    #[default]
    Held,
    /// Yes.
    On,
    /// No more: the process is going down.
    Draining,
}

/// What waits in the queue for money.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// A step that is to be dispatched.
    Step(RunId, StepKey),
    /// A model call of a live attempt, with its whole worst case.
    Call(Token, Arc<ReserveCall>, Amount),
}

impl Waiting {
    /// The run.
    pub const fn run_id(&self) -> RunId {
        match self {
            Self::Step(run_id, _) => *run_id,
            Self::Call(token, ..) => token.run_id,
        }
    }
}

/// The state of what belongs to no run, as its row keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Breakers and retry budgets.
    pub circuits: Circuits,
    /// What rules and rates count over time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub traffic: Traffic,
    /// The price table that was last in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_version: Option<Digest>,
    /// What is halted, but for runs.
    #[serde(default, skip_serializing_if = "Halts::is_empty")]
    pub halts: Halts,
    /// The policy in force; its content stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyHead>,
    /// The event `prices.loaded` of that table, where it is made of layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_layers_at: Option<u64>,
}

fn is_default(traffic: &Traffic) -> bool {
    *traffic == Traffic::default()
}

/// The policy in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyHead {
    /// Its version, from 1.
    pub version: u32,
    /// Its hash.
    pub hash: Digest,
    /// The event that published it; its content is part 0.
    pub seq: u64,
}

/// Published versions of one workflow.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// The versions.
    pub rows: BTreeMap<u32, WorkflowRow>,
    /// The one that new runs take.
    pub active: Option<u32>,
}

/// All live state of one store.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The owner's epoch.
    pub epoch: u64,
    /// What belongs to no run.
    pub shared: Shared,
    /// The shared accounts.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Those of them that are frozen.
    pub frozen: BTreeSet<AccountId>,
    /// Published workflows.
    pub workflows: BTreeMap<WorkflowName, Versions>,
    /// Compiled definitions by hash.
    pub compiled: BTreeMap<Digest, Arc<Workflow>>,
    /// The policy in force; the default one where none was published.
    pub policy: Policy,
    /// Runs in memory.
    pub runs: BTreeMap<RunId, Resident>,
    /// The accounts of those that have others nested in them.
    pub family: Family,
    /// The calls that are out.
    pub calls_out: CallsOut,
    /// Who waits for a rate.
    pub turns: Turns,
    /// Who waits for money.
    pub queue: Queue,
    /// What each of them is.
    pub waiting: BTreeMap<Ticket, Waiting>,
    /// The ticket of the next one that waits.
    pub next_ticket: Ticket,
    /// Abandoned attempts that are still out, by agent.
    pub abandoned: BTreeMap<AgentName, BTreeSet<(RunId, StepKey, u32)>>,
    /// When runs go on by themselves.
    pub wakes: BTreeMap<RunId, Timestamp>,
    /// Steps that only money in doubt, or a paused account, holds up.
    pub budget_blocked: BTreeSet<(RunId, StepKey)>,
    /// Runs that are paused until an account has room.
    pub budget_paused: BTreeSet<RunId>,
    /// Halts whose deadline is to come, or has come while nobody looked.
    pub draining: BTreeMap<HaltScope, Timestamp>,
    /// Agents that are registered here, each with its version where its host names one.
    pub agents: BTreeMap<AgentName, Option<AgentVersion>>,
    /// Sessions of which a joined process has the block in hand.
    pub lent: BTreeSet<RunId>,
    /// Handlers of earlier owners' attempts that may still act.
    pub acting: Acting,
    /// Idempotency keys used lately.
    pub keys: RecentKeys,
    /// Whether attempts go out.
    pub dispatch: Dispatch,
    /// What the prices in force are made of, and the tables before them.
    pub prices: Prices,
    /// Settings; their prices are those in force.
    pub settings: Settings,
}

/// Idempotency keys of the last starts, so that a look-up that ran ahead of them is not trusted.
#[derive(Clone, Debug, Default)]
pub struct RecentKeys {
    keys: BTreeMap<(WorkflowName, Arc<str>), (u64, KeyRow)>,
    /// Look-ups at a head below this are too old to be trusted.
    pub floor: u64,
}

/// The most recent keys that are kept.
const RECENT_KEYS: usize = 65_536;

impl RecentKeys {
    /// Remembers nothing yet; look-ups below `floor` are too old.
    pub fn from(floor: u64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// The start that used a key.
    pub fn find(&self, workflow: &WorkflowName, key: &str) -> Option<&KeyRow> {
        self.keys
            .get(&(workflow.clone(), Arc::from(key)))
            .map(|(_, row)| row)
    }

    /// Remembers a key that the event `seq` used.
    pub fn remember(&mut self, row: KeyRow, seq: u64) {
        self.keys
            .insert((row.workflow.clone(), Arc::clone(&row.key)), (seq, row));
        if self.keys.len() > RECENT_KEYS {
            let mut seqs: Vec<u64> = self.keys.values().map(|(seq, _)| *seq).collect();
            seqs.sort_unstable();
            self.floor = seqs.get(RECENT_KEYS / 2).copied().unwrap_or(seq) + 1;
            let floor = self.floor;
            self.keys.retain(|_, (seq, _)| *seq >= floor);
        }
    }
}

/// A run's accounts and the shared ones as one.
#[derive(Debug)]
pub struct AllBooks<'a> {
    /// The shared accounts.
    pub shared: &'a BTreeMap<AccountId, Account>,
    /// Those of runs with others nested in them.
    pub family: &'a Family,
    /// The run whose accounts are meant.
    pub run: &'a Run,
}

impl Books for AllBooks<'_> {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        let family = self.family.account(id);
        family
            .or_else(|| self.shared.get(id))
            .or_else(|| self.run.accounts.get(id))
    }
}

/// Every account in memory.
#[derive(Debug)]
pub(super) struct ResidentBooks<'a>(pub(super) &'a Workspace);

impl Books for ResidentBooks<'_> {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        match id {
            AccountId::Run(run) | AccountId::Step(run, _) => {
                let family = self.0.family.account(id);
                family.or_else(|| self.0.runs.get(run)?.run.accounts.get(id))
            }
            AccountId::Workspace
            | AccountId::Workflow(_)
            | AccountId::Agent(_)
            | AccountId::Tag(_) => self.0.accounts.get(id),
        }
    }
}

impl BooksMut for Workspace {
    fn put(&mut self, id: &AccountId, account: Account) {
        self.accounts.insert(id.clone(), account);
    }
}

impl composition::Known for Workspace {
    fn definition(&self, uses: &Uses) -> Option<&Definition> {
        Self::definition(self, uses)
    }
}

impl Books for Workspace {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }
}

impl Workspace {
    /// A run in memory.
    ///
    /// # Errors
    /// `NotFound`: it is not in memory, so the caller has to page it in first or it does not exist.
    pub fn resident(&self, run: RunId) -> crate::error::Result<&Resident> {
        self.runs
            .get(&run)
            .ok_or_else(|| crate::error::Error::not_found("run", run))
    }

    /// The definition of a published version.
    pub fn definition(&self, uses: &Uses) -> Option<&Definition> {
        let row = self
            .workflows
            .get(&uses.workflow)?
            .rows
            .get(&uses.version)?;
        let workflow = self.compiled.get(&row.hash)?;
        Some(workflow.definition())
    }

    /// What happens to models without a price: the policy's word, else the host's.
    pub fn unknown_models(&self) -> &UnknownModels {
        let own = &self.settings.unknown_models;
        self.policy.unknown_models().unwrap_or(own)
    }

    /// The shares of an account's limit that are told of: the policy's word, else the host's.
    pub fn thresholds_of(&self, account: &AccountId) -> &[Threshold] {
        let own = self.policy.budgets().get(account);
        let own = own.and_then(|rule| rule.thresholds.as_ref());
        own.unwrap_or(&self.settings.thresholds)
    }

    /// Whether any threshold means something for further calls.
    pub fn has_lasting_thresholds(&self) -> bool {
        let rules = self.policy.budgets().values();
        let own = rules.filter_map(|rule| rule.thresholds.as_ref()).flatten();
        let mut all = own.chain(&self.settings.thresholds);
        all.any(|one| match one.then {
            OnReach::Tell | OnReach::Freeze => false,
            OnReach::Downgrade(_) | OnReach::RequireApproval => true,
        })
    }

    /// What the thresholds that were reached mean for a call that counts in these accounts: the first
    /// account of which a person has to be asked with its share, and the model that is suggested.
    pub fn standing(&self, path: &Path) -> (Option<(&AccountId, u8)>, Option<&ModelId>) {
        let (mut asks, mut suggests) = (None, None);
        for id in path {
            let Some((id, account)) = self.accounts.get_key_value(id) else {
                continue;
            };
            let standing = account.standing(self.thresholds_of(id));
            // A limit that is only looked at holds nobody up.
            let holds = account.mode().is_enforced();
            asks = asks.or_else(|| Some((id, standing.asks.filter(|_| holds)?)));
            suggests = suggests.or(standing.suggests);
        }
        (asks, suggests)
    }

    /// What follows where a run's calls make no progress, and the version of the policy that says so:
    /// the policy's word, else what the run was started with.
    pub fn no_progress(&self, run: &RunPolicy) -> (Mode, u32) {
        let version = self.shared.policy.map_or(0, |head| head.version);
        match self.policy.no_progress() {
            Some(mode) => (mode, version),
            None => (run.no_progress, 0),
        }
    }

    /// Takes over which of these accounts are frozen.
    pub(super) fn note_frozen<'a>(&mut self, accounts: impl IntoIterator<Item = &'a AccountId>) {
        for id in accounts {
            if self.accounts.get(id).is_some_and(Account::is_frozen) {
                self.frozen.insert(id.clone());
            } else {
                self.frozen.remove(id);
            }
        }
    }

    /// Whether nobody waits for room in an account.
    pub fn nobody_waits_for_room(&self) -> bool {
        self.queue.is_empty() && self.budget_blocked.is_empty() && self.budget_paused.is_empty()
    }

    /// Takes over whether a run is paused until an account has room.
    pub(super) fn note_pause(&mut self, run: RunId) {
        let paused = |resident: &Resident| {
            let open = !resident.run.status.is_terminal();
            open && matches!(resident.run.paused, Some(PauseReason::Budget { .. }))
        };
        if self.runs.get(&run).is_some_and(paused) {
            self.budget_paused.insert(run);
        } else {
            self.budget_paused.remove(&run);
        }
    }

    /// The version of an agent that is registered here, where its host names one.
    pub fn version_of(&self, agent: &AgentName) -> Option<&AgentVersion> {
        self.agents.get(agent)?.as_ref()
    }

    /// The table that a call was reserved by; the one in force, where that is not known any more.
    pub fn prices_of(&self, version: Digest) -> &PriceTable {
        let known = self.prices.known.get(&version);
        known.unwrap_or(&self.settings.prices)
    }

    /// Abandoned attempts of an agent that are still out.
    pub fn abandoned_of(&self, agent: &AgentName) -> usize {
        self.abandoned.get(agent).map_or(0, BTreeSet::len)
    }

    /// The earliest time at which something in memory goes on by itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let turns = self.turns.values().filter_map(|turn| turn.until);
        self.wakes.values().copied().chain(turns).min()
    }
}

impl ResidentBooks<'_> {
    /// What no call has drawn of a hold, each part in the accounts in which it counts now.
    fn kept_of(&self, owner: &Owner, hold: &Hold) -> Vec<Kept> {
        let counts = |id: &AccountId, at: Timestamp| {
            self.account(id).is_none_or(|account| account.counts(at))
        };
        let parts = hold.free_shares().list().iter().map(|share| Kept {
            owner: owner.clone(),
            path: hold
                .path()
                .iter()
                .filter(|id| counts(id, share.at))
                .cloned()
                .collect(),
            amount: share.amount,
        });
        parts.collect()
    }
}

impl Holders for ResidentBooks<'_> {
    fn kept(&self, owner: &Owner) -> Vec<Kept> {
        let Some(resident) = self.0.runs.get(&owner.run) else {
            return Vec::new();
        };
        // What a call has drawn is let go when that call ends, which waits for nobody.
        let own = resident.run.holds.iter().filter(|(key, hold)| {
            key.step == owner.step && key.ordinal.is_none() && !hold.is_in_doubt()
        });
        own.flat_map(|(_, hold)| self.kept_of(owner, hold))
            .collect()
    }

    fn is_blocked(&self, owner: &Owner) -> bool {
        let step = |resident: &Resident| {
            let step = resident.run.step(&owner.step);
            let block = step.and_then(|step| step.block.as_ref());
            block.is_some_and(|block| block.reason != BlockReason::Circuit)
        };
        self.0.runs.get(&owner.run).is_some_and(step)
    }
}
