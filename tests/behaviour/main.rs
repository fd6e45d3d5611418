//! The engine's public behaviour, in virtual time, theme by theme.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::similar_names,
    unreachable_pub,
    reason = "a test stops at the first broken promise"
)]

mod common;

mod aborts;
mod breakers;
mod clock;
mod content;
mod doubts;
mod edges;
mod flow;
mod journal;
mod life;
mod loops;
mod money;
mod outcomes;
mod panics;
mod refusals;
mod restart;
mod retries;
mod sessions;
mod shutdown;
mod starts;
mod subscribers;
mod suspends;
mod timeouts;
mod turns;
