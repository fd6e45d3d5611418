//! The transition tables of runs and steps.
//!
//! | run | trigger | becomes |
//! |---|---|---|
//! | pending | start | running |
//! | pending, running | abort | aborted |
//! | running | complete | completed |
//! | pending, running | fail | failed |
//! | pending, running | pause, resume | as it was |
//! | completed, failed, aborted | seal | as it was |
//! | failed | redrive (an operator's word) | running |
//!
//! | step | trigger | becomes |
//! |---|---|---|
//! | waiting | dispatch, expand, compose | running |
//! | waiting | block | blocked |
//! | waiting | skip | skipped |
//! | waiting, running, blocked | fail, cancel | failed, cancelled |
//! | running | complete | completed |
//! | running | retry (an attempt ended), sleep | waiting |
//! | running | block (a signal, a breaker) | blocked |
//! | blocked | unblock | waiting; running where an attempt is still out |
//! | completed, failed, skipped, cancelled | redrive (of its run) | waiting |
//!
//! Every other pair is refused; but for a redrive, terminal states absorb. `docs/state-machines.md` is rendered from
//! the functions below by a test that walks every pair.

use crate::error::{Detail, Error, ErrorKind};
use crate::event::{RunStatus, StepStatus};

macro_rules! triggers {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Every trigger.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The trigger's word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

triggers!(
    /// What can happen to a run.
    RunTrigger {
        /// Its first step moves.
        Start = "start",
        /// Every step that had to is completed.
        Complete = "complete",
        /// A step failed for good.
        Fail = "fail",
        /// An operator, a budget or a policy ends it.
        Abort = "abort",
        /// No new dispatch.
        Pause = "pause",
        /// Dispatch goes on.
        Resume = "resume",
        /// Nothing of it is open any more.
        Seal = "seal",
        /// An operator lets it go on from a step.
        Redrive = "redrive",
    }
);

triggers!(
    /// What can happen to a step.
    StepTrigger {
        /// An attempt goes out.
        Dispatch = "dispatch",
        /// A `for_each` gets its items.
        Expand = "expand",
        /// A run is nested for it.
        Compose = "compose",
        /// It has its output.
        Complete = "complete",
        /// An attempt ended, and another follows or the end is decided next.
        Retry = "retry",
        /// It goes on at a time.
        Sleep = "sleep",
        /// Something has to be cleared first.
        Block = "block",
        /// It is cleared, and no attempt is out.
        Unblock = "unblock",
        /// It is cleared, and its attempt is still out.
        Continue = "continue",
        /// It failed for good.
        Fail = "fail",
        /// It is not needed.
        Skip = "skip",
        /// The run ended, or a join was reached without it.
        Cancel = "cancel",
        /// Its run goes on from it, or from a step before it.
        Redrive = "redrive",
    }
);

/// The status of a run after a trigger, or none where the table has no such pair.
pub const fn run_after(status: RunStatus, trigger: RunTrigger) -> Option<RunStatus> {
    use RunStatus as S;
    use RunTrigger as T;
    match (status, trigger) {
        (S::Pending, T::Start) | (S::Failed, T::Redrive) => Some(S::Running),
        (S::Running, T::Complete) => Some(S::Completed),
        (S::Pending | S::Running, T::Fail) => Some(S::Failed),
        (S::Pending | S::Running, T::Abort) => Some(S::Aborted),
        (S::Pending | S::Running, T::Pause | T::Resume)
        | (S::Completed | S::Failed | S::Aborted, T::Seal) => Some(status),
        (S::Pending, T::Complete | T::Seal | T::Redrive)
        | (S::Running, T::Start | T::Seal | T::Redrive)
        | (S::Completed | S::Aborted, T::Redrive)
        | (
            S::Completed | S::Failed | S::Aborted,
            T::Start | T::Complete | T::Fail | T::Abort | T::Pause | T::Resume,
        ) => None,
    }
}

/// The status of a step after a trigger, or none where the table has no such pair.
pub const fn step_after(status: StepStatus, trigger: StepTrigger) -> Option<StepStatus> {
    use StepStatus as S;
    use StepTrigger as T;
    match (status, trigger) {
        (S::Waiting, T::Dispatch | T::Expand | T::Compose) | (S::Blocked, T::Continue) => {
            Some(S::Running)
        }
        (S::Running, T::Retry | T::Sleep)
        | (S::Blocked, T::Unblock)
        | (S::Completed | S::Failed | S::Skipped | S::Cancelled, T::Redrive) => Some(S::Waiting),
        (S::Waiting | S::Running, T::Block) => Some(S::Blocked),
        (S::Running, T::Complete) => Some(S::Completed),
        (S::Waiting, T::Skip) => Some(S::Skipped),
        (S::Waiting | S::Running | S::Blocked, T::Fail) => Some(S::Failed),
        (S::Waiting | S::Running | S::Blocked, T::Cancel) => Some(S::Cancelled),
        (S::Waiting, T::Complete | T::Retry | T::Sleep | T::Unblock | T::Continue | T::Redrive)
        | (
            S::Running,
            T::Dispatch | T::Expand | T::Compose | T::Unblock | T::Continue | T::Skip | T::Redrive,
        )
        | (
            S::Blocked,
            T::Dispatch
            | T::Expand
            | T::Compose
            | T::Complete
            | T::Retry
            | T::Sleep
            | T::Block
            | T::Skip
            | T::Redrive,
        )
        | (
            S::Completed | S::Failed | S::Skipped | S::Cancelled,
            T::Dispatch
            | T::Expand
            | T::Compose
            | T::Complete
            | T::Retry
            | T::Sleep
            | T::Block
            | T::Unblock
            | T::Continue
            | T::Fail
            | T::Skip
            | T::Cancel,
        ) => None,
    }
}

/// The error for a pair that the run table does not have.
pub fn refuse_run(status: RunStatus, trigger: RunTrigger) -> Error {
    let allowed = RunTrigger::ALL
        .iter()
        .filter(|t| run_after(status, **t).is_some())
        .map(|t| t.as_str().to_owned())
        .collect();
    refuse("run", status.as_str(), trigger.as_str(), allowed)
}

/// The error for a pair that the step table does not have.
pub fn refuse_step(status: StepStatus, trigger: StepTrigger) -> Error {
    let allowed = StepTrigger::ALL
        .iter()
        .filter(|t| step_after(status, **t).is_some())
        .map(|t| t.as_str().to_owned())
        .collect();
    refuse("step", status.as_str(), trigger.as_str(), allowed)
}

fn refuse(what: &str, from: &str, trigger: &str, allowed: Vec<String>) -> Error {
    let message = format!("a {from} {what} cannot {trigger}");
    Error::new(ErrorKind::InvalidTransition, message).with_detail(Detail::Transition {
        from: from.to_owned(),
        trigger: trigger.to_owned(),
        allowed,
    })
}
