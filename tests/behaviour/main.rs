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

mod attempts;
mod calls;
mod clock;
mod content;
mod edges;
mod flow;
mod life;
mod money;
mod outcomes;
mod restart;
mod shutdown;
mod starts;
mod subscribers;
mod turns;
