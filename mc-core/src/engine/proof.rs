//! What the log says of a command that was taken before, by this owner or by one that died: the events
//! that it has written show its answer.
//!
//! A command that was refused may have written that it was. What is *not* here: which command is shown
//! by what (`passage`), and how its events are found (`guest`).

use crate::error::{Detail, Error, ErrorKind};
use crate::event::EventKind;
use crate::event::approval::VoidReason;
use crate::id::{ApprovalId, RunId};
use crate::policy::Mode;
use crate::sequencer::Reply;
use crate::sequencer::decide::approve::refusal_error;

/// An event that a command has written, and the run that it belongs to.
pub(super) type Wrote = (RunId, EventKind);

/// What shows that a command was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Whatever it has written.
    Anything,
    /// That its run was made.
    Created(RunId),
    /// That an approval was decided, or why that did not count.
    Decided(ApprovalId),
    /// That an approval was taken back, or why that did not count.
    Revoked(ApprovalId),
    /// Whatever it has written of an answer, unless a rule of the policy refused that.
    Answered,
}

impl Proof {
    /// The answer to a command that has written these events; none where they leave it open: it is
    /// decided again.
    pub(super) fn reply(self, wrote: &[Wrote]) -> Option<Reply> {
        let any = |is: &dyn Fn(&Wrote) -> bool| wrote.iter().any(is);
        match self {
            Self::Anything => (!wrote.is_empty()).then_some(Reply::Done),
            Self::Created(run) => {
                let made = |one: &Wrote| one.0 == run && matches!(one.1, EventKind::RunCreated(_));
                any(&made).then_some(Reply::Run(run))
            }
            Self::Decided(approval) => {
                let decided = |one: &Wrote| matches!(one.1, EventKind::ApprovalDecided(_));
                let done = any(&decided).then_some(Reply::Done);
                done.or_else(|| refused(approval, wrote))
            }
            Self::Revoked(approval) => {
                let by_word = VoidReason::Revoked;
                let revoked = |one: &Wrote| matches!(&one.1, EventKind::ApprovalVoided(facts) if facts.reason == by_word);
                let done = any(&revoked).then_some(Reply::Done);
                done.or_else(|| refused(approval, wrote))
            }
            Self::Answered if wrote.is_empty() => None,
            Self::Answered => Some(denied(wrote).unwrap_or(Reply::Done)),
        }
    }
}

fn refused(approval: ApprovalId, wrote: &[Wrote]) -> Option<Reply> {
    wrote.iter().find_map(|(_, kind)| {
        let EventKind::ApprovalRefused(facts) = kind else {
            return None;
        };
        let error = refusal_error(approval, facts.reason);
        Some(Reply::Refused(error.into()))
    })
}

fn denied(wrote: &[Wrote]) -> Option<Reply> {
    wrote.iter().find_map(|(_, kind)| {
        let EventKind::GuardrailJudged(facts) = kind else {
            return None;
        };
        let forbids = matches!(facts.verdict.as_str(), "deny" | "halt");
        if facts.mode != Mode::Enforce || !forbids {
            return None;
        }
        let rule = facts.rule.clone();
        let message = format!("{rule}: the answer is refused by this rule");
        let subject = facts.step.to_string();
        let error = Error::new(ErrorKind::PolicyDenied, message);
        let error = error.with_detail(Detail::Rule { rule, subject });
        Some(Reply::Refused(error.into()))
    })
}
