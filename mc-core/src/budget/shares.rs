//! When a hold's amount was reserved: what is drawn first is what was reserved first.
//!
//! A hold that grew over a boundary has a share on each side. What leaves it moves in the period of
//! its share, so what was reserved in one period is never charged to another. Read `periods` next.

use serde::{Deserialize, Serialize};

use super::{Amount, Movement};
use crate::time::Timestamp;

/// A part of a hold that was reserved at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// When.
    pub at: Timestamp,
    /// How much of it is left.
    pub amount: Amount,
}

/// The parts of a hold, in the order in which they are taken: what was reserved first, first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shares(Vec<Share>);

impl Shares {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and then others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for share in others.0 {
            self.add(share.at, share.amount);
        }
        self
    }

    /// The parts.
    pub fn list(&self) -> &[Share] {
        &self.0
    }

    /// Adds what was reserved at a time.
    pub fn add(&mut self, at: Timestamp, amount: Amount) {
        match self.0.last_mut().filter(|last| last.at == at) {
            Some(last) => last.amount = last.amount.saturating_add(&amount),
            None if amount.is_zero() => {}
            None => self.0.push(Share { at, amount }),
        }
    }

    /// Takes an amount out, the oldest first; tells what it took, part by part.
    #[must_use]
    pub fn take(&mut self, amount: &Amount) -> Self {
        let (mut left, mut taken) = (*amount, Self::default());
        for share in &mut self.0 {
            if left.is_zero() {
                break;
            }
            let part = share.amount.min(&left);
            share.amount = share.amount.saturating_sub(&part);
            left = left.saturating_sub(&part);
            taken.add(share.at, part);
        }
        self.0.retain(|share| !share.amount.is_zero());
        taken
    }

    /// Takes what one movement takes out of the hold: the same movement, part by part, each with
    /// the time at which its part was reserved; `now` where the hold has nothing.
    ///
    /// What is billed beyond the hold is billed in the last part.
    pub fn split(&mut self, movement: &Movement, now: Timestamp) -> Vec<(Timestamp, Movement)> {
        let (held, billed) = match movement {
            Movement::Release(held) | Movement::Doubt(held) => (*held, Amount::ZERO),
            Movement::Settle { held, actual } | Movement::SettleDoubt { held, actual } => {
                (*held, *actual)
            }
            Movement::Reserve(_) | Movement::Change(_) => return vec![(now, *movement)],
        };
        let begun = self.0.first().map_or(now, |share| share.at);
        let parts = self.take(&held).0;
        let [first @ .., last] = parts.as_slice() else {
            return vec![(begun, *movement)];
        };
        let (mut held, mut billed) = (held, billed);
        let mut moves = Vec::with_capacity(parts.len());
        for share in first {
            let actual = billed.min(&share.amount);
            held = held.saturating_sub(&share.amount);
            billed = billed.saturating_sub(&actual);
            moves.push((share.at, of_part(movement, share.amount, actual)));
        }
        moves.push((last.at, of_part(movement, held, billed)));
        moves
    }
}

fn of_part(movement: &Movement, held: Amount, actual: Amount) -> Movement {
    match movement {
        Movement::Release(_) => Movement::Release(held),
        Movement::Doubt(_) => Movement::Doubt(held),
        Movement::Settle { .. } => Movement::Settle { held, actual },
        Movement::SettleDoubt { .. } => Movement::SettleDoubt { held, actual },
        Movement::Reserve(_) | Movement::Change(_) => *movement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(calls: u64) -> Amount {
        Amount {
            calls,
            ..Amount::ZERO
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_us(second)
    }

    fn two() -> Shares {
        let mut shares = Shares::default();
        shares.add(at(1), calls(3));
        shares.add(at(2), calls(4));
        shares
    }

    #[test]
    fn what_was_reserved_first_leaves_first() {
        let mut shares = two();
        let moves = shares.split(&Movement::Release(calls(5)), at(9));
        let parts = [(at(1), calls(3)), (at(2), calls(2))];
        assert_eq!(moves, parts.map(|(at, part)| (at, Movement::Release(part))));
        assert_eq!(
            shares
                .list()
                .iter()
                .map(|s| s.amount.calls)
                .collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn a_bill_beyond_the_hold_is_billed_in_the_last_part() {
        let whole = Movement::Settle {
            held: calls(7),
            actual: calls(9),
        };
        let parts = [(1, 3, 3), (2, 4, 6)].map(|(time, held, actual)| {
            let (held, actual) = (calls(held), calls(actual));
            (at(time), Movement::Settle { held, actual })
        });
        assert_eq!(two().split(&whole, at(9)), parts);
    }

    #[test]
    fn a_bill_without_a_hold_is_billed_when_the_hold_began_or_else_now() {
        let bill = Movement::Settle {
            held: Amount::ZERO,
            actual: calls(1),
        };
        assert_eq!(two().split(&bill, at(9)), [(at(1), bill)]);
        assert_eq!(Shares::default().split(&bill, at(9)), [(at(9), bill)]);
    }
}
