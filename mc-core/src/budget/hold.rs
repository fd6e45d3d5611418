//! A hold: an escrow of reserved money that model calls draw on.
//!
//! | state | trigger | next |
//! |---|---|---|
//! | open | `draw extend end_draw` | open |
//! | open | `settle` / `release` / `doubt` | settled / released / in doubt |
//! | in doubt | `late` | in doubt, or settled with the last draw |
//! | in doubt | `reconcile` | reconciled |
//!
//! Every other pair is refused: a hold ends once. What is *not* here: the accounts. Each change
//! returns what they must move, and the caller posts it on the hold's path. Read `queue` next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Amount, LedgerFault, Movement, Path, Shares};
use crate::time::Timestamp;

/// Where a hold stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Calls may draw on it. Enters every other state but `Reconciled`.
    #[default]
    Open,
    /// It ended and something was billed. Terminal.
    Settled,
    /// It ended and nothing was billed. Terminal.
    Released,
    /// Its outcome is unknown. Leaves by late results or `reconcile`, never by time.
    InDoubt,
    /// It was in doubt and evidence or an operator settled it. Terminal.
    Reconciled,
}

/// What can happen to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldTrigger {
    /// A call takes a part.
    Draw,
    /// The hold grows.
    Extend,
    /// A call ends, billed or not.
    EndDraw,
    /// It ends, and something was billed.
    Settle,
    /// It ends, and nothing was billed.
    Release,
    /// Its outcome became unknown.
    Doubt,
    /// A late result tells what one call was billed.
    Late,
    /// Evidence or an operator tells what all of it was billed.
    Reconcile,
}

impl HoldState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Settled,
        Self::Released,
        Self::InDoubt,
        Self::Reconciled,
    ];

    /// The state after a trigger, or `None` where the table has no such pair.
    ///
    /// `Late` leaves a hold in doubt; the hold itself becomes settled with its last draw.
    #[must_use]
    pub const fn after(self, trigger: HoldTrigger) -> Option<Self> {
        use HoldTrigger as T;
        match (self, trigger) {
            (Self::Open, T::Draw | T::Extend | T::EndDraw) => Some(Self::Open),
            (Self::Open, T::Settle) => Some(Self::Settled),
            (Self::Open, T::Release) => Some(Self::Released),
            (Self::Open, T::Doubt) | (Self::InDoubt, T::Late) => Some(Self::InDoubt),
            (Self::InDoubt, T::Reconcile) => Some(Self::Reconciled),
            (Self::Open, T::Late | T::Reconcile)
            | (
                Self::InDoubt,
                T::Draw | T::Extend | T::EndDraw | T::Settle | T::Release | T::Doubt,
            )
            | (
                Self::Settled | Self::Released | Self::Reconciled,
                T::Draw
                | T::Extend
                | T::EndDraw
                | T::Settle
                | T::Release
                | T::Doubt
                | T::Late
                | T::Reconcile,
            ) => None,
        }
    }

    /// Whether nothing can happen to the hold any more.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Open | Self::InDoubt => false,
            Self::Settled | Self::Released | Self::Reconciled => true,
        }
    }
}

impl HoldTrigger {
    /// Every trigger.
    pub const ALL: [Self; 8] = [
        Self::Draw,
        Self::Extend,
        Self::EndDraw,
        Self::Settle,
        Self::Release,
        Self::Doubt,
        Self::Late,
        Self::Reconcile,
    ];
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_open(state: &HoldState) -> bool {
    *state == HoldState::Open
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// An amount reserved in every account of a path, and the open calls inside it.
///
/// As JSON: `{"path":["workspace"],"amount":{"nano_usd":9},"draws":{"0":{"nano_usd":4}}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    path: Path,
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    amount: Amount,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    draws: BTreeMap<u32, Amount>,
    #[serde(default, skip_serializing_if = "is_open")]
    state: HoldState,
    #[serde(default, skip_serializing_if = "is_false")]
    billed: bool,
    /// When what no call has drawn was reserved, in the order in which it is taken.
    #[serde(default, skip_serializing_if = "Shares::is_empty")]
    shares: Shares,
    /// When what calls have drawn was reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    drawn: BTreeMap<u32, Shares>,
}

/// How one call ended, and what the accounts must move for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What leaves `reserved` (or `in_doubt`).
    pub held: Amount,
    /// What enters `spent`: all that was billed.
    pub actual: Amount,
    /// What was billed over the call's own draw. Not zero means that a provider billed more than
    /// its bound: a fault of price or estimate, also where the hold could cover it.
    pub overrun: Amount,
    /// What was billed over the whole hold: what the accounts' exposure rises by.
    pub beyond_hold: Amount,
    /// What the call did not use: free again in an open hold, free in the accounts after a doubt.
    pub returned: Amount,
}

