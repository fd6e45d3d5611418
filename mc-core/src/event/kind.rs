//! Every kind of event, by name.
//!
//! One line a kind ties the wire name to the struct of its facts. Facts are compact JSON with the
//! keys in the order of the struct's fields; there are no floats in them. Adding a kind: a line
//! here, a struct, an arm in `run::apply` or `sequencer::workspace`, the decision that makes it.

use serde::{Deserialize, Serialize};

use super::{approval, budget, call, run, step, workspace};
use crate::error::{Error, Result};

/// The version of the facts' shapes that this code writes.
pub const FACTS_VERSION: u16 = 1;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($facts:ty) = $wire:literal,)*) => {
        /// What an event says: its type and its facts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum EventKind {
            $($(#[$doc])* $name($facts),)*
        }

        impl EventKind {
            /// Every wire name, in the order of this file.
            pub const NAMES: &'static [&'static str] = &[$($wire,)*];

            /// The wire name: `noun.past_participle`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $wire,)*
                }
            }

            /// The facts as compact JSON, written once and hashed as they are.
            ///
            /// # Errors
            /// `Internal`, which cannot happen for these shapes: no maps with odd keys, no floats.
            pub fn facts(&self) -> Result<String> {
                let written = match self {
                    $(Self::$name(facts) => serde_json::to_string(facts),)*
                };
                written.map_err(|e| Error::internal("facts cannot be written").with_source(e))
            }

            /// Reads the facts of a type back.
            ///
            /// # Errors
            /// `Corrupt` for an unknown type, and for facts that are not of its shape.
            pub fn read(name: &str, facts: &str) -> Result<Self> {
                match name {
                    $($wire => read_facts(facts).map(Self::$name),)*
                    _ => Err(Error::corrupt("event_type", None).with_context("type", name)),
                }
            }
        }

        $(impl From<$facts> for EventKind {
            fn from(facts: $facts) -> Self {
                Self::$name(facts)
            }
        })*
    };
}

fn read_facts<'a, T: Deserialize<'a> + Serialize>(facts: &'a str) -> Result<T> {
    serde_json::from_str(facts).map_err(|e| Error::corrupt("facts", None).with_source(e))
}

