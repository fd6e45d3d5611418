//! Runs nested in one another: what the log has to say of them, and which of them flows may use.
//!
//! After every commit an outer run and those nested in it agree: what has ended was told, what goes on
//! has its step, nothing goes on in a run that has ended or is paused, and the money of all of them
//! adds up in every account around them (`columns`).

use std::collections::BTreeMap;

use mc_core::budget::{Account, AccountId, Amount, BooksMut as _, Movement, Path, post_at};
use mc_core::id::{RunId, StepKey, StepName};
use mc_core::run::{Nested, NestedState, Run};
use mc_core::time::Timestamp;

use super::draw::Draw;
use super::holds;

/// Spent, reserved and in doubt.
type Columns = [Amount; 3];

fn plus(one: Columns, other: Columns) -> Columns {
    let mut sum = one;
    for (column, more) in sum.iter_mut().zip(other) {
        *column = column.saturating_add(&more);
    }
    sum
}

/// What the accounts of runs show with everything that is nested in them, from the rows alone.
pub(super) fn columns(runs: &BTreeMap<RunId, Run>) -> BTreeMap<AccountId, Columns> {
    let mut all: BTreeMap<AccountId, Columns> = BTreeMap::new();
    for run in runs.values() {
        for (id, account) in &run.accounts {
            let sum = all.entry(id.clone()).or_default();
            *sum = plus(*sum, holds::shown(account));
        }
        let Some(own) = run.accounts.get(&AccountId::Run(run.run_id)) else {
            continue;
        };
        let own = holds::shown(own);
        for place in &run.created.nested_in {
            let step = StepName::new(place.step.name()).ok();
            let step = step.map(|name| AccountId::Step(place.run, StepKey::of(&name)));
            for id in std::iter::once(AccountId::Run(place.run)).chain(step) {
                let sum = all.entry(id).or_default();
                *sum = plus(*sum, own);
            }
        }
    }
    all
}

/// Whether an account with such columns is over its limit.
pub(super) fn is_over(account: &Account, columns: Columns) -> bool {
    // What is only looked at is over, and admits.
    if !account.mode().is_enforced() {
        return false;
    }
    let [spent, reserved, in_doubt] = columns;
    let mut books = BTreeMap::new();
    let path: Path = [AccountId::Workspace].into_iter().collect();
    let new = Account::new(*account.limit(), account.on_exceed());
    books.put(&AccountId::Workspace, new);
    let all = spent.saturating_add(&reserved).saturating_add(&in_doubt);
    let posted = post_at(&mut books, &path, Timestamp::EPOCH, &Movement::Reserve(all));
    let after = books.get(&AccountId::Workspace);
    posted.is_err() || after.is_some_and(Account::is_breached)
}

/// What outer runs and those nested in them disagree in.
pub(super) fn disagreements(runs: &BTreeMap<RunId, Run>) -> Vec<String> {
    let mut found = Vec::new();
    for outer in runs.values() {
        for (id, nested) in &outer.nested {
            let Some(run) = runs.get(id) else {
                found.push(format!("{id} is nested in {} and is no run", outer.run_id));
                continue;
            };
            found.extend(disagree(outer, nested, run));
        }
        let composing = outer
            .steps
            .values()
            .filter_map(mc_core::run::Step::composing);
        let alone = composing.filter(|id| {
            let nested = outer.nested.get(id);
            nested.is_none_or(|nested| nested.state != NestedState::Open)
        });
        found.extend(alone.map(|id| format!("a step of {} goes on without {id}", outer.run_id)));
    }
    for run in runs.values() {
        let known = |place: &mc_core::event::nested::NestedIn| {
            let outer = runs.get(&place.run);
            outer.is_some_and(|outer| outer.nested.contains_key(&run.run_id))
        };
        if run.outer().is_some_and(|place| !known(place)) {
            found.push(format!("{} is nested where nobody knows it", run.run_id));
        }
    }
    found
}

fn disagree(outer: &Run, nested: &Nested, run: &Run) -> Vec<String> {
    let place = run.outer();
    let placed = place.is_some_and(|p| p.run == outer.run_id && p.step == nested.step);
    let around: Vec<_> = run.created.nested_in.iter().skip(1).collect();
    let same = around == outer.created.nested_in.iter().collect::<Vec<_>>();
    let step = outer.step(&nested.step);
    let composes = step.is_some_and(|step| step.composing() == Some(run.run_id));
    let all = run.spent().saturating_add(&run.spent_nested());
    let open = nested.state == NestedState::Open;
    let sealed = nested.state == NestedState::Sealed;
    [
        (placed && same, "its place is not where it is nested"),
        (
            open != run.status.is_terminal(),
            "its end was not told in the commit that made it",
        ),
        (composes == open, "its step does not go on with it"),
        (
            sealed == run.sealed,
            "its seal was not told in the commit that made it",
        ),
        (
            !sealed || nested.spent == all,
            "its seal was told with another sum",
        ),
        (
            !outer.status.is_terminal() || !open,
            "it goes on although the run around it ended",
        ),
        (
            outer.paused.is_none() || run.paused.is_some() || !open,
            "it moves although the run around it is paused",
        ),
        (
            !outer.sealed || sealed,
            "it is open although the run around it is sealed",
        ),
    ]
    .into_iter()
    .filter(|(holds, _)| !holds)
    .map(|(_, what)| format!("{} in {}: {what}", run.run_id, outer.run_id))
    .collect()
}

/// Versions that flows of a world may use, each with the most runs that it can come to.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    versions: Vec<(String, u64)>,
}

/// The most runs that a flow of a world comes to.
const MOST_RUNS: u64 = 16;

impl Shelf {
    /// A version that may be used by a flow of so many runs, and how many it adds.
    pub(super) fn pick(&self, draw: &mut Draw, (runs, items): (u64, u64)) -> Option<(&str, u64)> {
        let (version, own) = draw.pick(&self.versions)?;
        let more = own * items;
        (runs + more <= MOST_RUNS).then_some((version.as_str(), more))
    }

    /// A version is published.
    pub(super) fn put(&mut self, version: String, runs: u64) {
        if !self.versions.iter().any(|(known, _)| *known == version) {
            self.versions.push((version, runs));
        }
    }
}
