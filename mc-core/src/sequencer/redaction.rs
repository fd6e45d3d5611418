//! Redaction: which content of which event is redacted before it is hashed and stored.
//!
//! Facts are never touched: they hold no content, and their digests are over the exact bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;

use super::decision::{NewEvent, NewPart};
use crate::event::{EventKind, MediaType};
use crate::json;
use crate::policy::guard::{Redaction, RedactionScope, Redactor, redact_value};

/// What stands where the redactor failed, or where there is no text to redact.
const LEFT_OUT: &str = "[redacted: left out]";

/// What the parts of an event are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// The engine does not hand it on, but for answers from the journal.
    Shown,
    /// The engine hands it on.
    Passed,
    /// It is no content of agents: definitions, policies.
    Fixed,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other events have no content of agents"
)]
const fn sort(kind: &EventKind) -> Sort {
    match kind {
        EventKind::ModelCallReserved(_)
        | EventKind::ModelCallSettled(_)
        | EventKind::ModelCallReleased(_)
        | EventKind::ModelCallDoubted(_)
        | EventKind::ToolCallDispatched(_)
        | EventKind::ToolCallDenied(_)
        | EventKind::ToolCallFailed(_)
        | EventKind::AttemptFailed(_)
        | EventKind::DecisionRecorded(_)
        | EventKind::SideEffectRecorded(_)
        | EventKind::ApprovalRequested(_)
        | EventKind::GuardrailJudged(_)
        | EventKind::ResultLate(_) => Sort::Shown,
        EventKind::RunCreated(_)
        | EventKind::StepDispatched(_)
        | EventKind::StepCompleted(_)
        | EventKind::StepSuspended(_)
        | EventKind::StepResolved(_)
        | EventKind::ToolCallCompleted(_)
        | EventKind::OnceRecorded(_)
        | EventKind::SignalReceived(_) => Sort::Passed,
        _ => Sort::Fixed,
    }
}

/// Redacts the content of an event.
pub(super) fn redact(redaction: &Redaction, event: &mut NewEvent) {
    let meant = match (sort(&event.kind), redaction.scope) {
        (Sort::Shown, _) | (Sort::Passed, RedactionScope::Everything) => true,
        (Sort::Passed, RedactionScope::Shown) | (Sort::Fixed, _) => false,
    };
    if !meant {
        return;
    }
    for part in &mut event.parts {
        // A redactor is the host's code: its panic takes the part, not the engine.
        let safe = AssertUnwindSafe(|| clean(redaction.redactor.as_ref(), part));
        *part = catch_unwind(safe)
            .ok()
            .flatten()
            .unwrap_or_else(|| left_out(part));
    }
}

/// The part as it may be stored; none where it holds no text that could be looked at.
fn clean(redactor: &dyn Redactor, part: &NewPart) -> Option<NewPart> {
    let text = std::str::from_utf8(&part.bytes).ok()?;
    let value = match part.media_type {
        MediaType::Text => None,
        MediaType::Json | MediaType::Octets => serde_json::from_str::<Value>(text).ok(),
    };
    let bytes: Arc<[u8]> = match &value {
        Some(value) => json::canonical(&redact_value(redactor, value)).into(),
        None => redactor.redact(text).as_bytes().into(),
    };
    if bytes == part.bytes {
        return Some(part.clone());
    }
    let kept = part.value.as_ref();
    Some(NewPart {
        media_type: part.media_type,
        bytes,
        value: kept.map(|value| Arc::new(redact_value(redactor, value))),
    })
}

fn left_out(part: &NewPart) -> NewPart {
    let value = Value::from(LEFT_OUT);
    let bytes: Arc<[u8]> = match part.media_type {
        MediaType::Json => json::canonical(&value).into(),
        MediaType::Text | MediaType::Octets => LEFT_OUT.as_bytes().into(),
    };
    NewPart {
        media_type: part.media_type,
        bytes,
        value: part.value.as_ref().map(|_| Arc::new(value)),
    }
}
