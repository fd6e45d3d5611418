//! The plan check: what a run can cost at most, before any of it goes out.
//!
//! The worst case is static: every step's estimate, for every attempt that it may have and every item
//! that it may expand to. Steps without an estimate, and lists without a `max_items` of their own, are
//! unbounded: the check says so and judges the rest. A step that uses another workflow can cost what all
//! of that workflow's steps can. It refuses only what could never fit, not even
//! with every hold and doubt let go; everything else waits its turn when its time comes. A run that is
//! redriven is judged by what remains of it, beside what it has spent.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use super::plan_worst::{Known, Whose, Within, items, within};
use crate::budget::{
    Account, AccountId, Amount, Books as _, OnExceed, Refusal, Staying, Verdict, check,
    would_refuse,
};
use crate::error::FailingAccount;
use crate::event::run::{PlanCheck, PlannedHold, RunBudget, RunPlanned};
use crate::id::{AgentName, RunId, StepKey, StepName, TagName, WorkflowName};
use crate::sequencer::resident::Resident;
use crate::sequencer::workspace::ResidentBooks;
use crate::workflow::{Definition, Step};

/// The run that is planned.
#[derive(Clone, Copy)]
pub(super) struct Planning<'a> {
    /// The run.
    pub(super) run_id: RunId,
    /// Its workflow.
    pub(super) workflow: &'a WorkflowName,
    /// What it is pinned to.
    pub(super) definition: &'a Definition,
    /// Its tags.
    pub(super) tags: &'a BTreeSet<TagName>,
    /// How it begins.
    pub(super) begins: Begins<'a>,
}

/// How a run begins.
#[derive(Clone, Copy)]
pub(super) enum Begins<'a> {
    /// It starts, with this budget.
    Anew(Option<RunBudget>),
    /// It is redriven.
    Again {
        /// The run as it stands.
        resident: &'a Resident,
        /// The steps that are done again.
        steps: &'a BTreeSet<StepName>,
        /// The one that keeps its items, and how many of them are still to be done.
        kept: Option<(&'a StepName, u64)>,
    },
}

impl<'a> Planning<'a> {
    /// The steps that it is to do, each with its items; none where nothing bounds them.
    fn steps(&self) -> Vec<(&'a StepName, &'a Step, Option<u64>)> {
        let all = self.definition.steps().iter();
        let all = all.map(|(name, step)| (name, step, items(step)));
        match self.begins {
            Begins::Anew(_) => all.collect(),
            Begins::Again { steps, kept, .. } => {
                let left = |name: &StepName| kept.filter(|(one, _)| *one == name);
                all.filter(|(name, ..)| steps.contains(*name))
                    .map(|(name, step, items)| match left(name) {
                        Some((_, left)) => (name, step, Some(left)),
                        None => (name, step, items),
                    })
                    .collect()
            }
        }
    }

    /// An account as it is when the run begins.
    fn account(&self, view: &View<'_>, id: &AccountId) -> Account {
        if let Begins::Again { resident, .. } = self.begins {
            let own = view.books(resident).account(id).cloned();
            return own.unwrap_or_default();
        }
        let own = match (id, self.begins) {
            (AccountId::Run(_), Begins::Anew(budget)) => budget,
            (AccountId::Step(_, key), _) => {
                let step = self.definition.step(key.name());
                step.and_then(|step| step.budget).map(|budget| RunBudget {
                    limit: budget.limit,
                    on_exceed: budget.on_exceed,
                })
            }
            (
                AccountId::Run(_)
                | AccountId::Workspace
                | AccountId::Workflow(_)
                | AccountId::Agent(_)
                | AccountId::Tag(_),
                _,
            ) => None,
        };
        match own {
            Some(budget) => Account::new(budget.limit, budget.on_exceed),
            None => view.workspace.accounts.get(id).cloned().unwrap_or_default(),
        }
    }

    /// Whether a limit stands in an account that it counts in.
    fn is_limited(&self, view: &View<'_>, known: &Known<'_>) -> bool {
        let run = self.run_id;
        let steps = self.definition.steps().keys();
        let steps = steps.map(|name| AccountId::Step(run, StepKey::of(name)));
        let agents = self.definition.agents().into_iter();
        let own = [
            AccountId::Workspace,
            AccountId::Run(run),
            AccountId::Workflow(self.workflow.clone()),
        ];
        let tags = self.tags.iter().cloned().map(AccountId::Tag);
        let own = own.into_iter().chain(tags).chain(steps);
        let mut all = own
            .chain(agents.map(AccountId::Agent))
            .chain(known.accounts(view));
        all.any(|id| !self.account(view, &id).limit().is_none())
    }
}

