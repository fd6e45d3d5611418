//! The checker: folds every event of every commit on its own and holds the engine against it.
//!
//! | invariant | how |
//! |---|---|
//! | I1 state == fold(log) | each row's bytes against the checker's own fold |
//! | I2 dense, in time, chained | `audit::Verifier` over the whole log, tiles and frontier too |
//! | I3 columns add up | every account against the holds and bills of the log (`holds`), rows against postings; no reservation passes a limit |
//! | I4 joins and holds | the needs of a dispatched step, by its definition; its hold covers its estimate, and is in the log when its handler begins; what asks goes out with its approval, used up in the same commit, and is never done again without a word (`deeds`) |
//! | I5 terminal is terminal | the transition tables refuse anything else but a redrive: of a failed run alone, of no step that completed and cannot be undone, and no other step moves by it (`redrives`) |
//! | I6 one live token a step | a dispatch while an attempt is live is refused by the fold |
//! | I8 durable before it acts | whoever gets a reply looks for its event in the log: agents for their dispatch and their holds, operators for what they did |
//! | I9 one workspace | every batch names the same one |
//! | I11 nested runs | after every commit a run and those nested in it agree (`nesting`) |
//!
//! `handlers` adds a rule: a live step of the log has a handler in this process, of this epoch.
//! I7 (every run can move) is in `liveness`, while a world goes on, and in `world`, which brings every run
//! to its end.
//! I9 is of one workspace a file: there is no other whose events could be seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mc_core::audit::{Frontier, Scope, Verifier};
use mc_core::budget::{Account, AccountId, Books, BooksMut, Hold, Movement, post_at};
use mc_core::event::step::StepDispatched;
use mc_core::event::{EventKind, Record, StepStatus};
use mc_core::id::{Digest, RunId, StepKey, StepName, WorkspaceId};
use mc_core::ports::Batch;
use mc_core::pricing::{CallBound, PriceTable, reserve_bound};
use mc_core::run::postings::{self, Posting};
use mc_core::run::{HoldKey, Run, RunEvent, read_event};
use mc_core::workflow::{Join, Workflow};

use super::deeds::{Deeds, Seen};
use super::holds::{self, Holds};
use super::{nesting, redrives};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant, e.g. `I3`.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Folds a log and compares.
#[derive(Debug)]
pub struct Checker {
    workspace: Option<WorkspaceId>,
    runs: BTreeMap<RunId, Run>,
    shared: BTreeMap<AccountId, Account>,
    holds: Holds,
    deeds: Deeds,
    workflows: BTreeMap<Digest, Arc<Workflow>>,
    records: Vec<Record>,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
    tiles: BTreeMap<u64, Digest>,
    frontier: Option<Arc<[u8]>>,
    prices: PriceTable,
    findings: Vec<Finding>,
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            workspace: None,
            runs: BTreeMap::new(),
            shared: BTreeMap::new(),
            holds: Holds::default(),
            deeds: Deeds::default(),
            workflows: BTreeMap::new(),
            records: Vec::new(),
            blobs: BTreeMap::new(),
            tiles: BTreeMap::new(),
            frontier: None,
            prices: PriceTable::embedded().clone(),
            findings: Vec::new(),
        }
    }
}

/// The shared accounts; a run's own are its own.
struct Shared<'a>(&'a mut BTreeMap<AccountId, Account>);

impl Books for Shared<'_> {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.0.get(id)
    }
}

impl BooksMut for Shared<'_> {
    fn put(&mut self, id: &AccountId, account: Account) {
        self.0.insert(id.clone(), account);
    }
}

impl Checker {
    /// What was found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The runs as the checker folded them.
    pub const fn runs(&self) -> &BTreeMap<RunId, Run> {
        &self.runs
    }

    /// The shared accounts as the checker added them up.
    pub const fn accounts(&self) -> &BTreeMap<AccountId, Account> {
        &self.shared
    }

    /// The published definitions by hash.
    pub const fn workflows(&self) -> &BTreeMap<Digest, Arc<Workflow>> {
        &self.workflows
    }

    /// The epoch of the last event.
    pub fn epoch(&self) -> u64 {
        self.records.last().map_or(0, |record| record.epoch)
    }

