//! Guardrails: rules that judge what agents want to do, each at its checkpoint.
//!
//! [`Rule`] is the closed list of rules; `read` and `write` are their form in the policy file.
//! `judge` is pure: what a rule has to know beside the request is handed in. What is *not* here:
//! counting (`sequencer::traffic`), and what a verdict does (`sequencer::decide::guard`).

mod anomaly;
mod detector;
mod judge;
mod judge_call;
mod judge_start;
mod judge_tool;
mod names;
mod pattern;
mod read;
mod redact;
mod rule;
mod secrets;
mod write;

#[cfg(test)]
mod tests;

pub use anomaly::{Measure, Measured, Moments};
pub use detector::Detector;
pub use judge::{
    Answer, Asked, Asking, Call, Counts, Finding, Fits, Priced, Progress, Start, Tool, judge,
};
pub use names::{ModelPattern, Names};
pub use pattern::{MAX_PATTERN_BYTES, Pattern, PatternFault};
pub(super) use read::{guardrails, mode};
pub(crate) use redact::redact_value;
pub use redact::{Redaction, RedactionScope, Redactor, SecretsRedactor};
pub use rule::{Checkpoint, Guardrail, OnBreach, Rule, Scope, TierName, Verdict, Who};
pub use secrets::{SecretKind, SecretKindFault};
pub(super) use write::guardrail as write_guardrail;
