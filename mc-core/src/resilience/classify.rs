//! What a failed model call does to its hold: the one place that decides it.
//!
//! | what the host reports | outcome |
//! |---|---|
//! | denied locally, or no connection: nothing was sent | `release` |
//! | status 429, 503, 529, no output begun (refused for overload) | `throttled`: `release`, and wait |
//! | any other 4xx, no output begun | `release` |
//! | a 2xx whose usage is missing or unreadable | `settle` in full, flag `usage_missing` |
//! | the stream was cut by us or by the consumer, no final usage | `settle` in full, flag `cut`; as observed where the workspace believes that |
//! | any other status, or a status after output has begun | in doubt |
//! | time-out or reset after sending | in doubt |
//! | abandoned after sending: aborted, dropped, crashed | in doubt |
//!
//! Money goes back only where the provider cannot have billed. **Source:** RFC 9110, 15.6.4 (a 503
//! is a refusal for overload or maintenance). What is *not* here: the ledger (`budget`).

use serde::{Deserialize, Serialize};

use super::breaker::Trigger;

/// Whether output had begun when a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputBegun {
    /// No token came.
    No,
    /// At least one token came.
    Yes,
}

/// How a model call failed, as its host reports it.
///
/// As JSON: `"timeout"`, `{"status":{"code":429,"output_begun":"no"}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallFailure {
    /// It was denied or given up here; nothing was sent.
    NotSent,
    /// There was no connection; nothing was sent.
    Unreachable,
    /// The provider answered with a status other than success, or with an unreadable success.
    Status {
        /// The HTTP status code.
        code: u16,
        /// Whether output had begun.
        output_begun: OutputBegun,
    },
    /// It took too long after it was sent.
    Timeout,
    /// The connection broke after it was sent.
    Reset,
    /// The stream was cut by us or by the consumer, and no usage came.
    Cut,
    /// It succeeded, and no usage came.
    UsageMissing,
    /// It was given up after it was sent: the run was aborted, or the permit dropped.
    Abandoned,
    /// The process ended after it was sent.
    Crashed,
}

/// Why a hold is settled in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettleFlag {
    /// The provider gave no usage.
    UsageMissing,
    /// The stream was cut before its usage came.
    Cut,
}

impl SettleFlag {
    /// The flag's stable name on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UsageMissing => "usage_missing",
            Self::Cut => "cut",
        }
    }
}

/// What happens to the hold of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Nothing was billed: the hold goes back.
    Release,
    /// Nothing was billed: the hold goes back and the call waits. It is not an attempt.
    Throttled,
    /// The whole hold counts as spent.
    SettleReserved(SettleFlag),
    /// It may have been billed: the hold is kept until somebody knows.
    InDoubt,
}

impl CallFailure {
    /// What happens to the hold.
    pub const fn outcome(self) -> CallOutcome {
        match self {
            Self::NotSent | Self::Unreachable => CallOutcome::Release,
            Self::Status { code, output_begun } => Self::of_status(code, output_begun),
            Self::Timeout | Self::Reset | Self::Abandoned | Self::Crashed => CallOutcome::InDoubt,
            Self::Cut => CallOutcome::SettleReserved(SettleFlag::Cut),
            Self::UsageMissing => CallOutcome::SettleReserved(SettleFlag::UsageMissing),
        }
    }

    const fn of_status(code: u16, output_begun: OutputBegun) -> CallOutcome {
        match (code, output_begun) {
            (200..=299, OutputBegun::No | OutputBegun::Yes) => {
                CallOutcome::SettleReserved(SettleFlag::UsageMissing)
            }
            (429 | 503 | 529, OutputBegun::No) => CallOutcome::Throttled,
            (400..=499, OutputBegun::No) => CallOutcome::Release,
            (0..=199 | 300..=399 | 500..=u16::MAX, OutputBegun::No)
            | (0..=199 | 300..=u16::MAX, OutputBegun::Yes) => CallOutcome::InDoubt,
        }
    }

