//! Every kind of event, by name.
//!
//! One line a kind ties the wire name to the struct of its facts and says what it is about. Facts
//! are compact JSON with the keys in the order of the struct's fields; there are no floats in them.
//! Adding a kind: a line here, a struct, an arm in the file that applies its topic
//! (`run::apply_*` or `sequencer::workspace`), the decision that makes it.

use serde::{Deserialize, Serialize};

use super::{approval, budget, call, nested, run, step, workspace};
use crate::error::{Error, Result};

/// The version of the facts' shapes that this code writes.
pub const FACTS_VERSION: u16 = 1;

/// The step in the facts of a kind: those that are about one have the field `step`.
macro_rules! step_in {
    ($facts:ident, Workspace) => {
        None
    };
    ($facts:ident, Run) => {
        None
    };
    ($facts:ident, Note) => {
        None
    };
    ($facts:ident, Plan) => {
        None
    };
    ($facts:ident, Account) => {
        None
    };
    ($facts:ident, SharedAccount) => {
        None
    };
    ($facts:ident, $topic:ident) => {
        Some(&$facts.step)
    };
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($facts:ty) = $wire:literal of $topic:ident,)*) => {
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

            /// What it is about.
            pub const fn topic(&self) -> Topic {
                match self {
                    $(Self::$name(_) => Topic::$topic,)*
                }
            }

            /// The step that the event moves or tells of.
            pub const fn step(&self) -> Option<&crate::id::StepKey> {
                match self {
                    $(Self::$name(_facts) => step_in!(_facts, $topic),)*
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
    WorkspaceCreated(workspace::WorkspaceCreated) = "workspace.created" of Workspace,
    /// An owner took over: at every open and every soft restart.
    EpochStarted(workspace::EpochStarted) = "epoch.started" of Workspace,
    /// The wall clock left the monotonic clock by more than five minutes.
    ClockJumped(workspace::ClockJumped) = "clock.jumped" of Workspace,
    /// An operator says that a wall clock which jumped ahead is right: it is followed at once.
    ClockConfirmed(workspace::ClockConfirmed) = "clock.confirmed" of Workspace,
    /// Nothing goes out any more, of an agent or at all, and what is out stops.
    HaltPlaced(workspace::HaltPlaced) = "halt.placed" of Workspace,
    /// It goes on.
    HaltLifted(workspace::HaltLifted) = "halt.lifted" of Workspace,
    /// A version of a workflow was stored.
    WorkflowPublished(workspace::WorkflowPublished) = "workflow.published" of Workspace,
    /// New runs take this version.
    WorkflowActivated(workspace::WorkflowActivated) = "workflow.activated" of Workspace,
    /// A price table is in force.
    PricesLoaded(workspace::PricesLoaded) = "prices.loaded" of Workspace,
    /// A version of the policy is in force; the limits that it names follow in the same commit.
    PolicyPublished(workspace::PolicyPublished) = "policy.published" of Workspace,
    /// A rule judged a run before it started, or a session before it opened.
    AdmissionJudged(workspace::AdmissionJudged) = "admission.judged" of Workspace,
    /// A model's breaker opened: its calls are blocked.
    CircuitOpened(workspace::CircuitOpened) = "circuit.opened" of Workspace,
    /// A model's breaker lets one call through.
    CircuitHalfOpened(workspace::CircuitHalfOpened) = "circuit.half_opened" of Workspace,
    /// A model's breaker closed: its calls are admitted again.
    CircuitClosed(workspace::CircuitClosed) = "circuit.closed" of Workspace,

    /// A run or session begins; enters `pending`.
    RunCreated(run::RunCreated) = "run.created" of Run,
    /// The run's first step moves; `pending -> running`.
    RunStarted(run::RunStarted) = "run.started" of Run,
    /// No new dispatch until resumed; a flag beside the status.
    RunPaused(run::RunPaused) = "run.paused" of Run,
    /// Dispatch goes on.
    RunResumed(run::RunResumed) = "run.resumed" of Run,
    /// Every step that had to is completed; `running -> completed`.
    RunCompleted(run::RunCompleted) = "run.completed" of Run,
    /// A step failed for good; `running -> failed`.
    RunFailed(run::RunFailed) = "run.failed" of Run,
    /// Ended by an operator, a budget or a policy; `pending | running -> aborted`.
    RunAborted(run::RunAborted) = "run.aborted" of Run,
    /// The evidence is complete: nothing of the run is open any more.
    RunSealed(run::RunSealed) = "run.sealed" of Run,
    /// A failed run goes on from a step, by an operator's word; `failed -> running`.
    RunRedriven(run::RunRedriven) = "run.redriven" of Run,
    /// What the run can cost at most was worked out before any of it went out.
    RunPlanned(run::RunPlanned) = "run.planned" of Plan,
    /// Of what was held for a step before it went out, something is held for it no more.
    PlanReleased(run::PlanReleased) = "plan.released" of Plan,
    /// A run was not started: its worst case could never fit.
    RunRefused(run::RunRefused) = "run.refused" of Workspace,
    /// A signal arrived for the run.
    SignalReceived(run::SignalReceived) = "signal.received" of Run,

    /// An attempt is out, its hold taken; `waiting -> running`.
    StepDispatched(step::StepDispatched) = "step.dispatched" of Attempt,
    /// A `for_each` step has its items; `waiting -> running`.
    StepExpanded(step::StepExpanded) = "step.expanded" of Step,
    /// A run is nested for the step, in the same commit; `waiting -> running`.
    StepComposed(nested::StepComposed) = "step.composed" of Step,
    /// The nested run has ended; what that does to the step follows in the same commit.
    NestedEnded(nested::NestedEnded) = "nested.ended" of Step,
    /// Nothing of the nested run is open any more.
    NestedSealed(nested::NestedSealed) = "nested.sealed" of Step,
    /// The step has its output; `running -> completed`.
    StepCompleted(step::StepCompleted) = "step.completed" of Attempt,
    /// An attempt ended with an error; `running -> waiting`.
    AttemptFailed(step::AttemptFailed) = "attempt.failed" of Attempt,
    /// An attempt's token was revoked while it is still out; `running -> waiting`.
    AttemptAbandoned(step::AttemptAbandoned) = "attempt.abandoned" of Attempt,
    /// An attempt was out when its process died; `running -> waiting`.
    AttemptInterrupted(step::AttemptInterrupted) = "attempt.interrupted" of Attempt,
    /// A live attempt goes on under a new epoch after a soft restart.
    AttemptAdopted(step::AttemptAdopted) = "attempt.adopted" of Step,
    /// An abandoned attempt ended without a result.
    AttemptEnded(step::AttemptEnded) = "attempt.ended" of Step,
    /// An attempt ended to wait for a signal or a time; `running -> blocked | waiting`.
    StepSuspended(step::StepSuspended) = "step.suspended" of Attempt,
    /// The step waits for what a person, a host or a breaker has to clear.
    StepBlocked(step::StepBlocked) = "step.blocked" of Step,
    /// What blocked the step is cleared.
    StepUnblocked(step::StepUnblocked) = "step.unblocked" of Step,
    /// Somebody found out what became of a step in doubt; `blocked -> running | waiting`, or as it was.
    StepResolved(step::StepResolved) = "step.resolved" of Step,
    /// The step failed for good; `waiting | running | blocked -> failed`.
    StepFailed(step::StepFailed) = "step.failed" of Step,
    /// The step is not needed: its condition was false; `waiting -> skipped`.
    StepSkipped(step::StepSkipped) = "step.skipped" of Step,
    /// The run ended, or a join was reached without it; `-> cancelled`.
    StepCancelled(step::StepCancelled) = "step.cancelled" of Attempt,
    /// An attempt whose token was revoked reports all the same; the state stays.
    ResultLate(step::ResultLate) = "result.late" of Billing,
    /// An agent's own account of a decision.
    DecisionRecorded(step::DecisionRecorded) = "decision.recorded" of Step,
    /// An agent's own account of what it changed in the world.
    SideEffectRecorded(step::SideEffectRecorded) = "side_effect.recorded" of Step,

    /// A model call may go out; its worst case is held.
    ModelCallReserved(call::ModelCallReserved) = "model_call.reserved" of Billing,
    /// A model call was answered and paid for.
    ModelCallSettled(call::ModelCallSettled) = "model_call.settled" of Billing,
    /// The provider refused a model call; it waits, nothing was billed.
    ModelCallThrottled(call::ModelCallThrottled) = "model_call.throttled" of Billing,
    /// A model call failed without being billed.
    ModelCallReleased(call::ModelCallReleased) = "model_call.released" of Billing,
    /// Whether a model call was billed is not known.
    ModelCallDoubted(call::ModelCallDoubted) = "model_call.doubted" of Billing,
    /// A model call was refused by a budget or a policy before it went out.
    ModelCallDenied(call::ModelCallDenied) = "model_call.denied" of Journal,
    /// A tool call goes out.
    ToolCallDispatched(call::ToolCallDispatched) = "tool_call.dispatched" of Journal,
    /// A tool call was refused by a rule or a person before it went out.
    ToolCallDenied(call::ToolCallDenied) = "tool_call.denied" of Journal,
    /// A tool call was answered.
    ToolCallCompleted(call::ToolCallCompleted) = "tool_call.completed" of Journal,
    /// A tool call failed.
    ToolCallFailed(call::ToolCallFailed) = "tool_call.failed" of Journal,
    /// A value that is computed once per intent.
    OnceRecorded(call::OnceRecorded) = "once.recorded" of Journal,
    /// A re-dispatched attempt asked for something else than before: from here it runs live.
    JournalDiverged(call::JournalDiverged) = "journal.diverged" of Journal,
    /// A rule judged; in mode `observe` it only says what it would have done.
    GuardrailJudged(call::GuardrailJudged) = "guardrail.judged" of Journal,

    /// A person is asked, with the exact parameters; enters `pending`.
    ApprovalRequested(approval::ApprovalRequested) = "approval.requested" of Approval,
    /// A person has decided; `pending -> approved | rejected`.
    ApprovalDecided(approval::ApprovalDecided) = "approval.decided" of Approval,
    /// The approval is used up by the dispatch in the same commit; `approved -> consumed`.
    ApprovalConsumed(approval::ApprovalConsumed) = "approval.consumed" of Approval,
    /// The request or the approval ended unused; `pending | approved -> voided`.
    ApprovalVoided(approval::ApprovalVoided) = "approval.voided" of Approval,
    /// An operator's word about an approval does not count; the state stays.
    ApprovalRefused(approval::ApprovalRefused) = "approval.refused" of Approval,

    /// Money in doubt was settled with evidence.
    BudgetReconciled(budget::BudgetReconciled) = "budget.reconciled" of Billing,
    /// An account's limit was changed.
    BudgetLimitSet(budget::BudgetLimitSet) = "budget.limit_set" of Account,
    /// Limits that are only looked at would have refused what goes out.
    BudgetJudged(budget::BudgetJudged) = "budget.judged" of Journal,
    /// An account's limit was raised by an amount, perhaps for a time.
    BudgetToppedUp(budget::BudgetToppedUp) = "budget.topped_up" of Account,
    /// An account admits nothing more.
    BudgetFrozen(budget::BudgetFrozen) = "budget.frozen" of Account,
    /// An account admits again.
    BudgetUnfrozen(budget::BudgetUnfrozen) = "budget.unfrozen" of Account,
    /// What was changed about an account for a time is as it was.
    BudgetLapsed(budget::BudgetLapsed) = "budget.lapsed" of SharedAccount,
    /// Spent, reserved and in doubt of an account reached a share of its limit.
    BudgetThresholdReached(budget::BudgetThresholdReached) = "budget.threshold_reached" of SharedAccount,
    /// An account counts in a new period from now on.
    BudgetWindowOpened(budget::BudgetWindowOpened) = "budget.window_opened" of SharedAccount,
    /// A period of an account is over, and nothing that was reserved in it is open any more.
    BudgetWindowClosed(budget::BudgetWindowClosed) = "budget.window_closed" of SharedAccount,
    /// More was billed than the account allows: nothing more is admitted.
    BudgetBreached(budget::BudgetBreached) = "budget.breached" of Note,
}

/// What an event is about: where it is applied, and whether it moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The workspace alone.
    Workspace,
    /// A run's own state.
    Run,
    /// What a run can cost at most, and what is held for that.
    Plan,
    /// Something to know of a run or an account; it changes nothing.
    Note,
    /// The rules of an account, of a run or shared.
    Account,
    /// The rules of a shared account, changed by time or by what it counts.
    SharedAccount,
    /// An attempt, and the hold that it has.
    Attempt,
    /// A step; no money moves.
    Step,
    /// A model call or a doubt, and the money that it has.
    Billing,
    /// A call or a rule of a step; no money moves.
    Journal,
    /// What is asked of a person.
    Approval,
}