    /// I8: what was acknowledged is in the log.
    pub fn acknowledged(&mut self, what: &str, is_in_the_log: impl FnOnce(&Self) -> bool) {
        if !is_in_the_log(self) {
            self.find(
                "I8",
                format!("{what} was acknowledged and is not in the log"),
            );
        }
    }

    /// Whether the money of an attempt's call is held durably: by a hold of its own, or by the
    /// escrow or block that it draws from. An attempt that was ended meanwhile needs none.
    pub fn holds(&self, run: RunId, step: &StepKey, attempt: u32) -> bool {
        let Some(run) = self.runs.get(&run) else {
            return false;
        };
        let live = |step: &mc_core::run::Step| step.live.is_some() && step.attempt == attempt;
        let covers = |(key, hold): (&HoldKey, &Hold)| {
            key.step == *step && key.attempt == attempt && hold.amount().calls > 0
        };
        !run.step(step).is_some_and(live) || run.holds.iter().any(covers)
    }

    /// Whether the hold that an attempt was dispatched with is in the log, if it has one.
    pub fn has_escrow(&self, run: RunId, step: &StepKey, attempt: u32) -> bool {
        let dispatched = self.records.iter().rev().find_map(|record| {
            if record.run_id != run {
                return None;
            }
            match read_event(record) {
                Ok(EventKind::StepDispatched(facts))
                    if facts.step == *step && facts.attempt == attempt =>
                {
                    Some(facts.hold)
                }
                _ => None,
            }
        });
        let run = self.runs.get(&run);
        let live = run
            .and_then(|run| run.step(step))
            .is_some_and(|step| step.live.is_some() && step.attempt == attempt);
        let key = HoldKey::escrow(step.clone(), attempt);
        let held = run.and_then(|run| run.holds.get(&key)).map(Hold::amount);
        match dispatched {
            None => false,
            // One that was ended meanwhile needs none.
            Some(asked) => !live || asked.is_zero() || held.is_some(),
        }
    }

    /// Every event.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many events there are.
    pub fn events(&self) -> usize {
        self.records.len()
    }

    /// Adds a finding that somebody else made.
    pub fn find(&mut self, invariant: &'static str, what: impl Into<String>) {
        self.findings.push(Finding {
            invariant,
            what: what.into(),
        });
    }

    /// Takes a batch that was written.
    pub fn batch(&mut self, batch: &Batch) {
        let workspace = batch.workspace.workspace_id;
        if *self.workspace.get_or_insert(workspace) != workspace {
            self.find("I9", "a batch names another workspace");
        }
        for row in &batch.workflows {
            if let Ok(workflow) = Workflow::from_canonical(&row.definition) {
                self.workflows.insert(row.hash, Arc::new(workflow));
            }
        }
        self.blobs
            .extend(batch.blobs.iter().map(|b| (b.digest, Arc::clone(&b.bytes))));
        self.tiles.extend(batch.tiles.iter().copied());
        self.frontier = Some(Arc::clone(&batch.workspace.frontier));
        for record in &batch.records {
            self.record(record);
        }
        self.rows(batch);
        self.add_up();
        let told = self.findings.iter().any(|found| found.invariant == "I11");
        for what in nesting::disagreements(&self.runs) {
            if !told {
                self.find("I11", what);
            }
        }
    }

    /// I3: each account shows what the holds and bills of the log add up to, and nothing else does.
    fn add_up(&mut self) {
        // What is wrong once stays wrong: the first time tells it.
        if self.findings.iter().any(|found| found.invariant == "I3") {
            return;
        }
        let mut expected = self.holds.columns();
        let shared = self.shared.iter();
        let shared = shared.map(|(id, account)| (id.clone(), holds::shown(account)));
        let mut wrong = Vec::new();
        for (id, shown) in shared.chain(nesting::columns(&self.runs)) {
            let expected = expected.remove(&id).unwrap_or_default();
            if shown != expected {
                wrong.push(format!(
                    "{id} shows {shown:?}, and the log has {expected:?}"
                ));
            }
        }
        wrong.extend(expected.keys().map(|id| format!("{id} does not exist")));
        for what in wrong {
            self.find("I3", what);
        }
    }

    fn record(&mut self, record: &Record) {
        if let Err(what) = self.fold(record) {
            let place = format!("seq {} {}: {what}", record.seq, record.kind);
            self.find("I1", place);
        }
        self.records.push(record.clone());
    }

