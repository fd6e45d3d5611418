//! The holds of a log, kept from its facts alone, and what every account has to show for them.
//!
//! An account's reserved money is the sum of the open holds whose path it is on, its money in doubt
//! that of the holds in doubt, and what it spent is the sum of what was billed there. None of it
//! goes through the engine's own holds and postings: a fault in those shows as a difference.

use std::collections::{BTreeMap, BTreeSet};

use mc_core::budget::{Account, AccountId, Amount, Period};
use mc_core::event::EventKind;
use mc_core::event::budget::BudgetWindowOpened;
use mc_core::event::run::Subject;
use mc_core::id::{AgentName, RunId, StepKey, StepName, WorkflowName};
use mc_core::time::Timestamp;

/// A hold: run, step, attempt, and the call where it is one's own.
type Name = (RunId, StepKey, u32, Option<u32>);

/// What was reserved at one time.
type Part = (Timestamp, Amount);

/// Spent, reserved and in doubt.
type Columns = [Amount; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Reserved,
    InDoubt,
}

#[derive(Clone, Debug)]
struct Held {
    path: BTreeSet<AccountId>,
    /// When what is left was reserved, in the order in which it is taken.
    parts: Vec<Part>,
    /// What calls have drawn of it.
    drawn: BTreeMap<u32, Vec<Part>>,
    column: Column,
}

impl Held {
    fn amount(&self) -> Amount {
        let all = self.drawn.values().flatten().chain(&self.parts);
        all.fold(Amount::ZERO, |sum, (_, part)| sum.saturating_add(part))
    }

    /// Everything that is left.
    fn all(&self) -> Vec<Part> {
        let all = self.drawn.values().flatten().chain(&self.parts);
        all.copied().collect()
    }

    /// A call ends: what it drew is taken before the rest from now on.
    fn undraw(&mut self, call: Option<u32>) {
        let own = call.and_then(|call| self.drawn.remove(&call));
        self.parts.splice(0..0, own.unwrap_or_default());
    }

    /// Takes an amount, what stands first before the rest; none where it has less.
    fn take(&mut self, amount: Amount) -> Option<Vec<Part>> {
        let mut left = amount;
        let mut taken = Vec::new();
        for (at, part) in &mut self.parts {
            let some = part.min(&left);
            (*part, left) = (part.checked_sub(&some)?, left.checked_sub(&some)?);
            taken.push((*at, some));
        }
        taken.retain(|(_, part)| !part.is_zero());
        self.parts.retain(|(_, part)| !part.is_zero());
        left.is_zero().then_some(taken)
    }
}

/// The periods of an account with a window.
#[derive(Clone, Debug, Default)]
struct Begun {
    /// The end of each, by its start.
    ends: BTreeMap<Timestamp, Timestamp>,
    /// Those that ended until then count no more.
    counts_after: Timestamp,
}

impl Begun {
    fn counts(&self, at: Timestamp) -> bool {
        let end = self.ends.range(..=at).next_back();
        end.is_some_and(|(_, end)| *end > self.counts_after)
    }
}

/// The holds of all runs.
#[derive(Debug, Default)]
pub(super) struct Holds {
    workflows: BTreeMap<RunId, WorkflowName>,
    /// The accounts of the runs around a run, and those of its tags.
    around: BTreeMap<RunId, BTreeSet<AccountId>>,
    /// The agent and the attempt of each step.
    steps: BTreeMap<(RunId, StepKey), (AgentName, u32)>,
    open: BTreeMap<Name, Held>,
    /// By when it was reserved, in accounts that have windows.
    spent: BTreeMap<AccountId, BTreeMap<Timestamp, Amount>>,
    windows: BTreeMap<AccountId, Begun>,
    now: Timestamp,
}

/// What an event says that its log does not allow.
type Told = Result<(), String>;

