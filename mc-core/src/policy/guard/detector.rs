//! Detectors that a host brings: whether a text holds what must not go out, e.g. personal data.
//!
//! A rule `pii: [NAME]` asks them by the names that they were registered under. What they said is the
//! verdict in the log: reading a log again asks nobody. What is *not* here: the built-in forms of
//! secrets (`secrets`), and taking content out of the log (`redact`).

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::judge::Erred;

/// Port: finds out whether a text holds something.
///
/// It is called while the engine decides, for each text and name of a field by itself: it must be quick
/// and wait for nothing. Where it panics its rule errs, and a rule that errs denies.
pub trait Detector: Debug + Send + Sync {
    /// Whether the text holds what this looks for.
    fn is_in(&self, text: &str) -> bool;
}

/// Asks a detector.
pub(super) fn ask(detector: &dyn Detector, text: &str) -> Result<bool, Erred> {
    let asked = catch_unwind(AssertUnwindSafe(|| detector.is_in(text)));
    asked.map_err(|_| Erred("its detector panicked".to_owned()))
}
