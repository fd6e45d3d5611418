//! Whether a row matches a query: the meaning of every field, said once for all adapters.

use mc_core::event::Record;
use mc_core::ports::{EventQuery, RunQuery, RunSummary};

/// Whether a run matches in every field that the query gives.
pub(crate) fn run_matches(query: &RunQuery, run: &RunSummary) -> bool {
    let workflow = query
        .workflow
        .as_ref()
        .is_none_or(|want| run.workflow.as_ref() == Some(want));
    let agent = query
        .agent
        .as_ref()
        .is_none_or(|want| run.agents.contains(want));
    let status = query.status.is_none_or(|want| run.status == want);
    let label = query
        .label
        .as_ref()
        .is_none_or(|want| run.labels.contains(want));
    let from = query.started_from.is_none_or(|from| run.started_at >= from);
    let before = query
        .started_before
        .is_none_or(|before| run.started_at < before);
    let least = query.spent_at_least.is_none_or(|least| run.spent >= least);
    let most = query.spent_at_most.is_none_or(|most| run.spent <= most);
    workflow && agent && status && label && from && before && least && most
}

/// Whether an event matches in every field that the query gives.
pub(crate) fn event_matches(query: &EventQuery, record: &Record) -> bool {
    let kind = query.kind.as_ref().is_none_or(|want| record.kind == *want);
    let actor = query
        .actor
        .as_ref()
        .is_none_or(|want| record.actor == *want);
    let run = query.run_id.is_none_or(|want| record.run_id == want);
    let from = query.from.is_none_or(|from| record.ts >= from);
    let before = query.before.is_none_or(|before| record.ts < before);
    kind && actor && run && from && before
}