kinds! {
    /// The workspace was made: the first event of a store.
    WorkspaceCreated(workspace::WorkspaceCreated) = "workspace.created",
    /// An owner took over: at every open and every soft restart.
    EpochStarted(workspace::EpochStarted) = "epoch.started",
    /// The wall clock left the monotonic clock by more than five minutes.
    ClockJumped(workspace::ClockJumped) = "clock.jumped",
    /// An operator says that a wall clock which jumped ahead is right: it is followed at once.
    ClockConfirmed(workspace::ClockConfirmed) = "clock.confirmed",
    /// A version of a workflow was stored.
    WorkflowPublished(workspace::WorkflowPublished) = "workflow.published",
    /// New runs take this version.
    WorkflowActivated(workspace::WorkflowActivated) = "workflow.activated",
    /// A price table is in force.
    PricesLoaded(workspace::PricesLoaded) = "prices.loaded",
    /// A version of the policy is in force; the limits that it names follow in the same commit.
    PolicyPublished(workspace::PolicyPublished) = "policy.published",
    /// A rule judged a run before it started, or a session before it opened.
    AdmissionJudged(workspace::AdmissionJudged) = "admission.judged",
    /// A model's breaker opened: its calls are blocked.
    CircuitOpened(workspace::CircuitOpened) = "circuit.opened",
    /// A model's breaker lets one call through.
    CircuitHalfOpened(workspace::CircuitHalfOpened) = "circuit.half_opened",
    /// A model's breaker closed: its calls are admitted again.
    CircuitClosed(workspace::CircuitClosed) = "circuit.closed",

    /// A run or session begins; enters `pending`.
    RunCreated(run::RunCreated) = "run.created",
    /// The run's first step moves; `pending -> running`.
    RunStarted(run::RunStarted) = "run.started",
    /// No new dispatch until resumed; a flag beside the status.
    RunPaused(run::RunPaused) = "run.paused",
    /// Dispatch goes on.
    RunResumed(run::RunResumed) = "run.resumed",
    /// Every step that had to is completed; `running -> completed`.
    RunCompleted(run::RunCompleted) = "run.completed",
    /// A step failed for good; `running -> failed`.
    RunFailed(run::RunFailed) = "run.failed",
    /// Ended by an operator, a budget or a policy; `pending | running -> aborted`.
    RunAborted(run::RunAborted) = "run.aborted",
    /// The evidence is complete: nothing of the run is open any more.
    RunSealed(run::RunSealed) = "run.sealed",
    /// What the run can cost at most was worked out before any of it went out.
    RunPlanned(run::RunPlanned) = "run.planned",
    /// A run was not started: its worst case could never fit.
    RunRefused(run::RunRefused) = "run.refused",
    /// A signal arrived for the run.
    SignalReceived(run::SignalReceived) = "signal.received",

    /// An attempt is out, its hold taken; `waiting -> running`.
    StepDispatched(step::StepDispatched) = "step.dispatched",
    /// A `for_each` step has its items; `waiting -> running`.
    StepExpanded(step::StepExpanded) = "step.expanded",
    /// The step has its output; `running -> completed`.
    StepCompleted(step::StepCompleted) = "step.completed",
    /// An attempt ended with an error; `running -> waiting`.
    AttemptFailed(step::AttemptFailed) = "attempt.failed",
    /// An attempt's token was revoked while it is still out; `running -> waiting`.
    AttemptAbandoned(step::AttemptAbandoned) = "attempt.abandoned",
    /// An attempt was out when its process died; `running -> waiting`.
    AttemptInterrupted(step::AttemptInterrupted) = "attempt.interrupted",
    /// A live attempt goes on under a new epoch after a soft restart.
    AttemptAdopted(step::AttemptAdopted) = "attempt.adopted",
    /// An abandoned attempt ended without a result.
    AttemptEnded(step::AttemptEnded) = "attempt.ended",
    /// An attempt ended to wait for a signal or a time; `running -> blocked | waiting`.
    StepSuspended(step::StepSuspended) = "step.suspended",
    /// The step waits for what a person, a host or a breaker has to clear.
    StepBlocked(step::StepBlocked) = "step.blocked",
    /// What blocked the step is cleared.
    StepUnblocked(step::StepUnblocked) = "step.unblocked",
    /// Somebody found out what became of a step in doubt; `blocked -> running | waiting`, or as it was.
    StepResolved(step::StepResolved) = "step.resolved",
    /// The step failed for good; `waiting | running | blocked -> failed`.
    StepFailed(step::StepFailed) = "step.failed",
    /// The step is not needed: its condition was false; `waiting -> skipped`.
    StepSkipped(step::StepSkipped) = "step.skipped",
    /// The run ended, or a join was reached without it; `-> cancelled`.
    StepCancelled(step::StepCancelled) = "step.cancelled",
    /// An attempt whose token was revoked reports all the same; the state stays.
    ResultLate(step::ResultLate) = "result.late",
    /// An agent's own account of a decision.
    DecisionRecorded(step::DecisionRecorded) = "decision.recorded",
    /// An agent's own account of what it changed in the world.
    SideEffectRecorded(step::SideEffectRecorded) = "side_effect.recorded",

    /// A model call may go out; its worst case is held.
    ModelCallReserved(call::ModelCallReserved) = "model_call.reserved",
    /// A model call was answered and paid for.
    ModelCallSettled(call::ModelCallSettled) = "model_call.settled",
    /// The provider refused a model call; it waits, nothing was billed.
    ModelCallThrottled(call::ModelCallThrottled) = "model_call.throttled",
    /// A model call failed without being billed.
    ModelCallReleased(call::ModelCallReleased) = "model_call.released",
    /// Whether a model call was billed is not known.
    ModelCallDoubted(call::ModelCallDoubted) = "model_call.doubted",
    /// A model call was refused by a budget or a policy before it went out.
    ModelCallDenied(call::ModelCallDenied) = "model_call.denied",
    /// A tool call goes out.
    ToolCallDispatched(call::ToolCallDispatched) = "tool_call.dispatched",
    /// A tool call was refused by a rule or a person before it went out.
    ToolCallDenied(call::ToolCallDenied) = "tool_call.denied",
    /// A tool call was answered.
    ToolCallCompleted(call::ToolCallCompleted) = "tool_call.completed",
    /// A tool call failed.
    ToolCallFailed(call::ToolCallFailed) = "tool_call.failed",
    /// A value that is computed once per intent.
    OnceRecorded(call::OnceRecorded) = "once.recorded",
    /// A re-dispatched attempt asked for something else than before: from here it runs live.
    JournalDiverged(call::JournalDiverged) = "journal.diverged",
    /// A rule judged; in mode `observe` it only says what it would have done.
    GuardrailJudged(call::GuardrailJudged) = "guardrail.judged",

    /// A person is asked, with the exact parameters; enters `pending`.
    ApprovalRequested(approval::ApprovalRequested) = "approval.requested",
    /// A person has decided; `pending -> approved | rejected`.
    ApprovalDecided(approval::ApprovalDecided) = "approval.decided",
    /// The approval is used up by the dispatch in the same commit; `approved -> consumed`.
    ApprovalConsumed(approval::ApprovalConsumed) = "approval.consumed",
    /// The request or the approval ended unused; `pending | approved -> voided`.
    ApprovalVoided(approval::ApprovalVoided) = "approval.voided",
    /// An operator's word about an approval does not count; the state stays.
    ApprovalRefused(approval::ApprovalRefused) = "approval.refused",

    /// Money in doubt was settled with evidence.
    BudgetReconciled(budget::BudgetReconciled) = "budget.reconciled",
    /// An account's limit was changed.
    BudgetLimitSet(budget::BudgetLimitSet) = "budget.limit_set",
    /// An account's limit was raised by an amount, perhaps for a time.
    BudgetToppedUp(budget::BudgetToppedUp) = "budget.topped_up",
    /// An account admits nothing more.
    BudgetFrozen(budget::BudgetFrozen) = "budget.frozen",
    /// An account admits again.
    BudgetUnfrozen(budget::BudgetUnfrozen) = "budget.unfrozen",
    /// What was changed about an account for a time is as it was.
    BudgetLapsed(budget::BudgetLapsed) = "budget.lapsed",
    /// Spent, reserved and in doubt of an account reached a share of its limit.
    BudgetThresholdReached(budget::BudgetThresholdReached) = "budget.threshold_reached",
    /// An account counts in a new period from now on.
    BudgetWindowOpened(budget::BudgetWindowOpened) = "budget.window_opened",
    /// A period of an account is over, and nothing that was reserved in it is open any more.
    BudgetWindowClosed(budget::BudgetWindowClosed) = "budget.window_closed",
    /// More was billed than the account allows: nothing more is admitted.
    BudgetBreached(budget::BudgetBreached) = "budget.breached",
}