    fn fold(&mut self, record: &Record) -> Result<(), String> {
        let kind = read_event(record).map_err(|e| format!("{e:?}"))?;
        if record.run_id == RunId::ZERO {
            if let EventKind::PolicyPublished(_) = &kind {
                self.deeds.policy(record)?;
            }
            if let EventKind::BudgetWindowOpened(facts) = &kind {
                self.holds.window(facts);
            }
            for Posting { path, at, movement } in postings::of_account(&kind) {
                post_at(&mut Shared(&mut self.shared), &path, at, &movement)
                    .map_err(|e| e.to_string())?;
            }
            return Ok(());
        }
        let event = RunEvent::of(record, &kind);
        if let Err(what) = self.holds.event(record.run_id, &kind, record.ts) {
            self.find("I3", what);
        }
        if let Err(what) = self.asked(record, &kind) {
            self.find("I4", what);
        }
        if let EventKind::RunRedriven(facts) = &kind
            && let Some(what) = self
                .runs
                .get(&record.run_id)
                .and_then(|run| redrives::wrong(run, facts))
        {
            self.find("I5", what);
        }
        if let EventKind::StepDispatched(facts) = &kind {
            self.joined(record.run_id, facts)?;
            if let Err(what) = self.covered(record, facts) {
                self.find("I4", what);
            }
        }
        let Some(run) = self.runs.get_mut(&record.run_id) else {
            let run = Run::create(record.run_id, &event).map_err(|e| format!("{e:?}"))?;
            self.runs.insert(record.run_id, run);
            return Ok(());
        };
        // Only an operator's word opens a sealed run again.
        if run.sealed && !matches!(kind, EventKind::RunRedriven(_)) {
            return Err("an event behind the seal".to_owned());
        }
        let postings = run.apply(&event).map_err(|e| format!("{e:?}"))?;
        for posting in postings {
            let shared = posting.shared();
            let books = &mut Shared(&mut self.shared);
            post_at(books, &shared, posting.at, &posting.movement).map_err(|e| e.to_string())?;
            if matches!(posting.movement, Movement::Reserve(_)) {
                self.within_limits(record.run_id, &posting.path);
            }
        }
        Ok(())
    }

    /// I3: what was just admitted left every account within its limit.
    fn within_limits(&mut self, run: RunId, path: &mc_core::budget::Path) {
        let nested = self.runs.get(&run).is_some_and(|run| run.outer().is_some());
        let holds_others = self
            .runs
            .get(&run)
            .is_some_and(|run| !run.nested.is_empty());
        let sums = if nested || holds_others {
            nesting::columns(&self.runs)
        } else {
            BTreeMap::new()
        };
        let over: Vec<String> = path
            .iter()
            .filter(|id| {
                let own = id.run().and_then(|run| self.runs.get(&run));
                let account = own.map_or(&self.shared, |run| &run.accounts).get(*id);
                let with_nested = |account| {
                    let columns = sums.get(*id);
                    columns.is_some_and(|columns| nesting::is_over(account, *columns))
                };
                account.is_some_and(|one| one.is_breached() || with_nested(one))
            })
            .map(ToString::to_string)
            .collect();
        for account in over {
            self.find(
                "I3",
                format!("a reservation was admitted over the limit of {account}"),
            );
        }
    }

    /// I4: everything that the step needs lets it go.
    fn joined(&self, run: RunId, facts: &StepDispatched) -> Result<(), String> {
        let Some(run) = self.runs.get(&run) else {
            return Err("no run".to_owned());
        };
        let workflow = run
            .created
            .definition_hash
            .and_then(|hash| self.workflows.get(&hash));
        let Some(step) = workflow.and_then(|w| w.definition().step(facts.step.name())) else {
            return Ok(());
        };
        let status = |need: &StepName| run.step_status(&StepKey::of(need));
        let met = match step.join {
            Join::All => step.needs.iter().all(|need| status(need).is_terminal()),
            Join::AtLeast(n) => {
                let done = step
                    .needs
                    .iter()
                    .filter(|need| status(need) == StepStatus::Completed);
                done.count() >= usize::try_from(n).unwrap_or(usize::MAX)
            }
        };
        if met {
            Ok(())
        } else {
            Err(format!("I4: `{}` went out before its join", facts.step))
        }
    }