impl Settlement {
    fn new(drawn: &Amount, held: Amount, actual: &Amount) -> Self {
        Self {
            held,
            actual: *actual,
            overrun: actual.saturating_sub(drawn),
            beyond_hold: actual.saturating_sub(&held),
            returned: drawn.saturating_sub(actual),
        }
    }

    /// The movement for a call of an open hold.
    pub const fn movement(&self) -> Movement {
        Movement::Settle {
            held: self.held,
            actual: self.actual,
        }
    }

    /// The movement for a call or hold in doubt.
    pub const fn doubt_movement(&self) -> Movement {
        Movement::SettleDoubt {
            held: self.held,
            actual: self.actual,
        }
    }
}

/// What becomes of a hold's parts when its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubted {
    /// What moves from `reserved` to `in_doubt`.
    pub to_doubt: Amount,
    /// What leaves `reserved`: no call was sent for it.
    pub to_release: Amount,
}

impl Hold {
    /// A hold whose amount has just been reserved on its path.
    ///
    /// # Errors
    /// [`LedgerFault::Negative`].
    pub fn open(path: Path, amount: Amount) -> Result<Self, LedgerFault> {
        Ok(Self {
            path,
            amount: positive(amount)?,
            draws: BTreeMap::new(),
            state: HoldState::Open,
            billed: false,
            shares: Shares::default(),
            drawn: BTreeMap::new(),
        })
    }

    /// As [`Self::open`]; it counts in the periods in which that time lies.
    ///
    /// # Errors
    /// [`LedgerFault::Negative`].
    pub fn open_at(path: Path, at: Timestamp, amount: Amount) -> Result<Self, LedgerFault> {
        let mut hold = Self::open(path, amount)?;
        hold.shares.add(at, amount);
        Ok(hold)
    }

    /// When what no call has drawn was reserved.
    pub const fn free_shares(&self) -> &Shares {
        &self.shares
    }

    /// When what leaves it next was reserved: what the call drew first, if it is a call's, and of
    /// all calls, if not; then the rest.
    #[must_use]
    pub fn leaving(&self, ordinal: Option<u32>) -> Shares {
        let own = |(call, shares): (&u32, &Shares)| {
            ordinal
                .is_none_or(|one| one == *call)
                .then(|| shares.clone())
        };
        let drawn = self.drawn.iter().filter_map(own);
        let mut all = drawn.fold(Shares::default(), Shares::and);
        all = all.and(self.shares.clone());
        all
    }

    /// What a call drew is taken before the rest from now on.
    fn return_shares(&mut self, ordinal: u32) {
        if let Some(own) = self.drawn.remove(&ordinal) {
            self.shares = own.and(std::mem::take(&mut self.shares));
        }
    }

    /// The accounts that it is reserved in.
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// What is still reserved, or in doubt, for it.
    pub const fn amount(&self) -> &Amount {
        &self.amount
    }

    /// The open calls inside it, by ordinal.
    pub const fn draws(&self) -> &BTreeMap<u32, Amount> {
        &self.draws
    }

    /// Where it stands.
    pub const fn state(&self) -> HoldState {
        self.state
    }

