//! What a request is to a process that has joined another: the one table to look at for a new verb.
//!
//! A request crosses from process to process as it is. What has to be known of it besides stands here:
//! who may send it, which of it is content, and what it is answered when it turns out to have been
//! done already.

use serde_json::Value;

use super::proof::Proof;
use crate::id::RunId;
use crate::sequencer::{AttemptRequest, Request, Resolution};

/// A request on its way from a joined process to its owner.
pub(super) struct Passage<'a> {
    /// How the owner takes it.
    pub(super) way: Way,
    /// Which of it is held against the limits of the log.
    pub(super) content: Content<'a>,
    /// What shows in the log that it was done. None for what is decided again: it gives the same once
    /// more, or its token is dead by now, which is the answer then.
    pub(super) if_done: Option<Proof>,
}

/// How an owner takes a request of a joined process.
pub(super) enum Way {
    /// Like one of its own.
    Plain,
    /// Not at all.
    OwnersOnly,
    /// It brings agents.
    Agents,
    /// The owner's clock is meant.
    Clock,
    /// It comes from an attempt that is out there.
    Attempt,
    /// It opens a session there.
    Opens(RunId),
    /// It ends a session there.
    Closes(RunId),
}

/// What somebody handed in, in a request.
pub(super) enum Content<'a> {
    /// Nothing of any size.
    Nothing,
    /// One value, by what it is called.
    Value(&'static str, &'a Value),
    /// What an attempt says.
    Attempt(&'a AttemptRequest),
}

/// Looks a request up.
pub(super) fn of(request: &Request) -> Passage<'_> {
    let by = |way: Way| Passage {
        way,
        content: Content::Nothing,
        if_done: shown_by(request),
    };
    let plain = by(Way::Plain);
    match request {
        Request::Abort(_)
        | Request::Pause(_)
        | Request::Resume(_)
        | Request::Halt(_)
        | Request::Lift(_)
        | Request::Redrive(_)
        | Request::Unblock(..)
        | Request::SetLimit(_)
        | Request::Adjust(_)
        | Request::Reconcile(_)
        | Request::Publish(_)
        | Request::Activate(_)
        | Request::ChangePrices(_)
        | Request::PublishPolicy(_)
        | Request::DecideApproval(_)
        | Request::RevokeApproval(_)
        | Request::StartDispatch => plain,
        Request::Signal(_, _, payload) => Passage {
            content: Content::Value("payload", payload),
            ..plain
        },
        Request::Resolve(resolve) => Passage {
            content: resolved(&resolve.resolution),
            ..plain
        },
        Request::Start(start) => Passage {
            content: Content::Value("input", &start.input),
            ..plain
        },
        Request::OpenSession(open) => Passage {
            way: Way::Opens(open.run_id),
            ..plain
        },
        Request::CloseSession(run) => by(Way::Closes(*run)),
        Request::Attempt(_, request) => Passage {
            way: Way::Attempt,
            content: Content::Attempt(request),
            ..plain
        },
        Request::AgentsAvailable(_) => by(Way::Agents),
        Request::ClockConfirmed { .. } => by(Way::Clock),
        Request::AgentsGone(_)
        | Request::Drain
        | Request::Tick
        | Request::Recover(..)
        | Request::HostLost(..)
        | Request::ClockJumped { .. } => by(Way::OwnersOnly),
    }
}

/// What shows that a request was done.
fn shown_by(request: &Request) -> Option<Proof> {
    match request {
        Request::Publish(_)
        | Request::Activate(_)
        | Request::ChangePrices(_)
        | Request::PublishPolicy(_) => None,
        Request::DecideApproval(decide) => Some(Proof::Decided(decide.word.approval)),
        Request::RevokeApproval(word) => Some(Proof::Revoked(word.approval)),
        Request::Start(start) => Some(Proof::Created(start.run_id)),
        Request::OpenSession(open) => Some(Proof::Created(open.run_id)),
        Request::Attempt(_, request) => if_reported(request),
        Request::Abort(_)
        | Request::Pause(_)
        | Request::Resume(_)
        | Request::Halt(_)
        | Request::Lift(_)
        | Request::Redrive(_)
        | Request::Unblock(..)
        | Request::SetLimit(_)
        | Request::Adjust(_)
        | Request::Reconcile(_)
        | Request::StartDispatch
        | Request::Signal(..)
        | Request::Resolve(_)
        | Request::CloseSession(_)
        | Request::AgentsAvailable(_)
        | Request::ClockConfirmed { .. }
        | Request::AgentsGone(_)
        | Request::Drain
        | Request::Tick
        | Request::Recover(..)
        | Request::HostLost(..)
        | Request::ClockJumped { .. } => Some(Proof::Anything),
    }
}

fn resolved(resolution: &Resolution) -> Content<'_> {
    match resolution {
        Resolution::Happened(output) => Content::Value("output", output),
        Resolution::DidNotHappen | Resolution::Abort => Content::Nothing,
    }
}

/// What an attempt's report is answered that is in the log already. What an attempt asks for is decided
/// again: its token is dead by then.
const fn if_reported(request: &AttemptRequest) -> Option<Proof> {
    match request {
        AttemptRequest::ReserveCall(_)
        | AttemptRequest::DrawCall(..)
        | AttemptRequest::ReportCall(..)
        | AttemptRequest::FailCall(_)
        | AttemptRequest::Progress(_)
        | AttemptRequest::BeginTool(_)
        | AttemptRequest::LookUpOnce(_) => None,
        AttemptRequest::SettleCall(_) | AttemptRequest::EndTool(_) => Some(Proof::Answered),
        AttemptRequest::RecordOnce(..)
        | AttemptRequest::Decision(_)
        | AttemptRequest::SideEffect(_)
        | AttemptRequest::Complete(_)
        | AttemptRequest::Fail(_)
        | AttemptRequest::Suspend(..)
        | AttemptRequest::NotBegun
        | AttemptRequest::Ended => Some(Proof::Anything),
    }
}