    /// I4: what cannot be undone was asked of a person, and is not done twice.
    fn asked(&mut self, record: &Record, kind: &EventKind) -> Result<(), String> {
        let run = self.runs.get(&record.run_id);
        let hash = run.and_then(|run| run.created.definition_hash);
        let workflow = hash.and_then(|hash| self.workflows.get(&hash));
        let name = kind.step().map(StepKey::name);
        let step = workflow
            .zip(name)
            .and_then(|(w, name)| w.definition().step(name));
        let seen = Seen {
            record,
            before: self.records.last(),
            run,
            step,
        };
        self.deeds.look(kind, &seen)
    }

    /// Whether a tool call of an attempt is in the log.
    pub fn has_called(&self, run: RunId, step: &StepKey, attempt: u32, tool: &str) -> bool {
        self.records.iter().rev().any(|record| {
            let of_run = record.run_id == run && &*record.kind == "tool_call.dispatched";
            of_run
                && matches!(read_event(record), Ok(EventKind::ToolCallDispatched(facts))
                    if facts.step == *step && facts.attempt == attempt && facts.tool.as_str() == tool)
        })
    }

    /// I4: the hold that goes into the log with the dispatch covers the step's estimate.
    fn covered(&self, record: &Record, facts: &StepDispatched) -> Result<(), String> {
        let run = self.runs.get(&record.run_id);
        let hash = run.and_then(|run| run.created.definition_hash);
        let workflow = hash.and_then(|hash| self.workflows.get(&hash));
        let step = workflow.and_then(|w| w.definition().step(facts.step.name()));
        let Some(estimate) = step.and_then(|step| step.estimate.as_ref()) else {
            return Ok(());
        };
        let price = self
            .prices
            .find(&estimate.model, record.ts)
            .ok_or("an estimate without a price went out")?;
        let call = CallBound {
            input_tokens: Some(estimate.input_tokens),
            max_output_tokens: Some(estimate.max_output_tokens),
            ..CallBound::default()
        };
        let bound = reserve_bound(price, &call).map_err(|fault| fault.to_string())?;
        let calls = i64::try_from(estimate.calls).unwrap_or(i64::MAX);
        let worst = bound.money.as_nano().saturating_mul(calls);
        if facts.hold.money.as_nano() >= worst && facts.hold.calls >= estimate.calls {
            Ok(())
        } else {
            Err(format!(
                "`{}` went out with less than its estimate held",
                facts.step
            ))
        }
    }

    fn rows(&mut self, batch: &Batch) {
        for row in &batch.runs {
            let id = row.summary.run_id;
            let folded = self.runs.get(&id).and_then(|run| run.encode().ok());
            if folded.as_deref() != Some(&*row.state) {
                self.find(
                    "I1",
                    format!("the row of run {id} is not the fold of its events"),
                );
            }
        }
        for row in &batch.accounts {
            let id: Option<AccountId> = row.account.parse().ok();
            let account = id
                .and_then(|id| self.shared.get(&id).cloned())
                .unwrap_or_default();
            if serde_json::to_vec(&account).ok().as_deref() != Some(&*row.state) {
                self.find(
                    "I3",
                    format!("{} is not what the events posted to it", row.account),
                );
            }
        }
    }

    /// I2 over the whole log; the root of its tree.
    pub fn verify(&mut self) -> Digest {
        let Some(workspace) = self.workspace else {
            return Digest::ZERO;
        };
        let mut verifier = Verifier::new(workspace, Scope::Workspace);
        let blobs = |_: RunId, digest: &Digest| self.blobs.get(digest).cloned();
        for record in &self.records {
            verifier.record(record, &blobs);
            if let Some(tile) = verifier.completed_tile() {
                verifier.tile_root(self.tiles.get(&tile));
            }
        }
        let stored = self
            .frontier
            .as_deref()
            .and_then(|bytes| Frontier::decode(bytes).ok());
        if let Some(frontier) = &stored {
            verifier.frontier(frontier);
        }
        let report = verifier.finish();
        if let Some(fault) = &report.first_bad {
            self.find("I2", format!("the log does not verify: {fault:?}"));
        }
        stored.map_or(Digest::ZERO, |frontier| frontier.root())
    }
}
