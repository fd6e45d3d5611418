//! One store, several processes: joining, running agents elsewhere, losing processes, taking over.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not test functions"
)]

mod common;
mod joining;
