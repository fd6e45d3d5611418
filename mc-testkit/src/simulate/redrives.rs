//! I5 of a redrive: what an operator's word may open again, and what it may not.

use mc_core::event::RunStatus;
use mc_core::event::StepStatus;
use mc_core::event::run::RunRedriven;
use mc_core::id::StepName;
use mc_core::run::{Run, Step};

/// What is wrong about a redrive of a run, as it was before.
pub(super) fn wrong(run: &Run, facts: &RunRedriven) -> Option<String> {
    let id = run.run_id;
    if run.status != RunStatus::Failed || run.outer().is_some() {
        return Some(format!("{id} was redriven and is {}", run.status));
    }
    if !facts.steps.contains(&facts.from) {
        return Some(format!(
            "{id} goes on from `{}`, which it leaves as it is",
            facts.from
        ));
    }
    let redone = |name: &str| facts.steps.iter().any(|one| one.as_str() == name);
    let lasting = |step: &Step| {
        step.status.0 == StepStatus::Completed
            && step.risk.is_some_and(|risk| !risk.is_repeatable())
    };
    for (key, step) in &run.steps {
        if run.is_in_doubt(key) {
            return Some(format!("{id} was redriven with `{key}` in doubt"));
        }
        if redone(key.name()) && lasting(step) {
            return Some(format!("{id} does `{key}` again, which cannot be undone"));
        }
    }
    let acted = run
        .nested
        .values()
        .find(|nested| nested.acted && redone(nested.step.name()));
    acted.map(|nested| format!("{id} does `{}` again, which cannot be undone", nested.step))
}

/// The step that an operator names, now and then.
pub(super) fn from(
    names: &[StepName],
    draw: &mut super::draw::Draw,
) -> Option<mc_core::id::StepKey> {
    let says_one = draw.one_in(2);
    let name = draw.pick(names).filter(|_| says_one);
    name.map(mc_core::id::StepKey::of)
}
