//! Worst cases: what steps can cost at most, with everything that they use.
//!
//! What is *not* here: what is done about it (`planned`), and which accounts it is held against (`plan`).

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use super::dispatch::{times, worst_case};
use crate::budget::{AccountId, Amount};
use crate::event::run::RunBudget;
use crate::id::{AgentName, WorkflowName};
use crate::workflow::limits::MAX_ITEMS;
use crate::workflow::{Budget, Definition, Step, Uses, Work};

/// What one step can cost at most, with all that it uses.
#[derive(Clone, Default)]
pub(super) struct Worst<'a> {
    /// By who carries it out.
    pub(super) costs: BTreeMap<(&'a WorkflowName, &'a AgentName), Amount>,
    /// Whether something of it has no bound, or none that can be counted.
    pub(super) unbounded: bool,
}

impl<'a> Worst<'a> {
    fn add(&mut self, who: (&'a WorkflowName, &'a AgentName), amount: Option<Amount>) {
        let sum = |amount| {
            self.costs
                .get(&who)
                .map_or(Some(amount), |a| a.checked_add(&amount))
        };
        match amount.and_then(sum) {
            Some(sum) => drop(self.costs.insert(who, sum)),
            None => self.unbounded = true,
        }
    }

    /// All of it together; none where that cannot be counted, or is nothing.
    fn total(&self) -> Option<Amount> {
        let mut costs = self.costs.values();
        let total = costs.try_fold(Amount::ZERO, |sum, one| sum.checked_add(one))?;
        (!total.is_zero()).then_some(total)
    }

    fn add_all(&mut self, other: &Self, often: u64) {
        self.unbounded |= other.unbounded;
        for (who, amount) in &other.costs {
            self.add(*who, times(amount, often));
        }
    }
}

/// The worst cases of the workflows that are used. However often one is, it is added up once: what
/// they use in their turn can be as many steps as nobody has the time for.
#[derive(Default)]
pub(super) struct Known<'a>(BTreeMap<&'a Uses, Worst<'a>>);

impl<'a> Known<'a> {
    /// The shared accounts that the workflows that are used count in, as far as they are known here.
    pub(super) fn accounts(&self, view: &View<'a>) -> Vec<AccountId> {
        let flows = self
            .0
            .keys()
            .filter_map(|uses| view.workspace.definition(uses));
        let of = |inner: &Definition| {
            let agents = inner.agents().into_iter().map(AccountId::Agent);
            let flow = AccountId::Workflow(inner.name().clone());
            std::iter::once(flow).chain(agents).collect::<Vec<_>>()
        };
        flows.flat_map(of).collect()
    }

    /// Of a step, with so many items; none where nothing bounds them.
    pub(super) fn step(
        &mut self,
        view: &View<'a>,
        (workflow, step): (&'a WorkflowName, &'a Step),
        items: Option<u64>,
    ) -> Worst<'a> {
        let mut worst = Worst::default();
        match &step.work {
            Work::Agent(agent) => worst.add((workflow, agent), most(view, step, items)),
            Work::Uses(uses) => match (items, self.used(view, uses)) {
                (Some(often), Some(inner)) => worst.add_all(inner, often),
                (None, _) | (_, None) => worst.unbounded = true,
            },
        }
        worst
    }

    /// Of one run of a workflow that a step uses.
    fn used(&mut self, view: &View<'a>, uses: &'a Uses) -> Option<&Worst<'a>> {
        if !self.0.contains_key(uses) {
            let inner = view.workspace.definition(uses)?;
            let mut worst = Worst::default();
            for step in inner.steps().values() {
                let one = self.step(view, (inner.name(), step), items(step));
                worst.add_all(&one, 1);
            }
            self.0.insert(uses, worst);
        }
        self.0.get(uses)
    }
}

/// The most that a step can cost in all its attempts and items; none where nothing bounds it.
fn most(view: &View<'_>, step: &Step, items: Option<u64>) -> Option<Amount> {
    step.estimate.as_ref()?;
    // A price that is missing is told by the step itself, when its time comes.
    let once = worst_case(view, step).ok()?;
    let tier = step.tier(&view.workspace.policy);
    let attempts = u64::from(step.retry_policy(tier).maximum_attempts());
    times(&once, items?.checked_mul(attempts)?)
}

/// The most items of a step; none where nothing bounds them.
pub(super) fn items(step: &Step) -> Option<u64> {
    match (&step.for_each, step.max_items) {
        (None, _) => Some(1),
        (Some(_), MAX_ITEMS) => None,
        (Some(_), most) => Some(u64::from(most)),
    }
}

/// A budget that a workflow which is used has of its own, and what one run of it can cost at most.
pub(super) struct Within {
    /// Where it is used, from the run around: `qa`, or `qa/check` for a step's.
    pub(super) path: String,
    /// Whose it is.
    pub(super) of: Whose,
    /// The budget.
    pub(super) budget: RunBudget,
    /// What it can cost at most.
    pub(super) worst: Amount,
}

/// Whose budget it is.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    /// That of each run.
    Run,
    /// That of a step in each run.
    Step,
}

/// The own budgets of workflows that are used, at the first place where each is.
pub(super) fn within<'a>(
    view: &View<'a>,
    definition: &'a Definition,
    known: &mut Known<'a>,
) -> Vec<Within> {
    let mut found = Vec::new();
    look_within(
        view,
        (definition, ""),
        known,
        (&mut found, &mut BTreeSet::new()),
    );
    found
}

fn look_within<'a>(
    view: &View<'a>,
    (definition, path): (&'a Definition, &str),
    known: &mut Known<'a>,
    (found, seen): (&mut Vec<Within>, &mut BTreeSet<&'a Uses>),
) {
    for (name, step) in definition.steps() {
        let Work::Uses(uses) = &step.work else {
            continue;
        };
        let Some(inner) = view.workspace.definition(uses) else {
            continue;
        };
        // However often it is used, its budgets are the same.
        if !seen.insert(uses) {
            continue;
        }
        let path = format!("{path}{name}");
        let worst = known.used(view, uses).and_then(Worst::total);
        found.extend(worst.zip(inner.budget()).map(|(worst, own)| Within {
            path: path.clone(),
            of: Whose::Run,
            budget: budget(own),
            worst,
        }));
        for (name, step) in inner.steps() {
            let worst = known.step(view, (inner.name(), step), items(step)).total();
            found.extend(worst.zip(step.budget.as_ref()).map(|(worst, own)| Within {
                path: format!("{path}/{name}"),
                of: Whose::Step,
                budget: budget(own),
                worst,
            }));
        }
        look_within(view, (inner, &format!("{path}/")), known, (found, seen));
    }
}

const fn budget(own: &Budget) -> RunBudget {
    RunBudget {
        limit: own.limit,
        on_exceed: own.on_exceed,
    }
}
