//! What is held for steps of a run before any of them goes out, and how events change it.
//!
//! These holds are among the run's others, under attempt 0. Nothing draws on them: a step that goes out
//! takes its hold in their stead, in one commit. What is *not* here: who decides that
//! (`sequencer::decide::reserving`).

use super::HoldKey;
use super::apply::RunEvent;
use super::state::Run;
use crate::budget::{AccountId, Hold, Path};
use crate::error::{Error, Result};
use crate::event::EventKind;
use crate::event::run::{PlanReleased, PlannedHold};
use crate::id::{StepKey, StepName};

impl Run {
    /// The accounts that what is held for a step counts in.
    pub fn planned_path(&self, planned: &PlannedHold) -> Path {
        [
            AccountId::Workspace,
            AccountId::Workflow(planned.workflow.clone()),
            AccountId::Agent(planned.agent.clone()),
            AccountId::Run(self.run_id),
            AccountId::Step(self.run_id, StepKey::of(&planned.step)),
        ]
        .into_iter()
        .chain(self.created.tags.iter().cloned().map(AccountId::Tag))
        .collect()
    }

    /// What is held for steps before they go out.
    pub fn planned(&self) -> impl Iterator<Item = (&HoldKey, &Hold)> {
        self.holds.iter().filter(|(key, _)| key.is_planned())
    }

    /// As [`Self::planned`], of one step.
    pub fn planned_for(&self, step: &StepName) -> impl Iterator<Item = (&HoldKey, &Hold)> {
        let keys = HoldKey::planned(step, 0)..=HoldKey::planned(step, u32::MAX);
        self.holds.range(keys)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`apply_kind` sends only these kinds here"
)]
pub(super) fn apply(run: &mut Run, event: &RunEvent<'_>) -> Result<()> {
    match event.kind {
        EventKind::RunPlanned(facts) => {
            for (number, one) in (0..).zip(&facts.reserved) {
                let path = run.planned_path(one);
                let hold = Hold::open_at(path, event.ts, one.amount);
                let hold = hold.map_err(|fault| event.refuse("ledger").with_source(fault))?;
                run.holds.insert(HoldKey::planned(&one.step, number), hold);
            }
            Ok(())
        }
        EventKind::PlanReleased(facts) => released(run, facts, event),
        _ => Err(event.refuse("not_of_the_plan")),
    }
}

fn released(run: &mut Run, facts: &PlanReleased, event: &RunEvent<'_>) -> Result<()> {
    let key = HoldKey::planned(&facts.step, facts.hold);
    let refuse = || -> Error { event.refuse("planned_hold") };
    let hold = run.holds.get_mut(&key).ok_or_else(refuse)?;
    hold.give_back(facts.amount)
        .map_err(|fault| event.refuse("ledger").with_source(fault))?;
    if hold.amount().is_zero() {
        run.holds.remove(&key);
    }
    Ok(())
}
