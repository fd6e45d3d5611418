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
mod adjustments;
mod alive;
mod anomalies;
mod approvals;
mod asked_again;
mod asking;
mod breakers;
mod clearing;
mod clock;
mod compositions;
mod contended;
mod content;
mod contents;
mod cut_limits;
mod cuts;
mod denials;
mod detectors;
mod doubts;
mod edges;
mod failures;
mod flow;
mod ghosts;
mod groups;
mod guardrails;
mod halts;
mod hosts;
mod in_time;
mod intents;
mod joined;
mod joined_rules;
mod journal;
mod lapses;
mod large_lists;
mod late_agents;
mod lasting;
mod ledger;
mod leaps;
mod lent;
mod life;
mod loops;
mod memory;
mod model_approvals;
mod money;
mod nested;
mod nested_asking;
mod nested_rules;
mod names;
mod observing;
mod orders;
mod outcomes;
mod pace;
mod panics;
mod plans;
mod policies;

mod prices;
mod probes;
mod rates;
mod redaction;
mod redrives;
mod refusals;
mod reserved_calls;
mod reserving;
mod resolves;
mod restart;
mod retries;
mod rules;
mod session_approvals;
mod sessions;
mod shutdown;
mod stale;
mod starts;
mod subscribers;
mod suspends;
mod switches;
mod tags;
mod terms;
mod thresholds;
mod timeouts;
mod tool_approvals;
mod turns;
mod unattended;
mod unnamed_tools;
mod unknowns;
mod versions;
mod windows;
mod zones;
