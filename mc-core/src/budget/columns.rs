//! The three columns of an account, or of one of its periods, and how movements change them.
//!
//! What is *not* here: limits, and which period a movement belongs to (`periods`).

use serde::{Deserialize, Serialize};

use super::{Amount, LedgerFault, Movement};

/// Spent, reserved and in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// What was billed.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub spent: Amount,
    /// What open holds have.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub reserved: Amount,
    /// What holds with an unknown outcome have.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub in_doubt: Amount,
}

impl Columns {
    /// Whether nothing is open: neither reserved nor in doubt.
    pub fn is_settled(&self) -> bool {
        self.reserved.is_zero() && self.in_doubt.is_zero()
    }

    /// The columns after a movement; what moves no money leaves them alone.
    ///
    /// # Errors
    /// A [`LedgerFault`] where they cannot move so.
    pub fn after(&self, movement: &Movement) -> Result<Self, LedgerFault> {
        let mut next = *self;
        match movement {
            Movement::Reserve(amount) => next.reserved = add(&self.reserved, amount)?,
            Movement::Release(amount) => next.reserved = self.unreserve(amount)?,
            Movement::Settle { held, actual } => {
                next.reserved = self.unreserve(held)?;
                next.spent = add(&self.spent, actual)?;
            }
            Movement::Doubt(amount) => {
                next.reserved = self.unreserve(amount)?;
                next.in_doubt = add(&self.in_doubt, amount)?;
            }
            Movement::SettleDoubt { held, actual } => {
                next.in_doubt = self
                    .in_doubt
                    .checked_sub(positive(held)?)
                    .ok_or(LedgerFault::MoreThanInDoubt)?;
                next.spent = add(&self.spent, actual)?;
            }
            Movement::Change(_) => {}
        }
        Ok(next)
    }

    /// The sum of both.
    ///
    /// # Errors
    /// [`LedgerFault::Overflow`].
    pub fn plus(&self, other: &Self) -> Result<Self, LedgerFault> {
        Ok(Self {
            spent: add(&self.spent, &other.spent)?,
            reserved: add(&self.reserved, &other.reserved)?,
            in_doubt: add(&self.in_doubt, &other.in_doubt)?,
        })
    }

    fn unreserve(&self, amount: &Amount) -> Result<Amount, LedgerFault> {
        self.reserved
            .checked_sub(positive(amount)?)
            .ok_or(LedgerFault::MoreThanReserved)
    }
}

fn positive(amount: &Amount) -> Result<&Amount, LedgerFault> {
    if amount.is_negative() {
        Err(LedgerFault::Negative)
    } else {
        Ok(amount)
    }
}

fn add(column: &Amount, amount: &Amount) -> Result<Amount, LedgerFault> {
    column
        .checked_add(positive(amount)?)
        .ok_or(LedgerFault::Overflow)
}
