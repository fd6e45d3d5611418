//! The movements that a ledger cannot make.
//!
//! A fault changes nothing. It is never a refusal: a request that does not fit is a `Verdict`.
//! Read `account` next.

use crate::error::{Error, ErrorKind};

/// Why a movement or a hold's change is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// The movement takes more out of `reserved` than there is.
    #[error("more would leave `reserved` than it has")]
    MoreThanReserved,
    /// The movement takes more out of `in_doubt` than there is.
    #[error("more would leave `in_doubt` than it has")]
    MoreThanInDoubt,
    /// The sum does not fit its type.
    #[error("the amount is too large to be counted")]
    Overflow,
    /// The amount has negative money.
    #[error("an amount may not be negative")]
    Negative,
    /// The hold has no open draw of this ordinal.
    #[error("the hold has no open draw of this ordinal")]
    NoSuchDraw,
    /// The hold has an open draw of this ordinal already.
    #[error("the hold has a draw of this ordinal already")]
    DrawExists,
    /// The draw is larger than the free part of the hold.
    #[error("the draw does not fit into the free part of the hold")]
    BeyondHold,
    /// The hold's state does not allow the change.
    #[error("the hold's state does not allow this")]
    NotInThisState,
    /// The account has no such period, or it can neither begin nor end now.
    #[error("the account has no such period")]
    NoSuchPeriod,
    /// The account has no such change that lapses.
    #[error("the account has no such change that lapses")]
    NothingLapses,
    /// The hold still has open draws.
    #[error("the hold has open draws")]
    DrawsOpen,
}

impl LedgerFault {
    /// A short reason code, for a damaged log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MoreThanReserved => "ledger_reserved",
            Self::MoreThanInDoubt => "ledger_in_doubt",
            Self::Overflow => "ledger_overflow",
            Self::Negative => "ledger_negative",
            Self::NoSuchDraw => "ledger_no_draw",
            Self::DrawExists => "ledger_draw_exists",
            Self::BeyondHold => "ledger_beyond_hold",
            Self::NotInThisState => "ledger_hold_state",
            Self::DrawsOpen => "ledger_draws_open",
            Self::NoSuchPeriod => "ledger_no_period",
            Self::NothingLapses => "ledger_nothing_lapses",
        }
    }
}

impl From<LedgerFault> for Error {
    /// What a caller may have asked for is `invalid_input`; all else is a defect of this software.
    fn from(fault: LedgerFault) -> Self {
        let kind = match fault {
            LedgerFault::Overflow | LedgerFault::Negative => ErrorKind::InvalidInput,
            LedgerFault::MoreThanReserved
            | LedgerFault::MoreThanInDoubt
            | LedgerFault::NoSuchDraw
            | LedgerFault::DrawExists
            | LedgerFault::BeyondHold
            | LedgerFault::NotInThisState
            | LedgerFault::NoSuchPeriod
            | LedgerFault::NothingLapses
            | LedgerFault::DrawsOpen => ErrorKind::Internal,
        };
        Self::new(kind, "the ledger cannot make this movement").with_source(fault)
    }
}
