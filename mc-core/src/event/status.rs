//! The status words of runs and steps.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it stands in the log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The status of a word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|status| status.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// Where a run stands. `paused` is a flag beside it.
    RunStatus {
        /// Started; nothing was dispatched yet.
        Pending = "pending",
        /// At work, or waiting for something.
        Running = "running",
        /// Every step that had to is completed.
        Completed = "completed",
        /// A step failed for good.
        Failed = "failed",
        /// Ended by an operator, a budget or a policy.
        Aborted = "aborted",
    }
);

words!(
    /// Where a step stands.
    StepStatus {
        /// Waits for what clears by itself: needs, a turn, a time.
        Waiting = "waiting",
        /// An attempt is out, or items are.
        Running = "running",
        /// Waits for what a person or a host has to clear; see the reason.
        Blocked = "blocked",
        /// Has its output.
        Completed = "completed",
        /// Failed for good.
        Failed = "failed",
        /// Its condition was false, or what it needs was skipped.
        Skipped = "skipped",
        /// The run ended, or a join no longer needed it.
        Cancelled = "cancelled",
    }
);

words!(
    /// Why a step is blocked.
    BlockReason {
        /// A person has to approve.
        Approval = "approval",
        /// An account refuses, and only a person or a new window can help.
        Budget = "budget",
        /// A guardrail stopped it.
        Guardrail = "guardrail",
        /// The breaker of its model is open.
        Circuit = "circuit",
        /// It may have happened; a person or a probe has to say.
        InDoubt = "in_doubt",
        /// It waits for a signal.
        Signal = "signal",
        /// Its agent is not registered here.
        AgentUnavailable = "agent_unavailable",
    }
);

impl RunStatus {
    /// Whether the run has ended.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Aborted => true,
            Self::Pending | Self::Running => false,
        }
    }
}

impl StepStatus {
    /// Whether the step has ended.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled => true,
            Self::Waiting | Self::Running | Self::Blocked => false,
        }
    }
}
