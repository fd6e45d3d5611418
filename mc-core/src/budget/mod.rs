//! Budgets: amounts, accounts, holds and the rules of admission.
//!
//! `spent + reserved + in_doubt + available = limit`, in every account and at every commit.

mod amount;

pub use amount::{Amount, Limit, OnExceed};
