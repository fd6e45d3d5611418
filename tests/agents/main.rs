//! Agents of an agents file through the real engine: real programs, a real socket, real threads.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test stops at the first broken promise"
)]

mod again;
mod asking;
mod callbacks;
mod chat;
mod command;
mod common;
mod document;
mod ends;
mod http;
mod lasting;
mod outage;
mod rules;
mod tiers;
mod tools;
