//! The plan check: what a run can cost at most, before any of it goes out.
//!
//! The worst case is static: every step's estimate, for every attempt that it may have and every item
//! that it may expand to. Steps without an estimate, and lists without a `max_items` of their own, are
//! unbounded: the check says so and judges the rest. A step that uses another workflow can cost what all
//! of that workflow's steps can. It refuses only what could never fit, not even
//! with every hold and doubt let go; everything else waits its turn when its time comes.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use super::dispatch::{times, worst_case};
use crate::budget::{Account, AccountId, Amount, OnExceed, Staying, Verdict, check};
use crate::error::FailingAccount;
use crate::event::run::{PlanCheck, PlannedHold, RunBudget, RunPlanned};
use crate::id::{AgentName, RunId, StepKey, StepName, TagName, WorkflowName};
use crate::sequencer::command::Start;
use crate::sequencer::workspace::ResidentBooks;
use crate::workflow::limits::MAX_ITEMS;
use crate::workflow::{Definition, Step, Uses, Work};

/// What a run can cost at most.
pub(super) struct Plan {
    run_id: RunId,
    /// By account; those of steps too.
    worst: BTreeMap<AccountId, Amount>,
    unbounded: Vec<StepName>,
    /// The same, by what can be held for it.
    holds: BTreeMap<(StepName, WorkflowName, AgentName), Amount>,
    tags: BTreeSet<TagName>,
}

/// What one step can cost at most, with all that it uses.
#[derive(Clone, Default)]
struct Worst<'a> {
    /// By who carries it out.
    costs: BTreeMap<(&'a WorkflowName, &'a AgentName), Amount>,
    /// Whether something of it has no bound, or none that can be counted.
    unbounded: bool,
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
struct Known<'a>(BTreeMap<&'a Uses, Worst<'a>>);

impl<'a> Known<'a> {
    fn step(
        &mut self,
        view: &View<'a>,
        (workflow, step): (&'a WorkflowName, &'a Step),
    ) -> Worst<'a> {
        let mut worst = Worst::default();
        match &step.work {
            Work::Agent(agent) => worst.add((workflow, agent), most(view, step)),
            Work::Uses(uses) => match (items(step), self.used(view, uses)) {
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
                let one = self.step(view, (inner.name(), step));
                worst.add_all(&one, 1);
            }
            self.0.insert(uses, worst);
        }
        self.0.get(uses)
    }
}

impl Plan {
    pub(super) fn of(view: &View<'_>, request: &Start, definition: &Definition) -> Self {
        let mut plan = Self {
            run_id: request.run_id,
            worst: BTreeMap::new(),
            unbounded: Vec::new(),
            holds: BTreeMap::new(),
            tags: request.tags.clone(),
        };
        let mut known = Known::default();
        for (name, step) in definition.steps() {
            let worst = known.step(view, (&request.workflow, step));
            if worst.unbounded {
                plan.is_unbounded(name);
            }
            for (who, amount) in &worst.costs {
                plan.add(name, *who, amount);
            }
        }
        plan
    }

    fn is_unbounded(&mut self, step: &StepName) {
        if !self.unbounded.contains(step) {
            self.unbounded.push(step.clone());
        }
    }

    fn add(
        &mut self,
        step: &StepName,
        (workflow, agent): (&WorkflowName, &AgentName),
        amount: &Amount,
    ) {
        let accounts = [
            AccountId::Workspace,
            AccountId::Workflow(workflow.clone()),
            AccountId::Agent(agent.clone()),
            AccountId::Run(self.run_id),
            AccountId::Step(self.run_id, StepKey::of(step)),
        ];
        let tags = self.tags.iter().cloned().map(AccountId::Tag);
        let accounts: Vec<AccountId> = accounts.into_iter().chain(tags).collect();
        // More than can be counted is as good as without bound, and is not held either.
        let sum = |id: &AccountId| {
            self.worst
                .get(id)
                .map_or(Some(*amount), |a| a.checked_add(amount))
        };
        let Some(sums) = accounts.iter().map(sum).collect::<Option<Vec<_>>>() else {
            return self.is_unbounded(step);
        };
        self.worst.extend(accounts.into_iter().zip(sums));
        let held = (step.clone(), workflow.clone(), agent.clone());
        let held = self.holds.entry(held).or_default();
        *held = held.saturating_add(amount);
    }

