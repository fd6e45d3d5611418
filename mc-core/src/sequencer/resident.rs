//! A resident run: its state with what decisions need beside it.
//!
//! What is beside the state follows from it and from the log's content, and is loaded again when
//! the run is paged in: the definition, the input, the outputs that steps may still look at, and
//! the list of steps to look at next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::item_outputs::ItemOutputs;
use crate::budget::Hold;
use crate::error::{Error, Result};
use crate::event::{EventKind, PartRef, StepStatus};
use crate::id::{Digest, StepKey, StepName};
use crate::ports::RunRow;
use crate::run::{Call, HoldKey, Run, Step};
use crate::time::Timestamp;
use crate::workflow::Workflow;

/// A run in memory.
#[derive(Clone, Debug)]
pub struct Resident {
    /// The state.
    pub run: Arc<Run>,
    /// The workflow that it is pinned to; none for a session.
    pub workflow: Option<Arc<Workflow>>,
    /// Whether the content that decisions need is here.
    pub whole: bool,
    /// Its input.
    pub input: Arc<Value>,
    /// Outputs by step; null for one that the run goes on without.
    pub outputs: BTreeMap<StepName, Arc<Value>>,
    /// The items of `for_each` steps that are under way.
    pub items: BTreeMap<StepName, Arc<Vec<Value>>>,
    /// Their outputs so far.
    pub item_outputs: BTreeMap<StepName, ItemOutputs>,
    /// Steps and items to look at next.
    pub ready: BTreeSet<StepKey>,
    /// Steps and items that the run's cap on attempts holds up.
    pub held_up: BTreeSet<StepKey>,
    /// Steps of the definition that have not ended.
    pub open: BTreeSet<StepName>,
    /// Steps and items with an attempt out.
    pub live: BTreeSet<StepKey>,
    /// Composed steps and items whose nested run is under way.
    pub composing: BTreeSet<StepKey>,
    /// When steps and items go on by themselves.
    pub wakes: BTreeMap<StepKey, Timestamp>,
    /// A step that failed for good and was not tolerated.
    pub failed: Option<StepKey>,
    /// The event that a hold last grew by: a call inside it may go out once that is durable.
    pub hold_seq: BTreeMap<HoldKey, u64>,
    /// The dispatch of each attempt that is out: until that is durable, nobody has begun it.
    pub sent: BTreeMap<StepKey, u64>,
    /// The hash of the run's last durable event, and the `run_seq` behind it.
    pub chain: (Digest, u64),
    /// The last event that is not durable yet, or zero.
    pub last_seq: u64,
}

/// The content that a run needs in memory, by where it stands in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The input.
    pub input: Option<PartRef>,
    /// Outputs of steps.
    pub outputs: BTreeMap<StepName, PartRef>,
    /// Lists of items.
    pub items: BTreeMap<StepName, PartRef>,
    /// Outputs of items.
    pub item_outputs: BTreeMap<(StepName, u32), PartRef>,
}

/// The content that was wanted.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// By where it stands in the log.
    pub values: BTreeMap<PartRef, Arc<Value>>,
}

impl Wanted {
    /// What a run needs.
    pub fn of(run: &Run) -> Self {
        // Nothing is decided from the content of a run that has ended.
        if run.status.is_terminal() {
            return Self::default();
        }
        Self::whole(run)
    }

    /// Everything that decisions about a run may need, also where it has ended and is to go on.
    pub fn whole(run: &Run) -> Self {
        let mut wanted = Self {
            input: Some(run.input),
            ..Self::default()
        };
        for (key, step) in &run.steps {
            let Ok(name) = StepName::new(key.name()) else {
                continue;
            };
            if let (Some(_), None, Some(input)) = (step.expansion, step.output, step.input) {
                wanted.items.insert(name.clone(), input);
            }
            if let Some(output) = step.output {
                match key.index() {
                    Some(index) => drop(wanted.item_outputs.insert((name, index), output)),
                    None => drop(wanted.outputs.insert(name, output)),
                }
            }
        }
        // Outputs of items are in the output of the step once that is there.
        let Self {
            outputs,
            item_outputs,
            ..
        } = &mut wanted;
        item_outputs.retain(|(name, _), _| !outputs.contains_key(name));
        wanted
    }

    /// Every place.
    pub fn places(&self) -> BTreeSet<PartRef> {
        self.input
            .iter()
            .chain(self.outputs.values())
            .chain(self.items.values())
            .chain(self.item_outputs.values())
            .copied()
            .collect()
    }
}

