//! What tests share: virtual time, seeded chance, builders, a disk that fails, and contracts.
//!
//! [`event_log_suite`] holds any adapter of the log port to its contract. [`SimClock`] and
//! [`SeededEntropy`] are the ports of a simulator, [`CrashBackend`] is a disk that loses what was not
//! synced, [`FaultyLog`] a log that fails when it is told to, [`Story`] makes valid batches,
//! [`model_server`] is a model provider on this machine that answers as a script says. Nothing in here
//! is used in production.

mod build;
mod crash;
mod event_log;
mod faulty_log;
pub mod model_server;
mod prices;
pub mod simulate;

pub use build::{Story, folded_row, run_id};
pub use crash::{Crash, CrashBackend, Dirty, DiskFault, Journal, Loss};
pub use event_log::{Opener, event_log_suite};
pub use faulty_log::{Faults, FaultyLog};
pub use mc_core::sim::{SeededEntropy, SimClock, Simulation, Stalled};
pub use prices::{TEST_PRICES, test_prices};