    /// What the failure tells the breaker of the model.
    pub const fn trigger(self) -> Trigger {
        match self {
            Self::NotSent | Self::Abandoned | Self::Crashed => Trigger::Returned,
            Self::Unreachable | Self::Timeout | Self::Reset => Trigger::Failed,
            Self::Cut | Self::UsageMissing => Trigger::Succeeded,
            Self::Status { .. } => match self.outcome() {
                CallOutcome::Throttled => Trigger::Refused,
                CallOutcome::Release => Trigger::Returned,
                CallOutcome::SettleReserved(_) => Trigger::Succeeded,
                CallOutcome::InDoubt => Trigger::Failed,
            },
        }
    }

    /// The reason's stable name on the wire: `not_sent`, `status_400`, `timeout`.
    pub fn code(self) -> String {
        match self {
            Self::NotSent => "not_sent".to_owned(),
            Self::Unreachable => "unreachable".to_owned(),
            Self::Status { code, .. } => format!("status_{code}"),
            Self::Timeout => "timeout".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Cut => "cut".to_owned(),
            Self::UsageMissing => "usage_missing".to_owned(),
            Self::Abandoned => "dropped".to_owned(),
            Self::Crashed => "crashed".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, output_begun: OutputBegun) -> CallOutcome {
        CallFailure::Status { code, output_begun }.outcome()
    }

    #[test]
    fn every_row_without_a_status_is_as_the_table_says() {
        let settle = CallOutcome::SettleReserved;
        for (failure, outcome, trigger) in [
            (
                CallFailure::NotSent,
                CallOutcome::Release,
                Trigger::Returned,
            ),
            (
                CallFailure::Unreachable,
                CallOutcome::Release,
                Trigger::Failed,
            ),
            (
                CallFailure::UsageMissing,
                settle(SettleFlag::UsageMissing),
                Trigger::Succeeded,
            ),
            (
                CallFailure::Cut,
                settle(SettleFlag::Cut),
                Trigger::Succeeded,
            ),
            (CallFailure::Timeout, CallOutcome::InDoubt, Trigger::Failed),
            (CallFailure::Reset, CallOutcome::InDoubt, Trigger::Failed),
            (
                CallFailure::Abandoned,
                CallOutcome::InDoubt,
                Trigger::Returned,
            ),
            (
                CallFailure::Crashed,
                CallOutcome::InDoubt,
                Trigger::Returned,
            ),
        ] {
            assert_eq!(
                (failure.outcome(), failure.trigger()),
                (outcome, trigger),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn every_status_before_output_has_the_outcome_of_its_row() {
        for code in 0..=u16::MAX {
            let expected = match code / 100 {
                2 => CallOutcome::SettleReserved(SettleFlag::UsageMissing),
                _ if [429, 503, 529].contains(&code) => CallOutcome::Throttled,
                4 => CallOutcome::Release,
                _ => CallOutcome::InDoubt,
            };
            assert_eq!(status(code, OutputBegun::No), expected, "{code}");
        }
    }

    #[test]
    fn no_status_after_output_has_begun_gives_money_back() {
        for code in 0..=u16::MAX {
            let outcome = status(code, OutputBegun::Yes);
            let kept = matches!(
                outcome,
                CallOutcome::InDoubt | CallOutcome::SettleReserved(_)
            );
            assert!(kept, "{code}: {outcome:?}");
        }
    }

    #[test]
    fn a_refusal_tells_the_breaker_and_a_wrong_request_does_not() {
        let trigger = |code| {
            CallFailure::Status {
                code,
                output_begun: OutputBegun::No,
            }
            .trigger()
        };
        assert_eq!([429, 503, 529].map(trigger), [Trigger::Refused; 3]);
        assert_eq!([400, 401, 404, 422].map(trigger), [Trigger::Returned; 4]);
        assert_eq!([500, 502, 504].map(trigger), [Trigger::Failed; 3]);
        assert_eq!(trigger(200), Trigger::Succeeded);
    }

    #[test]
    fn a_failure_reads_what_it_writes_and_has_a_code() {
        let failure = CallFailure::Status {
            code: 429,
            output_begun: OutputBegun::No,
        };
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(text, r#"{"status":{"code":429,"output_begun":"no"}}"#);
        assert_eq!(serde_json::from_str::<CallFailure>(&text).unwrap(), failure);
        assert_eq!(
            (failure.code(), CallFailure::NotSent.code()),
            ("status_429".into(), "not_sent".into())
        );
    }
}