impl Loaded {
    fn take(&self, place: PartRef) -> Result<Arc<Value>> {
        let found = self.values.get(&place).cloned();
        found.ok_or_else(|| Error::corrupt("content", Some(place.seq)))
    }
}

impl Resident {
    /// A run that has just been created.
    pub fn new(run: Run, workflow: Option<Arc<Workflow>>, input: Arc<Value>) -> Self {
        let chain = (
            crate::audit::run_genesis(run.run_id, run.created.definition_hash.as_ref()),
            0,
        );
        let definition = workflow.as_ref().map(|workflow| workflow.definition());
        let ready = definition
            .iter()
            .flat_map(|d| d.roots().map(StepKey::of))
            .collect();
        let open = definition
            .iter()
            .flat_map(|d| d.steps().keys().cloned())
            .collect();
        Self {
            open,
            whole: true,
            held_up: BTreeSet::new(),
            live: BTreeSet::new(),
            composing: BTreeSet::new(),
            wakes: BTreeMap::new(),
            failed: None,
            run: Arc::new(run),
            workflow,
            input,
            outputs: BTreeMap::new(),
            items: BTreeMap::new(),
            item_outputs: BTreeMap::new(),
            ready,
            hold_seq: BTreeMap::new(),
            sent: BTreeMap::new(),
            chain,
            last_seq: 0,
        }
    }

    /// A run that is paged in: its row, and the content that [`Wanted::of`] names.
    ///
    /// # Errors
    /// `Corrupt` where the row cannot be read or content is missing.
    pub fn load(
        run: Run,
        row: &RunRow,
        workflow: Option<Arc<Workflow>>,
        loaded: &Loaded,
    ) -> Result<Self> {
        let wanted = Wanted::of(&run);
        let input = wanted.input.map(|place| loaded.take(place)).transpose()?;
        let mut this = Self::new(run, workflow, input.unwrap_or_default());
        this.chain = (row.chain_head, row.next_run_seq);
        this.whole = !this.run.status.is_terminal();
        this.take_content(&wanted, loaded)?;
        this.derive();
        // It was at rest when it left memory; what recovers it looks at all of it.
        this.ready.clear();
        Ok(this)
    }

    /// Takes the content back that it let go when it ended, so that it can go on.
    ///
    /// # Errors
    /// `Corrupt` where content is missing.
    pub fn restore(&mut self, loaded: &Loaded) -> Result<()> {
        let wanted = Wanted::whole(&self.run);
        let input = wanted.input.map(|place| loaded.take(place)).transpose()?;
        self.input = input.unwrap_or_default();
        self.take_content(&wanted, loaded)?;
        self.whole = true;
        Ok(())
    }

    fn take_content(&mut self, wanted: &Wanted, loaded: &Loaded) -> Result<()> {
        for (name, place) in &wanted.outputs {
            self.outputs.insert(name.clone(), loaded.take(*place)?);
        }
        for (name, place) in &wanted.items {
            let list = loaded.take(*place)?;
            let list = list.as_array().cloned().unwrap_or_default();
            self.items.insert(name.clone(), Arc::new(list));
        }
        for ((name, index), place) in &wanted.item_outputs {
            let output = loaded.take(*place)?;
            self.item_outputs
                .entry(name.clone())
                .or_default()
                .put(*index, output, None);
        }
        self.fill_absent();
        Ok(())
    }

    /// Follows a redrive: what ended is open again.
    fn redriven(&mut self) {
        let run = Arc::clone(&self.run);
        self.failed = None;
        let definition = self.workflow.as_ref().map(|workflow| workflow.definition());
        let steps = definition.iter().flat_map(|d| d.steps().keys());
        let open = steps.filter(|name| !run.status_of(name).is_terminal());
        self.open = open.cloned().collect();
        let ended = |name: &StepName| run.status_of(name).is_terminal();
        self.outputs.retain(|name, _| ended(name));
        let under_way = |name: &StepName| {
            let step = run.step(&StepKey::of(name));
            step.is_some_and(|step| step.expansion.is_some() && !step.status.0.is_terminal())
        };
        self.items.retain(|name, _| under_way(name));
        self.item_outputs.retain(|name, _| under_way(name));
        for (name, outputs) in &mut self.item_outputs {
            outputs.retain(|index| {
                let item = run.step(&StepKey::item(name, index));
                item.is_some_and(|item| item.status.0.is_terminal())
            });
        }
        self.held_up.clear();
        for key in run.steps.keys() {
            self.note(key);
        }
        self.look_at_all();
    }