    /// The accounts in which it could never fit, and whether one of them ends runs for that. Runs wait
    /// for the others, step by step.
    pub(super) fn over(
        &self,
        view: &View<'_>,
        budget: Option<RunBudget>,
        definition: &Definition,
    ) -> (Vec<FailingAccount>, OnExceed) {
        let (mut failing, mut strictest) = (Vec::new(), OnExceed::Pause);
        for (id, amount) in &self.worst {
            let own = match id {
                AccountId::Run(_) => budget,
                AccountId::Step(_, key) => {
                    let step = definition.step(key.name()).and_then(|step| step.budget);
                    step.map(|budget| RunBudget {
                        limit: budget.limit,
                        on_exceed: budget.on_exceed,
                    })
                }
                AccountId::Workspace
                | AccountId::Workflow(_)
                | AccountId::Agent(_)
                | AccountId::Tag(_) => None,
            };
            let account = match own {
                Some(budget) => Account::new(budget.limit, budget.on_exceed),
                None => view.workspace.accounts.get(id).cloned().unwrap_or_default(),
            };
            let books = BTreeMap::from([(id.clone(), account)]);
            let path = [id.clone()].into_iter().collect();
            if let Verdict::Exceeded {
                failing: own,
                on_exceed,
            } = check(&books, &path, amount, &Staying::none())
            {
                failing.extend(own);
                strictest = strictest.stricter(on_exceed);
            }
        }
        (failing, strictest)
    }

    /// The shared accounts that have no room for all of it now.
    pub(super) fn without_room(&self, view: &View<'_>) -> Vec<FailingAccount> {
        let books = ResidentBooks(view.workspace);
        let shared = self.worst.iter().filter(|(id, _)| id.run().is_none());
        let failing = shared.flat_map(|(id, amount)| {
            let path = [id.clone()].into_iter().collect();
            match check(&books, &path, amount, &Staying::none()) {
                Verdict::Fits => Vec::new(),
                Verdict::Contended { failing, .. }
                | Verdict::Frozen { failing, .. }
                | Verdict::Exceeded { failing, .. } => failing,
            }
        });
        failing.collect()
    }

    /// The shared accounts in which others wait for room: who comes later stands behind them.
    pub(super) fn with_others_waiting(&self, view: &View<'_>) -> Vec<AccountId> {
        let (queue, books) = (&view.workspace.queue, ResidentBooks(view.workspace));
        let shared = self.worst.keys().filter(|id| id.run().is_none());
        let barred =
            |id: &&AccountId| queue.must_wait(&books, &std::iter::once((*id).clone()).collect());
        shared.filter(barred).cloned().collect()
    }

    /// Whether an account of it is frozen.
    pub(super) fn is_frozen(&self, view: &View<'_>) -> bool {
        let accounts = &view.workspace.accounts;
        let frozen = |id: &AccountId| accounts.get(id).is_some_and(Account::is_frozen);
        self.worst.keys().any(frozen)
    }

    /// What is to be held for each step.
    pub(super) fn holds(&self) -> Vec<PlannedHold> {
        let all = self.holds.iter().filter(|(_, amount)| !amount.is_zero());
        all.map(|((step, workflow, agent), amount)| PlannedHold {
            step: step.clone(),
            workflow: workflow.clone(),
            agent: agent.clone(),
            amount: *amount,
        })
        .collect()
    }

    /// What was found, for the log; none where nothing is known of what it can cost.
    pub(super) fn facts(self, check: PlanCheck, over: Vec<FailingAccount>) -> Option<RunPlanned> {
        let worst_case = self.worst.get(&AccountId::Workspace).copied()?;
        (!worst_case.is_zero()).then_some(RunPlanned {
            check,
            worst_case,
            unbounded: self.unbounded,
            over,
            reserved: Vec::new(),
        })
    }
}

/// The most that a step can cost in all its attempts and items; none where nothing bounds it.
fn most(view: &View<'_>, step: &Step) -> Option<Amount> {
    step.estimate.as_ref()?;
    // A price that is missing is told by the step itself, when its time comes.
    let once = worst_case(view, step).ok()?;
    let items = items(step)?;
    let tier = step.tier(&view.workspace.policy);
    let attempts = u64::from(step.retry_policy(tier).maximum_attempts());
    times(&once, items.checked_mul(attempts)?)
}

/// The most items of a step; none where nothing bounds them.
fn items(step: &Step) -> Option<u64> {
    match (&step.for_each, step.max_items) {
        (None, _) => Some(1),
        (Some(_), MAX_ITEMS) => None,
        (Some(_), most) => Some(u64::from(most)),
    }
}
