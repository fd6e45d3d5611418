//! Budgets: amounts, accounts, holds and the rules of admission.
//!
//! `spent + reserved + in_doubt + available = limit`, in every account and at every commit.
//! What is *not* here: a clock, locks, events and prices; the sequencer owns the accounts and calls
//! these rules one command at a time. Read `amount`, `account`, `admission`, `hold`, then `queue`.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::as_conversions
)]

mod account;
mod account_id;
mod admission;
mod amount;
mod books;
mod change;
mod circle;
mod columns;
mod dimension;
mod fault;
mod hold;
mod movement;
mod observed;
mod path;
mod periods;
mod queue;
mod shares;
mod thresholds;
mod waiting;
pub mod window;

pub use account::Account;
pub use account_id::{AccountId, AccountIdFault};
pub use admission::{Staying, Verdict, affordable, check, fits, refusing, worst_case_overshoot};
pub use amount::{Amount, Limit, OnExceed};
pub use books::{Books, BooksMut, post, post_at};
pub use change::{Change, Lapsing, OnReach, Standing, Threshold, Undo};
pub use columns::Columns;
pub use dimension::Dimension;
pub use fault::LedgerFault;
pub use hold::{Doubted, Hold, HoldState, HoldTrigger, Settlement};
pub use movement::Movement;
pub use observed::{InFlight, LimitMode, Refusal, WouldRefuse, would_refuse};
pub use path::Path;
pub use periods::{Counted, Periods};
pub use queue::{Queue, Wake};
pub use shares::{Share, Shares};
pub use waiting::{Holders, Kept, Owner, Ticket, Waiter};
pub use window::{Period, Window};