/// What a run can cost at most.
pub(super) struct Plan {
    run_id: RunId,
    /// By account; those of steps too.
    worst: BTreeMap<AccountId, Amount>,
    unbounded: Vec<StepName>,
    /// The same, by what can be held for it.
    holds: BTreeMap<(StepName, WorkflowName, AgentName), Amount>,
    tags: BTreeSet<TagName>,
    /// The own budgets of workflows that are used.
    within: Vec<Within>,
    /// Whether a limit stands anywhere, so that somebody wants to know what has no bound.
    limited: bool,
}

/// The accounts in which a plan could never fit.
pub(super) struct Over {
    /// Those whose limits hold.
    pub(super) failing: Vec<FailingAccount>,
    /// Those whose limits are only looked at.
    pub(super) observed: Vec<FailingAccount>,
    /// Whether one of the first ends runs for that; of those whose limit can still be changed.
    pub(super) strictest: OnExceed,
    /// How many of the first belong to a run that has ended, whose limits stay as they are: refusing for
    /// them would end it for good.
    pub(super) fixed: usize,
}

impl Over {
    fn judge(&mut self, (id, account): (&AccountId, Account), amount: &Amount, begins: Begins<'_>) {
        let fixed = id.run().is_some() && matches!(begins, Begins::Again { .. });
        let books = BTreeMap::from([(id.clone(), account)]);
        let path = [id.clone()].into_iter().collect();
        let looked_at = would_refuse(&books, &path, amount);
        let never = looked_at.filter(|one| one.refusal == Refusal::Exceeded);
        self.observed
            .extend(never.into_iter().flat_map(|one| one.failing));
        if let Verdict::Exceeded { failing, on_exceed } =
            check(&books, &path, amount, &Staying::none())
        {
            if fixed {
                self.fixed += failing.len();
            } else {
                self.strictest = self.strictest.stricter(on_exceed);
            }
            self.failing.extend(failing);
        }
    }
}

impl Plan {
    pub(super) fn of(view: &View<'_>, planning: &Planning<'_>) -> Self {
        let mut known = Known::default();
        let within = within(view, planning.definition, &mut known);
        let mut plan = Self {
            run_id: planning.run_id,
            worst: BTreeMap::new(),
            unbounded: Vec::new(),
            holds: BTreeMap::new(),
            tags: planning.tags.clone(),
            within,
            limited: false,
        };
        for (name, step, items) in planning.steps() {
            let worst = known.step(view, (planning.workflow, step), items);
            if worst.unbounded {
                plan.is_unbounded(name);
            }
            for (who, amount) in &worst.costs {
                plan.add(name, *who, amount);
            }
        }
        plan.limited = !plan.within.is_empty() || planning.is_limited(view, &known);
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
    /// for the others, step by step. A budget of a workflow that is used is told by the outermost run and
    /// its path: each run of it has one of its own.
    pub(super) fn over(&self, view: &View<'_>, planning: &Planning<'_>) -> Over {
        let mut over = Over {
            failing: Vec::new(),
            observed: Vec::new(),
            strictest: OnExceed::Pause,
            fixed: 0,
        };
        for (id, amount) in &self.worst {
            let account = planning.account(view, id);
            over.judge((id, account), amount, planning.begins);
        }
        for one in &self.within {
            let known = over.failing.len();
            let account = Account::new(one.budget.limit, one.budget.on_exceed);
            let own = (&AccountId::Run(self.run_id), account);
            over.judge(own, &one.worst, planning.begins);
            let kind = match one.of {
                Whose::Run => "run",
                Whose::Step => "step",
            };
            for failing in over.failing.iter_mut().skip(known) {
                failing.account = format!("{kind}:{}/{}", self.run_id, one.path);
            }
        }
        over
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

    /// What was found, for the log; none where nothing is known of what it can cost and no limit stands
    /// against that.
    pub(super) fn facts(self, check: PlanCheck, over: Over) -> Option<RunPlanned> {
        let worst_case = self.worst.get(&AccountId::Workspace).copied();
        let worst_case = worst_case.unwrap_or_default();
        let blind = self.limited && !self.unbounded.is_empty();
        (blind || !worst_case.is_zero()).then_some(RunPlanned {
            check,
            worst_case,
            unbounded: self.unbounded,
            over: over.failing,
            observed: over.observed,
            reserved: Vec::new(),
        })
    }
}