impl Holds {
    /// Takes an event of a run.
    pub(super) fn event(&mut self, run: RunId, kind: &EventKind, now: Timestamp) -> Told {
        self.now = now;
        if let EventKind::RunCreated(facts) = kind {
            let workflow = match &facts.subject {
                Subject::Workflow { name, .. } => Some((run, name.clone())),
                Subject::Session { .. } => None,
            };
            self.workflows.extend(workflow);
            let around = facts.nested_in.iter().flat_map(|place| {
                let name = StepName::new(place.step.name()).ok();
                let step = name.map(|name| AccountId::Step(place.run, StepKey::of(&name)));
                std::iter::once(AccountId::Run(place.run)).chain(step)
            });
            let tags = facts.tags.iter().cloned().map(AccountId::Tag);
            self.around.insert(run, around.chain(tags).collect());
        }
        self.begins(run, kind)?;
        self.call_ends(run, kind)?;
        self.attempt_ends(run, kind)
    }

    /// A period of an account begins.
    pub(super) fn window(&mut self, opened: &BudgetWindowOpened) {
        let start = opened.period.start;
        let begun = self.windows.entry(opened.account.clone()).or_default();
        // What counted for ever until now ends here, and counts no more.
        let last = begun.ends.last_entry();
        let counts_after = match last {
            Some(last) if *last.get() < Period::ALWAYS.end => opened.window.counts_after(start),
            Some(mut last) => {
                last.insert(start);
                start
            }
            None => start,
        };
        begun.ends.insert(start, opened.period.end);
        begun.counts_after = begun.counts_after.max(counts_after);
        if let Some(spent) = self.spent.get_mut(&opened.account) {
            spent.retain(|at, _| begun.counts(*at));
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others hold nothing anew"
    )]
    fn begins(&mut self, run: RunId, kind: &EventKind) -> Told {
        match kind {
            EventKind::StepDispatched(f) => {
                let step = (run, f.step.clone());
                self.steps.insert(step, (f.agent.clone(), f.attempt));
                let path = self.path(run, &f.step, &f.agent);
                self.add((run, f.step.clone(), f.attempt, None), path, f.hold)
            }
            EventKind::RunPlanned(f) => {
                for (number, one) in (0..).zip(&f.reserved) {
                    let step = StepKey::of(&one.step);
                    let mut path = self.path(run, &step, &one.agent);
                    path.retain(|id| !matches!(id, AccountId::Workflow(_)));
                    path.insert(AccountId::Workflow(one.workflow.clone()));
                    self.add((run, step, 0, Some(number)), path, one.amount)?;
                }
                Ok(())
            }
            EventKind::ModelCallReserved(f) => {
                let own = f.agent.as_ref();
                let path = match own {
                    Some(agent) => self.path(run, &f.step, agent),
                    None => self.path_of_step(run, &f.step),
                };
                let ordinal = own.map(|_| f.ordinal);
                let amount = if own.is_some() { f.amount } else { f.extended };
                let name = (run, f.step.clone(), f.attempt, ordinal);
                self.add(name.clone(), path, amount)?;
                if let Some(held) = self.open.get_mut(&name) {
                    let drawn = held.take(f.amount);
                    let drawn = drawn.ok_or("a call draws more than is held")?;
                    held.drawn.insert(f.ordinal, drawn);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others end no call")]
    fn call_ends(&mut self, run: RunId, kind: &EventKind) -> Told {
        let name = |step: &StepKey, attempt, ordinal| (run, step.clone(), attempt, ordinal);
        match kind {
            EventKind::ModelCallSettled(f) => {
                let name = name(&f.step, f.attempt, Some(f.ordinal));
                let taken = self.take(&name, f.held)?;
                self.spend(&name, &taken, f.actual);
                self.take_last(&name, f.released).map(drop)
            }
            EventKind::ModelCallThrottled(f) => {
                let name = name(&f.step, f.attempt, Some(f.ordinal));
                self.take_last(&name, f.released).map(drop)
            }
            EventKind::ModelCallReleased(f) => {
                let name = name(&f.step, f.attempt, Some(f.ordinal));
                self.take_last(&name, f.released).map(drop)
            }
            EventKind::ModelCallDoubted(f) => {
                self.doubt_call(&name(&f.step, f.attempt, Some(f.ordinal)), f.doubted)
            }
            EventKind::ResultLate(f) => {
                self.clear(&name(&f.step, f.attempt, f.ordinal), f.held, f.actual)
            }
            EventKind::BudgetReconciled(f) => {
                self.clear(&name(&f.step, f.attempt, f.ordinal), f.held, f.actual)
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others end no attempt")]
    fn attempt_ends(&mut self, run: RunId, kind: &EventKind) -> Told {
        let name = |step: &StepKey, attempt| (run, step.clone(), attempt, None);
        match kind {
            EventKind::PlanReleased(f) => {
                let name = (run, StepKey::of(&f.step), 0, Some(f.hold));
                self.take(&name, f.amount)?;
                if self
                    .open
                    .get(&name)
                    .is_some_and(|held| held.amount().is_zero())
                {
                    self.open.remove(&name);
                }
                Ok(())
            }
            EventKind::StepCompleted(f) => self.end(&name(&f.step, f.attempt), f.released),
            EventKind::AttemptFailed(f) => self.end(&name(&f.step, f.attempt), f.released),
            EventKind::AttemptAbandoned(f) => self.end(&name(&f.step, f.attempt), f.released),
            EventKind::StepSuspended(f) => self.end(&name(&f.step, f.attempt), f.released),
            EventKind::StepCancelled(f) => {
                let step = self.steps.get(&(run, f.step.clone()));
                let attempt = step.map_or(0, |(_, attempt)| *attempt);
                self.end(&name(&f.step, attempt), f.released)
            }
            EventKind::AttemptInterrupted(f) => {
                self.doubt_whole(&name(&f.step, f.attempt), f.doubted)
            }
            _ => Ok(()),
        }
    }

    fn path(&self, run: RunId, step: &StepKey, agent: &AgentName) -> BTreeSet<AccountId> {
        let workflow = self.workflows.get(&run).cloned().map(AccountId::Workflow);
        let name = StepName::new(step.name()).ok();
        let step = name.map(|name| AccountId::Step(run, StepKey::of(&name)));
        let agent = AccountId::Agent(agent.clone());
        [AccountId::Workspace, AccountId::Run(run), agent]
            .into_iter()
            .chain(workflow)
            .chain(step)
            .chain(self.around.get(&run).into_iter().flatten().cloned())
            .collect()
    }

    fn path_of_step(&self, run: RunId, step: &StepKey) -> BTreeSet<AccountId> {
        let known = self.steps.get(&(run, step.clone()));
        known
            .map(|(agent, _)| self.path(run, step, agent))
            .unwrap_or_default()
    }

    fn add(&mut self, name: Name, path: BTreeSet<AccountId>, amount: Amount) -> Told {
        if amount.is_zero() {
            return Ok(());
        }
        let new = Held {
            path,
            parts: Vec::new(),
            drawn: BTreeMap::new(),
            column: Column::Reserved,
        };
        let held = self.open.entry(name).or_insert(new);
        let sum = held.amount().checked_add(&amount);
        sum.ok_or("a hold beyond what can be counted")?;
        held.parts.push((self.now, amount));
        Ok(())
    }

    /// The call's own hold, or that of its attempt.
    fn hold_of(&self, call: &Name) -> Name {
        if self.open.contains_key(call) {
            return call.clone();
        }
        let (run, step, attempt, _) = call;
        (*run, step.clone(), *attempt, None)
    }

    fn take(&mut self, call: &Name, amount: Amount) -> Result<Vec<Part>, String> {
        let name = self.hold_of(call);
        if let Some(held) = self.open.get_mut(&name) {
            held.undraw(call.3);
        }
        if amount.is_zero() {
            return Ok(Vec::new());
        }
        let held = self.open.get_mut(&name);
        let held = held.filter(|held| held.column == Column::Reserved);
        let held = held.ok_or_else(|| format!("{name:?} is taken from and holds nothing"))?;
        let taken = held.take(amount);
        taken.ok_or_else(|| format!("{name:?} gives more than it holds"))
    }

    /// As `take`; a hold of the call's own is then empty, and gone.
    fn take_last(&mut self, call: &Name, amount: Amount) -> Result<Vec<Part>, String> {
        let taken = self.take(call, amount)?;
        let own = self.open.remove(call);
        empty(call, own.as_ref()).map(|()| taken)
    }

    fn doubt_call(&mut self, call: &Name, amount: Amount) -> Told {
        let path = self
            .open
            .get(&self.hold_of(call))
            .map(|held| held.path.clone());
        let parts = self.take_last(call, amount)?;
        let doubt = Held {
            path: path.unwrap_or_default(),
            parts,
            drawn: BTreeMap::new(),
            column: Column::InDoubt,
        };
        if !amount.is_zero() {
            self.open.insert(call.clone(), doubt);
        }
        Ok(())
    }

    fn doubt_whole(&mut self, attempt: &Name, amount: Amount) -> Told {
        if let Some(held) = self.open.get_mut(attempt) {
            held.column = Column::InDoubt;
        }
        let held = self.open.get(attempt).map_or(Amount::ZERO, Held::amount);
        if held.is_zero() {
            self.open.remove(attempt);
        }
        if held == amount {
            Ok(())
        } else {
            Err(format!("{attempt:?} is not doubted whole"))
        }
    }

    /// A doubt is settled by what turned out to be billed.
    fn clear(&mut self, doubt: &Name, held: Amount, actual: Amount) -> Told {
        if held.is_zero() && actual.is_zero() {
            return Ok(());
        }
        let cleared = self.open.get(doubt);
        let cleared = cleared.filter(|held| held.column == Column::InDoubt);
        let amount = cleared.map_or(Amount::ZERO, Held::amount);
        let parts = cleared.map(Held::all).unwrap_or_default();
        self.spend(doubt, &parts, actual);
        self.open.remove(doubt);
        if amount == held {
            Ok(())
        } else {
            Err(format!("{doubt:?} is settled with another amount in doubt"))
        }
    }

    fn end(&mut self, attempt: &Name, released: Amount) -> Told {
        // What is in doubt since a crash stays until somebody settles it.
        let held = self.open.get(attempt);
        if held.is_some_and(|held| held.column == Column::InDoubt) {
            return Ok(());
        }
        self.take_last(attempt, released).map(drop)
    }

    /// What was billed counts when it was reserved; beyond that, with the last of it.
    fn spend(&mut self, call: &Name, taken: &[Part], amount: Amount) {
        let held = self.open.get(&self.hold_of(call));
        let path = held.map(|held| held.path.clone());
        let begun = held.and_then(|held| Some(held.parts.first()?.0));
        let path = path.unwrap_or_else(|| self.path_of_step(call.0, &call.1));
        let mut left = amount;
        let (last, first) = match taken.split_last() {
            Some(((at, _), first)) => (*at, first),
            None => (begun.unwrap_or(self.now), taken),
        };
        for (at, part) in first {
            let billed = part.min(&left);
            left = left.saturating_sub(&billed);
            self.spend_at(&path, *at, billed);
        }
        self.spend_at(&path, last, left);
    }

    fn spend_at(&mut self, path: &BTreeSet<AccountId>, at: Timestamp, amount: Amount) {
        for account in path {
            let spent = self.spent.entry(account.clone()).or_default();
            let begun = self.windows.get(account);
            if begun.is_none_or(|begun| begun.counts(at)) {
                let key = begun.map_or(Timestamp::EPOCH, |_| at);
                let spent = spent.entry(key).or_default();
                *spent = spent.saturating_add(&amount);
            }
        }
    }

    /// What every account has to show: spent, reserved and in doubt.
    pub(super) fn columns(&self) -> BTreeMap<AccountId, Columns> {
        let spent = self.spent.iter();
        let none = Amount::ZERO;
        let mut all: BTreeMap<AccountId, Columns> = spent
            .map(|(id, spent)| {
                let sum = spent
                    .values()
                    .fold(none, |sum, one| sum.saturating_add(one));
                (id.clone(), [sum, none, none])
            })
            .collect();
        for held in self.open.values() {
            for id in &held.path {
                let begun = self.windows.get(id);
                let parts = held.drawn.values().flatten().chain(&held.parts);
                let counted = parts.filter(|(at, _)| begun.is_none_or(|begun| begun.counts(*at)));
                let amount = counted.fold(none, |sum, (_, part)| sum.saturating_add(part));
                let [_, reserved, in_doubt] = all.entry(id.clone()).or_default();
                let column = match held.column {
                    Column::Reserved => reserved,
                    Column::InDoubt => in_doubt,
                };
                *column = column.saturating_add(&amount);
            }
        }
        all
    }
}

/// What an account shows.
pub(super) const fn shown(account: &Account) -> Columns {
    [*account.spent(), *account.reserved(), *account.in_doubt()]
}

fn empty(name: &Name, held: Option<&Held>) -> Told {
    match held {
        Some(held) if !held.amount().is_zero() => {
            Err(format!("{name:?} ends and leaves money behind"))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mc_core::event::step::{AttemptInterrupted, StepCompleted, StepDispatched};
    use mc_core::id::Digest;
    use mc_core::policy::RiskTier;

    const RUN: RunId = RunId::from_bytes([1; 16]);

    fn calls(calls: u64) -> Amount {
        Amount {
            calls,
            ..Amount::ZERO
        }
    }

    /// The books after a step was dispatched with a hold of ten calls.
    fn dispatched() -> Holds {
        let mut holds = Holds::default();
        let facts = StepDispatched {
            agent_version: None,
            step: "a[0]".parse().unwrap(),
            attempt: 1,
            agent: "it".parse().unwrap(),
            risk: RiskTier::Read,
            effect_key: Digest::ZERO,
            hold: calls(10),
            approval: None,
        };
        holds
            .event(RUN, &EventKind::StepDispatched(facts), Timestamp::EPOCH)
            .unwrap();
        holds
    }

    fn completed(released: u64) -> EventKind {
        EventKind::StepCompleted(StepCompleted {
            step: "a[0]".parse().unwrap(),
            attempt: 1,
            released: calls(released),
        })
    }

    #[test]
    fn a_hold_shows_in_every_account_of_its_path() {
        let names: Vec<String> = dispatched()
            .columns()
            .into_iter()
            .filter(|(_, columns)| *columns == [calls(0), calls(10), calls(0)])
            .map(|(id, _)| id.to_string().split(':').next().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["workspace", "agent", "run", "step"]);
    }

    #[test]
    fn an_attempt_that_ends_gives_back_exactly_what_it_holds() {
        let ends = |released| dispatched().event(RUN, &completed(released), Timestamp::EPOCH);
        assert_eq!(ends(10), Ok(()));
        assert!(ends(9).unwrap_err().contains("leaves money behind"));
        assert!(ends(11).unwrap_err().contains("more than it holds"));
    }

    #[test]
    fn what_was_interrupted_is_in_doubt_whole() {
        let interrupted = |doubted| {
            let mut holds = dispatched();
            let facts = AttemptInterrupted {
                step: "a[0]".parse().unwrap(),
                attempt: 1,
                doubted: calls(doubted),
            };
            let told = holds.event(RUN, &EventKind::AttemptInterrupted(facts), Timestamp::EPOCH);
            told.map(|()| holds.columns()[&AccountId::Workspace])
        };
        assert_eq!(interrupted(10), Ok([calls(0), calls(0), calls(10)]));
        assert!(interrupted(9).unwrap_err().contains("not doubted whole"));
    }
}