    /// Lets the content go that decisions needed: the run has ended, and the log has it all. What
    /// the run gives stays at hand for whoever waits for it.
    pub fn drop_content(&mut self) {
        self.whole = false;
        self.input = Arc::default();
        self.items = BTreeMap::new();
        self.item_outputs = BTreeMap::new();
        match &self.workflow {
            None => self.outputs.clear(),
            Some(workflow) => {
                let after = workflow.definition().dependents();
                let is_last = |name: &StepName| after.get(name).is_some_and(Vec::is_empty);
                self.outputs.retain(|name, _| is_last(name));
            }
        }
    }

    /// About how many bytes the state takes in memory.
    pub fn weight(&self) -> u64 {
        let steps = self.run.steps.len() * size_of::<Step>();
        let calls: usize = self.run.steps.values().map(|step| step.calls.len()).sum();
        let holds = self.run.holds.len() * (size_of::<HoldKey>() + size_of::<Hold>());
        let labels = self.run.created.labels.iter();
        let labels: usize = labels
            .map(|(key, value)| key.as_str().len() + value.len())
            .sum();
        let outputs: usize = self.outputs.values().map(|value| bytes_of(value)).sum();
        let all = size_of::<Run>() + steps + calls * size_of::<Call>() + holds + labels + outputs;
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    /// A need that was skipped, or that failed and was tolerated, counts as null.
    fn fill_absent(&mut self) {
        let run = Arc::clone(&self.run);
        for (key, step) in &run.steps {
            let Ok(name) = StepName::new(key.name()) else {
                continue;
            };
            if step.status.0.is_terminal() && step.output.is_none() {
                match key.index() {
                    None => drop(self.outputs.entry(name).or_default()),
                    Some(index) => self.item_outputs.entry(name).or_default().fill(index),
                }
            }
        }
    }

    /// What follows from the state alone.
    fn derive(&mut self) {
        let run = Arc::clone(&self.run);
        for (key, step) in &run.steps {
            self.note(key);
            let name = StepName::new(key.name())
                .ok()
                .filter(|_| key.index().is_none());
            if let Some(name) = name.filter(|_| step.status.0.is_terminal()) {
                self.open.remove(&name);
            }
            if step.status.0 == StepStatus::Failed && !step.tolerated && key.index().is_none() {
                self.failed = Some(key.clone());
            }
        }
    }

    /// How many attempts and nested runs are out.
    pub fn out(&self) -> usize {
        self.live.len() + self.composing.len()
    }

    /// Takes over whether a step is out, and when it goes on by itself.
    fn note(&mut self, key: &StepKey) {
        let step = self.run.steps.get(key);
        if step.is_some_and(|step| step.live.is_some()) {
            self.live.insert(key.clone());
        } else {
            self.live.remove(key);
        }
        if step.is_some_and(|step| step.composing().is_some()) {
            self.composing.insert(key.clone());
        } else {
            self.composing.remove(key);
        }
        match step.and_then(|step| step.wake_at) {
            Some(at) => drop(self.wakes.insert(key.clone(), at)),
            None => drop(self.wakes.remove(key)),
        }
    }

    /// Every step and item that waits is to be looked at.
    pub fn look_at_all(&mut self) {
        self.ready.extend(self.open.iter().map(StepKey::of));
        let waiting = self
            .run
            .steps
            .iter()
            .filter(|(_, s)| s.status.0 == StepStatus::Waiting);
        self.ready.extend(waiting.map(|(key, _)| key.clone()));
    }

    /// The earliest time at which something goes on by itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let moves = !self.run.status.is_terminal() && self.run.paused.is_none();
        let wakes = self.wakes.values().filter(|_| moves).copied();
        let doubts = self.run.doubts_until().map(|(_, until)| until);
        let approvals = self.run.approvals_until();
        wakes.chain(doubts).chain(approvals).min()
    }

