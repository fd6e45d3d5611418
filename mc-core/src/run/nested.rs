//! Runs that are nested in a run: what the outer one's own events say of them.
//!
//! A nested run is a run of its own, with its own chain and row. Its money counts in the accounts of
//! every run around it; the sums of that are `sequencer::family`, since a row is the fold of its own
//! run's events alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::apply::RunEvent;
use super::state::{Run, Step};
use super::transitions::StepTrigger;
use crate::budget::{Account, AccountId, Amount, Movement, Path, post_at};
use crate::error::{Error, Result};
use crate::event::StepStatus;
use crate::event::nested::{NestedEnded, NestedIn, NestedSealed, StepComposed};
use crate::id::{RunId, StepKey, StepName};
use crate::time::Timestamp;

/// A run that is nested in another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nested {
    /// The step that it is done for.
    pub step: StepKey,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "NestedState::is_default")]
    pub state: NestedState,
    /// What was settled in it, as far as the outer run was told.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub spent: Amount,
    /// It did something that cannot be undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acted: bool,
}

/// Where a nested run stands, as its outer run knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NestedState {
    /// It goes on.
    #[default]
    Open,
    /// It has ended; something of it may be in doubt.
    Ended,
    /// Nothing of it is open any more.
    Sealed,
}

impl NestedState {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Step {
    /// The nested run that is under way for it.
    pub fn composing(&self) -> Option<RunId> {
        self.nested.filter(|_| self.status.0 == StepStatus::Running)
    }

    /// Whether something of it went out that cannot be undone.
    pub fn has_acted(&self) -> bool {
        let lasting = self.risk.is_some_and(|risk| !risk.is_repeatable());
        self.acted || (self.attempt > 0 && lasting)
    }
}

impl Run {
    /// The run that it is nested in, and the step there.
    pub fn outer(&self) -> Option<&NestedIn> {
        self.created.nested_in.first()
    }

    /// The runs nested in it that are not sealed: they and it are in memory together.
    pub fn unsealed(&self) -> impl Iterator<Item = RunId> + '_ {
        let open = |nested: &Nested| nested.state != NestedState::Sealed;
        let all = self.nested.iter().filter(move |(_, nested)| open(nested));
        all.map(|(run, _)| *run)
    }

    /// What was settled in runs nested in it, as far as it was told.
    pub fn spent_nested(&self) -> Amount {
        let all = self.nested.values().map(|nested| nested.spent);
        all.fold(Amount::ZERO, |sum, one| sum.saturating_add(&one))
    }

    /// The path of a step from the outermost run: `qa/security`.
    pub fn path_of(&self, step: &StepKey) -> String {
        let outer = self.created.nested_in.iter().rev();
        let keys = outer.map(|place| place.step.as_str());
        let keys: Vec<&str> = keys.chain([step.as_str()]).collect();
        keys.join("/")
    }

    /// The accounts of runs around it that its money counts in.
    pub(super) fn outer_accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.created.nested_in.iter().flat_map(|place| {
            let name = StepName::new(place.step.name()).ok();
            let step = name.map(|name| AccountId::Step(place.run, StepKey::of(&name)));
            std::iter::once(AccountId::Run(place.run)).chain(step)
        })
    }

    /// Whether anything went out in it that cannot be undone, or in a run nested in it.
    pub fn has_acted(&self) -> bool {
        self.steps.values().any(Step::has_acted) || self.nested.values().any(|nested| nested.acted)
    }
}

/// The accounts of a run with everything that is nested in it; `of` gives those nested runs that are not
/// sealed, with what is nested in them.
///
/// # Errors
/// `Corrupt` where the sums are beyond what can be counted.
pub fn accounts_with_nested(
    run: &Run,
    of: &dyn Fn(RunId) -> Option<Account>,
) -> Result<BTreeMap<AccountId, Account>> {
    let mut books = run.accounts.clone();
    for (id, nested) in &run.nested {
        let columns = match (nested.state, of(*id)) {
            (NestedState::Sealed, _) => [nested.spent, Amount::ZERO, Amount::ZERO],
            (NestedState::Open | NestedState::Ended, None) => continue,
            (NestedState::Open | NestedState::Ended, Some(account)) => {
                [*account.spent(), *account.reserved(), *account.in_doubt()]
            }
        };
        let step = StepName::new(nested.step.name()).ok();
        let step = step.map(|name| AccountId::Step(run.run_id, StepKey::of(&name)));
        let path = std::iter::once(AccountId::Run(run.run_id)).chain(step);
        add(&mut books, &path.collect(), columns)?;
    }
    Ok(books)
}

/// Columns come to an account from elsewhere.
fn add(
    books: &mut BTreeMap<AccountId, Account>,
    path: &Path,
    [spent, reserved, in_doubt]: [Amount; 3],
) -> Result<()> {
    let all = spent.saturating_add(&reserved).saturating_add(&in_doubt);
    if all.is_zero() {
        return Ok(());
    }
    let settle = Movement::Settle {
        held: spent,
        actual: spent,
    };
    for movement in [Movement::Reserve(all), settle, Movement::Doubt(in_doubt)] {
        post_at(books, path, Timestamp::EPOCH, &movement)
            .map_err(|fault| Error::corrupt("ledger", None).with_source(fault))?;
    }
    Ok(())
}

pub(super) fn composed(run: &mut Run, facts: &StepComposed, event: &RunEvent<'_>) -> Result<()> {
    let step = run.turn_step(&facts.step, StepTrigger::Compose, event)?;
    if facts.attempt != step.attempt + 1 {
        return Err(event.refuse("attempt"));
    }
    let again = std::mem::take(&mut step.again);
    step.attempt = facts.attempt;
    step.nested = Some(facts.run);
    step.input = Some(event.part(0));
    step.first_at = step.first_at.or(Some(event.ts));
    step.wake_at = None;
    let nested = Nested {
        step: facts.step.clone(),
        state: NestedState::Open,
        spent: Amount::ZERO,
        acted: false,
    };
    if run.nested.insert(facts.run, nested).is_some() {
        return Err(event.refuse("nested"));
    }
    if facts.attempt == 1 || again {
        let begins = |expansion: &mut _| super::apply_step::begins(expansion, u32::from(again));
        super::apply_step::count_item(run, &facts.step, begins);
    }
    Ok(())
}

pub(super) fn ended(run: &mut Run, facts: &NestedEnded, event: &RunEvent<'_>) -> Result<()> {
    let nested = run.nested.get_mut(&facts.run);
    let open = nested.filter(|one| one.state == NestedState::Open && one.step == facts.step);
    let nested = open.ok_or_else(|| event.refuse("nested"))?;
    nested.state = NestedState::Ended;
    nested.spent = facts.spent;
    nested.acted = facts.acted;
    Ok(())
}

pub(super) fn sealed(run: &mut Run, facts: &NestedSealed, event: &RunEvent<'_>) -> Result<()> {
    let nested = run.nested.get_mut(&facts.run);
    let ended = nested.filter(|one| one.state == NestedState::Ended && one.step == facts.step);
    let nested = ended.ok_or_else(|| event.refuse("nested"))?;
    nested.state = NestedState::Sealed;
    nested.spent = facts.spent;
    // It leaves memory: what is asked of the run and all that is nested in it is asked here.
    for (tool, uses) in &facts.tool_uses {
        let all = run.tool_uses.entry(tool.clone()).or_default();
        *all = all.saturating_add(*uses);
    }
    run.acts.extend(&facts.acts);
    Ok(())
}
