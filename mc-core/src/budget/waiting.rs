//! Who waits for budget, and what they hold meanwhile.
//!
//! What is *not* here: the order among them (`queue`) and circles (`circle`). Read `queue` next.

use super::{Amount, Books, Path};
use crate::id::{RunId, StepKey};

/// A waiter's place: lower tickets came first. The sequencer counts them.
pub type Ticket = u64;

/// The step that a hold belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// The step in it.
    pub step: StepKey,
}

/// A request that waits for room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its place.
    pub ticket: Ticket,
    /// The accounts that it needs room in, all at once.
    pub path: Path,
    /// What it asks for.
    pub amount: Amount,
    /// The step that stands still until it is answered, if one does.
    pub owner: Option<Owner>,
}

/// A hold that stays open at least until some waiter is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The step whose hold it is. Where two waiters keep the holds of one step open, these are
    /// counted once.
    pub owner: Owner,
    /// The accounts that it is reserved in.
    pub path: Path,
    /// What is reserved.
    pub amount: Amount,
}

/// The books, and who holds what in them.
pub trait Holders: Books {
    /// The open holds that cannot end before this step goes on: all of its own, and all of those
    /// of the steps that its run is nested in. Not those in doubt.
    fn kept(&self, owner: &Owner) -> Vec<Kept>;

    /// Whether this step already says that it is held up by something that a person clears.
    fn is_blocked(&self, owner: &Owner) -> bool;
}