    /// Whether its outcome is unknown.
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self.state, HoldState::InDoubt)
    }

    /// What no call has drawn.
    #[must_use]
    pub fn free(&self) -> Amount {
        self.draws
            .values()
            .fold(self.amount, |free, draw| free.saturating_sub(draw))
    }

    /// Whether a call of this bound can draw without an extension.
    pub fn fits(&self, amount: &Amount) -> bool {
        is_open(&self.state) && !amount.is_negative() && amount.fits_in(&self.free())
    }

    /// What an extension must add before a call of this bound can draw.
    #[must_use]
    pub fn shortfall(&self, amount: &Amount) -> Amount {
        amount.saturating_sub(&self.free())
    }

    /// A call takes its bound out of the free part. The accounts do not move.
    ///
    /// # Errors
    /// `NotInThisState`, `Negative`, `DrawExists`, or `BeyondHold` where it must extend first.
    pub fn draw(&mut self, ordinal: u32, amount: Amount) -> Result<(), LedgerFault> {
        self.step(HoldTrigger::Draw)?;
        if self.draws.contains_key(&ordinal) {
            return Err(LedgerFault::DrawExists);
        }
        if !positive(amount)?.fits_in(&self.free()) {
            return Err(LedgerFault::BeyondHold);
        }
        self.draws.insert(ordinal, amount);
        let own = self.shares.take(&amount);
        if !own.is_empty() {
            self.drawn.insert(ordinal, own);
        }
        Ok(())
    }

    /// The hold grows by an amount that has just been reserved on its path.
    ///
    /// # Errors
    /// `NotInThisState`, `Negative` or `Overflow`.
    pub fn extend(&mut self, more: Amount) -> Result<(), LedgerFault> {
        self.step(HoldTrigger::Extend)?;
        let more = positive(more)?;
        self.amount = self
            .amount
            .checked_add(&more)
            .ok_or(LedgerFault::Overflow)?;
        Ok(())
    }

    /// As [`Self::extend`]; what it grows by counts in the periods in which that time lies.
    ///
    /// # Errors
    /// `NotInThisState`, `Negative` or `Overflow`.
    pub fn extend_at(&mut self, at: Timestamp, more: Amount) -> Result<(), LedgerFault> {
        self.extend(more)?;
        self.shares.add(at, more);
        Ok(())
    }

    /// A call ends and was billed; post [`Settlement::movement`].
    ///
    /// `held = min(actual, draw + free)`: what the call left stays in the hold, free (see [`Self::shrink`]); an overrun
    /// first takes from the free part, and only the rest raises the accounts' exposure.
    ///
    /// # Errors
    /// `NotInThisState`, `Negative` or `NoSuchDraw`; a call that ended has no draw any more.
    pub fn settle(&mut self, ordinal: u32, actual: Amount) -> Result<Settlement, LedgerFault> {
        self.step(HoldTrigger::EndDraw)?;
        let actual = positive(actual)?;
        let drawn = *self.draws.get(&ordinal).ok_or(LedgerFault::NoSuchDraw)?;
        let cover = self
            .free()
            .checked_add(&drawn)
            .ok_or(LedgerFault::Overflow)?;
        let held = actual.min(&cover);
        self.amount = self
            .amount
            .checked_sub(&held)
            .ok_or(LedgerFault::MoreThanReserved)?;
        self.return_shares(ordinal);
        drop(self.shares.take(&held));
        self.draws.remove(&ordinal);
        self.billed = true;
        Ok(Settlement::new(&drawn, held, &actual))
    }

    /// A call is proven unbilled: its draw is free again. The accounts do not move.
    ///
    /// # Errors
    /// `NotInThisState` or `NoSuchDraw`.
    pub fn release(&mut self, ordinal: u32) -> Result<Amount, LedgerFault> {
        self.step(HoldTrigger::EndDraw)?;
        let drawn = self.draws.remove(&ordinal);
        self.return_shares(ordinal);
        drawn.ok_or(LedgerFault::NoSuchDraw)
    }

    /// A part that no call has drawn leaves the hold; post `Movement::Release` of it.
    ///
    /// # Errors
    /// `NotInThisState`, `Negative`, or `BeyondHold` where calls have drawn on it.
    pub fn give_back(&mut self, amount: Amount) -> Result<(), LedgerFault> {
        self.step(HoldTrigger::EndDraw)?;
        if !positive(amount)?.fits_in(&self.free()) {
            return Err(LedgerFault::BeyondHold);
        }
        self.amount = self.amount.saturating_sub(&amount);
        drop(self.shares.take(&amount));
        Ok(())
    }

    /// A call has ended for which the hold had grown: what it left of that leaves the hold too, so that
    /// others can have it. Post `Movement::Release` of the result.
    ///
    /// # Errors
    /// `NotInThisState` or `Negative`.
    pub fn shrink(&mut self, grown: &Amount) -> Result<Amount, LedgerFault> {
        let left = grown.min(&self.free());
        self.give_back(left)?;
        Ok(left)
    }

    /// The hold ends with no call open; post `Movement::Release` of the result.
    ///
    /// # Errors
    /// `NotInThisState`, also the second time; `DrawsOpen` (see [`Self::doubt_split`]).
    pub fn close(&mut self) -> Result<Amount, LedgerFault> {
        let trigger = if self.billed {
            HoldTrigger::Settle
        } else {
            HoldTrigger::Release
        };
        let state = self.step(trigger)?;
        if !self.draws.is_empty() {
            return Err(LedgerFault::DrawsOpen);
        }
        self.state = state;
        self.shares = Shares::default();
        Ok(std::mem::take(&mut self.amount))
    }

    /// The attempt was lost but its host lives: open calls go in doubt, the free part is released.
    ///
    /// With no call open, nothing is in doubt and the hold just ends.
    ///
    /// # Errors
    /// `NotInThisState`.
    pub fn doubt_split(&mut self) -> Result<Doubted, LedgerFault> {
        let state = self.step(HoldTrigger::Doubt)?;
        if self.draws.is_empty() {
            return Ok(Doubted {
                to_doubt: Amount::ZERO,
                to_release: self.close()?,
            });
        }
        let to_release = self.free();
        let to_doubt = self.amount.saturating_sub(&to_release);
        self.amount = to_doubt;
        self.shares = Shares::default();
        self.state = state;
        Ok(Doubted {
            to_doubt,
            to_release,
        })
    }

    /// One call's outcome became unknown while the rest goes on: its part leaves as a hold of its
    /// own, in doubt. Post `Movement::Doubt` of the new hold's amount.
    ///
    /// # Errors
    /// `NotInThisState` or `NoSuchDraw`.
    pub fn split_doubt(&mut self, ordinal: u32) -> Result<Self, LedgerFault> {
        self.step(HoldTrigger::EndDraw)?;
        let drawn = *self.draws.get(&ordinal).ok_or(LedgerFault::NoSuchDraw)?;
        let mut doubt = Self::open(self.path.clone(), drawn)?;
        doubt.draw(ordinal, drawn)?;
        doubt.doubt_split()?;
        doubt.drawn = self.drawn.remove_entry(&ordinal).into_iter().collect();
        self.amount = self
            .amount
            .checked_sub(&drawn)
            .ok_or(LedgerFault::MoreThanReserved)?;
        self.draws.remove(&ordinal);
        Ok(doubt)
    }

    /// The host crashed: calls may have drawn that the log does not know of, so all of it goes in
    /// doubt.
    ///
    /// # Errors
    /// `NotInThisState`.
    pub fn doubt_whole(&mut self) -> Result<Doubted, LedgerFault> {
        self.state = self.step(HoldTrigger::Doubt)?;
        Ok(Doubted {
            to_doubt: self.amount,
            to_release: Amount::ZERO,
        })
    }

    /// A late result tells what one call in doubt was billed; post
    /// [`Settlement::doubt_movement`]. With the last of it the hold is settled.
    ///
    /// # Errors
    /// `NotInThisState`, `Negative` or `NoSuchDraw`.
    pub fn late(&mut self, ordinal: u32, actual: Amount) -> Result<Settlement, LedgerFault> {
        self.step(HoldTrigger::Late)?;
        let actual = positive(actual)?;
        let drawn = *self.draws.get(&ordinal).ok_or(LedgerFault::NoSuchDraw)?;
        self.amount = self
            .amount
            .checked_sub(&drawn)
            .ok_or(LedgerFault::MoreThanInDoubt)?;
        self.drawn.remove(&ordinal);
        self.draws.remove(&ordinal);
        self.billed = true;
        if self.draws.is_empty() && self.amount.is_zero() {
            self.state = HoldState::Settled;
        }
        Ok(Settlement::new(&drawn, drawn, &actual))
    }

    /// Evidence, or an operator, tells what all that is still in doubt was billed; post
    /// [`Settlement::doubt_movement`].
    ///
    /// # Errors
    /// `NotInThisState`, also the second time; `Negative`.
    pub fn reconcile(&mut self, actual: Amount) -> Result<Settlement, LedgerFault> {
        let state = self.step(HoldTrigger::Reconcile)?;
        let actual = positive(actual)?;
        let held = std::mem::take(&mut self.amount);
        self.shares = Shares::default();
        self.drawn.clear();
        self.draws.clear();
        self.state = state;
        Ok(Settlement::new(&held, held, &actual))
    }

    fn step(&self, trigger: HoldTrigger) -> Result<HoldState, LedgerFault> {
        self.state.after(trigger).ok_or(LedgerFault::NotInThisState)
    }
}

fn positive(amount: Amount) -> Result<Amount, LedgerFault> {
    if amount.is_negative() {
        Err(LedgerFault::Negative)
    } else {
        Ok(amount)
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
