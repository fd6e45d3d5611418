//! Thresholds: how much of its limit an account has used, and what follows where a share is passed.
//!
//! What is *not* here: what a threshold is (`change`), and when its event is written (the sequencer).

use super::{Account, Dimension, OnReach, Standing, Threshold};

impl Account {
    /// The highest share of the limit that spent, reserved and in doubt have in any dimension, in
    /// hundredths; at most 255.
    pub fn percent(&self) -> u8 {
        let share = |dimension| {
            let limit = self.limit().of(dimension)?;
            let used = self.used(dimension);
            let share = used.saturating_mul(100).checked_div(limit);
            Some(share.unwrap_or(if used > 0 { 100 } else { 0 }))
        };
        let highest = Dimension::ALL.into_iter().filter_map(share).max();
        u8::try_from(highest.unwrap_or(0).max(0)).unwrap_or(u8::MAX)
    }

    /// The threshold that is reached and that nobody was told of yet: the highest, which stands for
    /// those below it. With it whether any of them freezes the account.
    pub fn newly_reached(&self, thresholds: &[Threshold]) -> Option<(u8, bool)> {
        let now = self.percent();
        let new = |one: &&Threshold| one.percent > self.reached && one.percent <= now;
        let new = thresholds.iter().filter(new);
        let each = new.map(|one| (one.percent, one.then == OnReach::Freeze));
        each.reduce(|one, other| (one.0.max(other.0), one.1 || other.1))
    }

    /// What the thresholds that somebody was told of in this period mean for every further call.
    pub fn standing<'a>(&self, thresholds: &'a [Threshold]) -> Standing<'a> {
        Standing::of(thresholds, self.reached)
    }
}