    /// Follows an event that the run has just applied, with the value in its content and how many
    /// bytes that takes.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other kinds move nothing that is derived here"
    )]
    pub fn follow(&mut self, kind: &EventKind, seq: u64, value: Option<(Arc<Value>, usize)>) {
        self.last_seq = seq;
        if let Some(key) = kind.step() {
            self.note(key);
        }
        match kind {
            EventKind::StepCompleted(f) => self.ended(&f.step, value),
            EventKind::StepFailed(f) => {
                if !f.tolerated && f.step.index().is_none() {
                    self.failed = Some(f.step.clone());
                }
                self.ended(&f.step, None);
            }
            EventKind::StepSkipped(f) => self.ended(&f.step, None),
            EventKind::StepCancelled(f) => self.ended(&f.step, None),
            EventKind::StepExpanded(f) => {
                if let (Some(name), Some((list, _))) = (StepName::new(f.step.name()).ok(), value) {
                    let list = list.as_array().cloned().unwrap_or_default();
                    self.items.insert(name, Arc::new(list));
                }
                self.look_at(&f.step);
            }
            EventKind::StepComposed(f) => self.look_at_parent(&f.step),
            EventKind::AttemptFailed(f) => self.look_at(&f.step),
            EventKind::AttemptAbandoned(f) => self.look_at(&f.step),
            EventKind::AttemptInterrupted(f) => self.look_at(&f.step),
            EventKind::AttemptEnded(f) => self.look_at(&f.step),
            EventKind::ResultLate(f) if f.ordinal.is_none() => self.look_at(&f.step),
            EventKind::StepUnblocked(f) => self.look_at(&f.step),
            EventKind::StepResolved(f) => self.look_at(&f.step),
            EventKind::ApprovalVoided(f) => self.look_at(&f.step),
            EventKind::StepSuspended(f) => self.look_at(&f.step),
            EventKind::RunResumed(_) => self.look_at_all(),
            EventKind::RunRedriven(_) => self.redriven(),
            EventKind::StepDispatched(f) => {
                self.hold_seq
                    .insert(HoldKey::escrow(f.step.clone(), f.attempt), seq);
                self.sent.insert(f.step.clone(), seq);
                self.look_at_parent(&f.step);
            }
            EventKind::ModelCallReserved(f) if !f.extended.is_zero() => {
                self.hold_seq
                    .insert(HoldKey::escrow(f.step.clone(), f.attempt), seq);
            }
            _ => {}
        }
        let live = &self.live;
        self.hold_seq.retain(|key, _| live.contains(&key.step));
        self.sent.retain(|key, _| live.contains(key));
    }

    /// Whether the attempt of a step is still to be handed out: its dispatch is not durable.
    pub fn is_unsent(&self, key: &StepKey, durable: u64) -> bool {
        self.sent.get(key).is_some_and(|seq| *seq >= durable)
    }

    fn look_at(&mut self, key: &StepKey) {
        self.ready.insert(key.clone());
        self.look_at_parent(key);
    }

    fn look_at_parent(&mut self, key: &StepKey) {
        let name = key.index().and_then(|_| StepName::new(key.name()).ok());
        self.ready.extend(name.iter().map(StepKey::of));
    }

    fn ended(&mut self, key: &StepKey, output: Option<(Arc<Value>, usize)>) {
        let Ok(name) = StepName::new(key.name()) else {
            return;
        };
        let (output, bytes) = output.unzip();
        let output = output.unwrap_or_default();
        if let Some(index) = key.index() {
            let outputs = self.item_outputs.entry(name).or_default();
            outputs.put(index, output, bytes);
            self.look_at_parent(key);
            return;
        }
        self.open.remove(&name);
        self.items.remove(&name);
        self.item_outputs.remove(&name);
        self.outputs.insert(name.clone(), output);
        if let Some(workflow) = &self.workflow {
            let after = workflow.definition().dependents().get(&name);
            self.ready
                .extend(after.into_iter().flatten().map(StepKey::of));
        }
    }

    /// Whether every step of the definition has ended.
    pub fn all_ended(&self) -> bool {
        self.open.is_empty()
    }

    /// The outputs of the steps that no other step needs.
    pub fn results(&self) -> BTreeMap<StepName, Arc<Value>> {
        let Some(workflow) = &self.workflow else {
            return BTreeMap::new();
        };
        let last = |name: &&StepName| {
            workflow
                .definition()
                .dependents()
                .get(*name)
                .is_none_or(Vec::is_empty)
                && self.run.status_of(name) == StepStatus::Completed
        };
        let names = workflow.definition().steps().keys().filter(last);
        names
            .filter_map(|n| self.outputs.get(n).map(|v| (n.clone(), Arc::clone(v))))
            .collect()
    }
}

/// About how many bytes a value takes in memory.
fn bytes_of(value: &Value) -> usize {
    let inside: usize = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| size_of::<String>() + name.len() + bytes_of(value))
            .sum(),
    };
    size_of::<Value>() + inside
}
