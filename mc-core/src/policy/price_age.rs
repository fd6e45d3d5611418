//! How old prices may be: a table that nobody has looked at for long may lie below the truth.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mode::Mode;
use crate::pricing::Quote;
use crate::time::Timestamp;

/// The largest age of prices, and what follows where it is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceAge {
    max: Duration,
    mode: Mode,
}

impl PriceAge {
    /// The rule's id, and the code of what it denies.
    pub const RULE: &'static str = "stale_price";

    /// A call at an older price is denied.
    pub const fn deny(max: Duration) -> Self {
        Self {
            max,
            mode: Mode::Enforce,
        }
    }

    /// A call at an older price goes out, and the log says that it was one.
    pub const fn warn(max: Duration) -> Self {
        Self {
            max,
            mode: Mode::Observe,
        }
    }

    /// The largest age.
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// What the rule does at this price: nothing while it is young enough. A price that the policy
    /// itself states for unknown models has no age.
    pub fn judge(&self, quote: &Quote<'_>, at: Timestamp) -> Mode {
        let of_table = quote.of_table();
        if of_table.is_some_and(|row| row.is_older_than(self.max, at)) {
            self.mode
        } else {
            Mode::Off
        }
    }
}
