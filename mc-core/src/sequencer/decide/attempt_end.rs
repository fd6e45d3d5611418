//! What the end of an attempt does to its open calls and its hold.

use crate::budget::Amount;
use crate::event::call::ModelCallDoubted;
use crate::id::StepKey;
use crate::run::{CallKind, CallState, HoldKey, Run};
use crate::sequencer::decision::NewEvent;

/// Events that put every open model call of a live attempt in doubt, and what its hold then gives
/// back.
pub fn end_calls(run: &Run, key: &StepKey, code: &str) -> (Vec<NewEvent>, Amount) {
    let Some(step) = run.step(key) else {
        return (Vec::new(), Amount::ZERO);
    };
    let escrow = run.holds.get(&HoldKey::escrow(key.clone(), step.attempt));
    let escrow = escrow.filter(|hold| !hold.is_in_doubt());
    let mut events = Vec::new();
    for (ordinal, call) in &step.calls {
        let open = call.state
            == CallState::Open {
                attempt: step.attempt,
            };
        let (CallKind::Model, true, Some(model)) = (call.kind, open, &call.model) else {
            continue;
        };
        let own = run
            .holds
            .get(&HoldKey::call(key.clone(), step.attempt, *ordinal));
        let doubted = match own {
            Some(hold) => *hold.amount(),
            None => escrow
                .and_then(|h| h.draws().get(ordinal))
                .copied()
                .unwrap_or_default(),
        };
        let facts = ModelCallDoubted {
            step: key.clone(),
            attempt: step.attempt,
            ordinal: *ordinal,
            model: model.clone(),
            code: code.to_owned(),
            doubted,
        };
        events.push(NewEvent::new(run.run_id, facts));
    }
    (
        events,
        escrow.map_or(Amount::ZERO, crate::budget::Hold::free),
    )
}