impl EventKind {
    /// The step that the event moves or tells of.
    #[rustfmt::skip]
    pub const fn step(&self) -> Option<&crate::id::StepKey> {
        match self {
            Self::StepDispatched(f) => Some(&f.step),
            Self::StepExpanded(f) => Some(&f.step),
            Self::StepCompleted(f) => Some(&f.step),
            Self::AttemptFailed(f) => Some(&f.step),
            Self::AttemptAbandoned(f) => Some(&f.step),
            Self::AttemptInterrupted(f) => Some(&f.step),
            Self::AttemptAdopted(f) => Some(&f.step),
            Self::AttemptEnded(f) => Some(&f.step),
            Self::StepSuspended(f) => Some(&f.step),
            Self::StepBlocked(f) => Some(&f.step),
            Self::StepUnblocked(f) => Some(&f.step),
            Self::StepFailed(f) => Some(&f.step),
            Self::StepSkipped(f) => Some(&f.step),
            Self::StepCancelled(f) => Some(&f.step),
            Self::ResultLate(f) => Some(&f.step),
            Self::DecisionRecorded(f) => Some(&f.step),
            Self::SideEffectRecorded(f) => Some(&f.step),
            Self::ModelCallReserved(f) => Some(&f.step),
            Self::ModelCallSettled(f) => Some(&f.step),
            Self::ModelCallThrottled(f) => Some(&f.step),
            Self::ModelCallReleased(f) => Some(&f.step),
            Self::ModelCallDoubted(f) => Some(&f.step),
            Self::ModelCallDenied(f) => Some(&f.step),
            Self::ToolCallDispatched(f) => Some(&f.step),
            Self::ToolCallDenied(f) => Some(&f.step),
            Self::ToolCallCompleted(f) => Some(&f.step),
            Self::StepResolved(f) => Some(&f.step),
            Self::ApprovalRequested(f) => Some(&f.step),
            Self::ApprovalDecided(f) => Some(&f.step),
            Self::ApprovalConsumed(f) => Some(&f.step),
            Self::ApprovalVoided(f) => Some(&f.step),
            Self::ApprovalRefused(f) => Some(&f.step),
            Self::ToolCallFailed(f) => Some(&f.step),
            Self::OnceRecorded(f) => Some(&f.step),
            Self::JournalDiverged(f) => Some(&f.step),
            Self::GuardrailJudged(f) => Some(&f.step),
            Self::BudgetReconciled(f) => Some(&f.step),
            Self::WorkspaceCreated(_)
            | Self::EpochStarted(_)
            | Self::ClockJumped(_)
            | Self::ClockConfirmed(_)
            | Self::WorkflowPublished(_)
            | Self::WorkflowActivated(_)
            | Self::PricesLoaded(_)
            | Self::PolicyPublished(_)
            | Self::AdmissionJudged(_)
            | Self::CircuitOpened(_)
            | Self::CircuitHalfOpened(_)
            | Self::CircuitClosed(_)
            | Self::RunCreated(_)
            | Self::RunStarted(_)
            | Self::RunPaused(_)
            | Self::RunResumed(_)
            | Self::RunCompleted(_)
            | Self::RunFailed(_)
            | Self::RunAborted(_)
            | Self::RunSealed(_)
            | Self::RunPlanned(_)
            | Self::RunRefused(_)
            | Self::SignalReceived(_)
            | Self::BudgetLimitSet(_)
            | Self::BudgetToppedUp(_)
            | Self::BudgetFrozen(_)
            | Self::BudgetUnfrozen(_)
            | Self::BudgetLapsed(_)
            | Self::BudgetThresholdReached(_)
            | Self::BudgetWindowOpened(_) | Self::BudgetWindowClosed(_)
            | Self::BudgetBreached(_) => None,
        }
    }
}
