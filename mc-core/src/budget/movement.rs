//! Movements: the one way to change an account.
//!
//! What is *not* here: what they do to the columns (`columns`) and to the rules (`change`). Read
//! `account` next.

use super::{Amount, Change};

/// A change of an account; there is no other way to change one.
///
/// None of them looks at the limit: what may be reserved is decided before, by `check`, and what
/// was billed is recorded whatever the limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// A hold opens or grows: `reserved` rises.
    Reserve(Amount),
    /// A hold or a part of it is proven unbilled: `reserved` falls.
    Release(Amount),
    /// A call is billed: `reserved` falls by what was held, `spent` rises by all that was billed.
    Settle {
        /// What the hold had for it.
        held: Amount,
        /// What was billed, in full, also where it is more than was held.
        actual: Amount,
    },
    /// The outcome is unknown: the amount moves from `reserved` to `in_doubt`.
    Doubt(Amount),
    /// An outcome became known, or was decided: `in_doubt` falls, `spent` rises.
    SettleDoubt {
        /// What was in doubt.
        held: Amount,
        /// What was billed; zero where it is proven unbilled.
        actual: Amount,
    },
    /// A rule of the account changes, and no column.
    Change(Change),
}
