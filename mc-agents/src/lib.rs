//! Agents that are ready made: what a host registers when it has none of its own.
//!
//! [`recorded`] answers from a file of recorded runs: for rehearsals, demos and tests, without a
//! provider and without a cent. No policy is in here: every call goes through the engine's permits.

pub mod recorded;
