//! One account: its limit, its three columns, and the movements that change them.
//!
//! Whether an account is over its limit is read from the columns; there is no flag that could
//! disagree with them. What is *not* here: whether a request may be admitted (`admission`), and
//! which accounts a request touches (`path`). Read `admission` next.

use serde::{Deserialize, Serialize};

use super::change::{Change, Lapsing, Undo};
use super::columns::Columns;
use super::{
    Amount, Dimension, InFlight, LedgerFault, Limit, LimitMode, Movement, OnExceed, Period,
    Periods, Window, worst_case_overshoot,
};
use crate::money::NanoUsd;
use crate::time::Timestamp;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The columns of one account, and its rules.
///
/// With a window, the columns are those of what counts now, and `periods` has them one by one.
///
/// As JSON, defaults are left out: `{"limit":{"nano_usd":5000},"spent":{"nano_usd":100}}`.
/// The default account has no limit and is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    #[serde(default, skip_serializing_if = "is_default")]
    limit: Limit,
    #[serde(default, skip_serializing_if = "is_default")]
    on_exceed: OnExceed,
    #[serde(default, skip_serializing_if = "is_default")]
    mode: LimitMode,
    #[serde(default, skip_serializing_if = "is_default")]
    in_flight: InFlight,
    #[serde(default, skip_serializing_if = "is_default")]
    spent: Amount,
    #[serde(default, skip_serializing_if = "is_default")]
    reserved: Amount,
    #[serde(default, skip_serializing_if = "is_default")]
    in_doubt: Amount,
    #[serde(default, skip_serializing_if = "is_false")]
    frozen: bool,
    /// Changes that lapse, the first to do so first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lapsing: Vec<Lapsing>,
    /// The highest threshold that was told of, in hundredths of the limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) reached: u8,
    /// The most by which one outcome passed what was held for it, in each dimension.
    #[serde(default, skip_serializing_if = "is_default")]
    largest_overrun: Amount,
    /// Its window; none where it always counted for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    periods: Option<Box<Periods>>,
}

impl Account {
    /// An empty account.
    pub fn new(limit: Limit, on_exceed: OnExceed) -> Self {
        Self {
            limit,
            on_exceed,
            ..Self::default()
        }
    }

    /// The limit.
    pub const fn limit(&self) -> &Limit {
        &self.limit
    }

    /// What the account does to a run that it refuses for good.
    pub const fn on_exceed(&self) -> OnExceed {
        self.on_exceed
    }

    /// Whether the limit holds.
    pub const fn mode(&self) -> LimitMode {
        self.mode
    }

    /// What becomes of what is out where it is over its limit.
    pub const fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    /// What was billed.
    pub const fn spent(&self) -> &Amount {
        &self.spent
    }

    /// What open holds have.
    pub const fn reserved(&self) -> &Amount {
        &self.reserved
    }

    /// What holds with an unknown outcome have.
    pub const fn in_doubt(&self) -> &Amount {
        &self.in_doubt
    }

    /// Whether an operator stopped all admissions here.
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The most by which one outcome was billed above what was held for it, in each dimension: zero
    /// as long as providers honour output limits and prices.
    pub const fn largest_overrun(&self) -> &Amount {
        &self.largest_overrun
    }

    /// The most by which this account can end above its limit if what is out now is billed as badly
    /// as the worst outcome so far: calls that are held or in doubt times the largest overrun.
    #[must_use]
    pub fn worst_case_overshoot(&self) -> Amount {
        let out = self.reserved.calls.saturating_add(self.in_doubt.calls);
        worst_case_overshoot(out, &self.largest_overrun)
    }

    /// Whether nothing was ever counted here and no rule was set, so that it need not be stored.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Spent, reserved and in doubt together, each dimension held at its end.
    #[must_use]
    pub fn exposure(&self) -> Amount {
        self.spent
            .saturating_add(&self.reserved)
            .saturating_add(&self.in_doubt)
    }

    /// What can still be reserved in each limited dimension; zero where the limit is passed.
    pub fn available(&self) -> Limit {
        let used = self.exposure();
        let tokens = |limit: Option<u64>, used: u64| limit.map(|limit| limit.saturating_sub(used));
        Limit {
            money: self
                .limit
                .money
                .map(|limit| limit.saturating_sub(used.money).max(NanoUsd::ZERO)),
            input_tokens: tokens(self.limit.input_tokens, used.input_tokens),
            output_tokens: tokens(self.limit.output_tokens, used.output_tokens),
            calls: tokens(self.limit.calls, used.calls),
        }
    }

    /// Limit minus exposure in one dimension, negative where the limit is passed; none where there
    /// is no limit.
    pub fn headroom(&self, dimension: Dimension) -> Option<i128> {
        let limit = self.limit.of(dimension)?;
        Some(limit.saturating_sub(self.used(dimension)))
    }

    /// Whether a limited dimension is over a limit that holds: an overrun was billed, or the limit
    /// was lowered. Such an account admits nothing, not even a request of zero.
    pub fn is_breached(&self) -> bool {
        self.mode.is_enforced() && self.is_over()
    }

    /// Whether a limited dimension is over its limit, also where that is only looked at.
    pub fn is_over(&self) -> bool {
        Dimension::ALL
            .iter()
            .any(|d| self.headroom(*d).is_some_and(|room| room < 0))
    }

    /// As [`Self::available`], of a limit that holds; none of one that is only looked at.
    pub(super) fn room(&self) -> Limit {
        match self.mode {
            LimitMode::Enforce => self.available(),
            LimitMode::Observe => Limit::default(),
        }
    }

    /// Spent, reserved and in doubt in one dimension; the sum of three always fits.
    pub(super) fn used(&self, dimension: Dimension) -> i128 {
        let held = self
            .reserved
            .of(dimension)
            .saturating_add(self.in_doubt.of(dimension));
        held.saturating_add(self.spent.of(dimension))
    }

    /// The limit in one dimension, or the most that can be counted.
    pub(super) fn cap(&self, dimension: Dimension) -> i128 {
        self.limit.of(dimension).unwrap_or_else(|| dimension.most())
    }

    /// As [`Self::cap`]; the most that can be counted where the limit is only looked at.
    pub(super) fn held_cap(&self, dimension: Dimension) -> i128 {
        match self.mode {
            LimitMode::Enforce => self.cap(dimension),
            LimitMode::Observe => dimension.most(),
        }
    }

    /// The limit without what was put on top of it for a time.
    pub fn base_limit(&self) -> Limit {
        let tops = self.lapsing.iter().filter_map(|one| match &one.undo {
            Undo::TopUp(by) => Some(by),
            Undo::Freeze | Undo::Limit { .. } => None,
        });
        tops.fold(self.limit, |limit, by| limit.minus(by))
    }

    /// The limit, what passing it does, and whether it holds, once every change that was made for a
    /// time has lapsed.
    pub fn lasting_limit(&self) -> (Limit, OnExceed, LimitMode) {
        let mut undone = self.lapsing.iter().filter_map(|one| match one.undo {
            Undo::Limit {
                limit,
                on_exceed,
                mode,
            } => Some((limit, on_exceed, mode)),
            Undo::TopUp(_) | Undo::Freeze => None,
        });
        undone
            .next()
            .unwrap_or_else(|| (self.base_limit(), self.on_exceed, self.mode))
    }

    /// Whether it is frozen, and for longer than a time.
    pub fn is_frozen_for_good(&self) -> bool {
        self.frozen && !self.lapsing.iter().any(|one| one.undo == Undo::Freeze)
    }

    /// The changes that lapse, the first to do so first.
    pub fn lapsing(&self) -> &[Lapsing] {
        &self.lapsing
    }

    /// From when on time changes something here by itself: a change lapses, or a period begins.
    pub fn due(&self) -> Option<Timestamp> {
        let lapses = self.lapsing.first().map(|one| one.at);
        let opens = self.periods().and_then(Periods::due);
        lapses.into_iter().chain(opens).min()
    }

    /// The window that it counts in.
    pub fn window(&self) -> Window {
        self.periods
            .as_ref()
            .map_or(Window::Lifetime, |periods| *periods.window())
    }

    /// What it counted in each period that is open still, by the window.
    pub fn periods(&self) -> Option<&Periods> {
        self.periods.as_deref()
    }

    /// The period that it counts in; none where it counts for ever.
    pub fn period(&self) -> Option<Period> {
        self.periods()?.current()
    }

    /// Whether what was reserved at a time counts against its limit now.
    pub fn counts(&self, at: Timestamp) -> bool {
        self.periods().is_none_or(|periods| periods.counts(at))
    }

    /// When waiting alone may make room for an amount in a dimension: none where it never does.
    pub fn resets_at(&self, dimension: Dimension, wanted: i128) -> Option<Timestamp> {
        let end = self.period()?.end;
        (wanted <= self.held_cap(dimension) && end < Period::ALWAYS.end).then_some(end)
    }

    /// Makes one movement; a fault changes nothing.
    ///
    /// # Errors
    /// A [`LedgerFault`] where the columns cannot move so.
    pub fn apply(&mut self, movement: &Movement) -> Result<(), LedgerFault> {
        *self = self.after(movement)?;
        Ok(())
    }

    /// As [`Self::after_at`], in an account that counts for ever.
    ///
    /// # Errors
    /// A [`LedgerFault`] where the columns cannot move so.
    pub fn after(&self, movement: &Movement) -> Result<Self, LedgerFault> {
        self.after_at(Timestamp::EPOCH, movement)
    }

    /// The account as it stands after one movement of what was reserved at a time.
    ///
    /// # Errors
    /// A [`LedgerFault`] where the columns cannot move so.
    pub fn after_at(&self, at: Timestamp, movement: &Movement) -> Result<Self, LedgerFault> {
        let mut next = self.clone();
        match movement {
            Movement::Reserve(_) | Movement::Release(_) | Movement::Doubt(_) => {
                next.move_columns(at, movement)?;
            }
            Movement::Settle { held, actual } | Movement::SettleDoubt { held, actual } => {
                next.move_columns(at, movement)?;
                next.note_overrun(held, actual);
            }
            Movement::Change(change) => next.change(change)?,
        }
        Ok(next)
    }

    fn change(&mut self, change: &Change) -> Result<(), LedgerFault> {
        match change {
            Change::SetLimit { limit, on_exceed } => {
                self.lapsing
                    .retain(|one| !matches!(one.undo, Undo::Limit { .. }));
                self.set_limit(limit, *on_exceed)?;
            }
            Change::TopUp(by) => {
                self.limit = self.limit.plus(by)?;
                self.fits_limit();
            }
            Change::SetMode(mode) => self.mode = *mode,
            Change::SetInFlight(in_flight) => self.in_flight = *in_flight,
            Change::RaiseLasting(by) => self.raise_lasting(by),
            Change::Freeze | Change::Unfreeze => {
                self.lapsing.retain(|one| one.undo != Undo::Freeze);
                self.frozen = *change == Change::Freeze;
            }
            Change::Lapses(lapsing) => {
                self.lapsing.push(*lapsing);
                self.lapsing.sort_by_key(|one| one.at);
            }
            Change::Lapse(lapsing) => self.lapse(lapsing)?,
            Change::Reach(percent) => self.reached = *percent,
            Change::SetWindow(window) => self.set_window(*window),
            Change::OpenWindow { window, period } => {
                self.open_window(*window, *period)?;
                // What a window still counts was told of.
                self.fits_limit();
            }
            Change::CloseWindow(period) => {
                let periods = self.periods.as_mut().ok_or(LedgerFault::NoSuchPeriod)?;
                periods.close(*period)?;
            }
        }
        Ok(())
    }

    /// What was told of a smaller limit, or of an earlier period, is told of this one again.
    fn fits_limit(&mut self) {
        self.reached = self.reached.min(self.percent());
    }

    /// The limit under one that stands for a time rises.
    fn raise_lasting(&mut self, by: &Limit) {
        for one in &mut self.lapsing {
            if let Undo::Limit { limit, .. } = &mut one.undo {
                *limit = limit.saturating_plus(by);
            }
        }
    }

    /// Sets the limit under what was put on top of it for a time.
    fn set_limit(&mut self, limit: &Limit, on_exceed: OnExceed) -> Result<(), LedgerFault> {
        let (mut top, lapsing) = (*limit, &self.lapsing);
        if limit.of(Dimension::Money).is_some_and(|money| money < 0) {
            return Err(LedgerFault::Negative);
        }
        for one in lapsing {
            if let Undo::TopUp(by) = &one.undo {
                // It is taken away again; until then there is no more than the largest limit.
                top = top.saturating_plus(by);
            }
        }
        (self.limit, self.on_exceed) = (top, on_exceed);
        self.fits_limit();
        Ok(())
    }

    fn lapse(&mut self, lapsing: &Lapsing) -> Result<(), LedgerFault> {
        let found = self.lapsing.iter().position(|one| one == lapsing);
        self.lapsing
            .remove(found.ok_or(LedgerFault::NothingLapses)?);
        match &lapsing.undo {
            Undo::TopUp(by) => {
                self.limit = self.limit.minus(by);
                self.fits_limit();
            }
            Undo::Freeze => self.frozen = false,
            Undo::Limit {
                limit,
                on_exceed,
                mode,
            } => {
                self.set_limit(limit, *on_exceed)?;
                self.mode = *mode;
            }
        }
        Ok(())
    }

    const fn columns(&self) -> Columns {
        Columns {
            spent: self.spent,
            reserved: self.reserved,
            in_doubt: self.in_doubt,
        }
    }

    fn show(&mut self, columns: Columns) {
        (self.spent, self.reserved, self.in_doubt) =
            (columns.spent, columns.reserved, columns.in_doubt);
    }

    fn move_columns(&mut self, at: Timestamp, movement: &Movement) -> Result<(), LedgerFault> {
        let counts = match self.periods.as_mut() {
            Some(periods) => periods.apply(at, movement)?,
            None => true,
        };
        if counts {
            self.show(self.columns().after(movement)?);
        }
        Ok(())
    }

    fn set_window(&mut self, window: Window) {
        if window != self.window() || self.periods.is_some() {
            self.periods.get_or_insert_default().set(window);
        }
    }

    fn open_window(&mut self, window: Window, period: Period) -> Result<(), LedgerFault> {
        let before = self.columns();
        let periods = self.periods.get_or_insert_default();
        periods.open(window, period, before)?;
        let counted = periods.counted()?;
        self.show(counted);
        Ok(())
    }

    fn note_overrun(&mut self, held: &Amount, actual: &Amount) {
        let over = actual.saturating_sub(held);
        self.largest_overrun = self.largest_overrun.max(&over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nano(money: i64) -> Amount {
        Amount {
            money: NanoUsd::from_nano(money),
            ..Amount::ZERO
        }
    }

    fn account(limit: i64, movements: &[Movement]) -> Account {
        let mut account = Account::new(Limit::usd(NanoUsd::from_nano(limit)), OnExceed::default());
        for movement in movements {
            account.apply(movement).unwrap();
        }
        account
    }

    #[test]
    fn an_overrun_is_recorded_in_full_and_breaches_the_account() {
        let settle = Movement::Settle {
            held: nano(80),
            actual: nano(130),
        };
        let account = account(100, &[Movement::Reserve(nano(80)), settle]);
        assert_eq!(
            (*account.spent(), *account.reserved()),
            (nano(130), Amount::ZERO)
        );
        assert!(account.is_breached());
        assert_eq!(account.headroom(Dimension::Money), Some(-30));
        assert_eq!(account.available(), Limit::usd(NanoUsd::ZERO));
    }

    #[test]
    fn the_overshoot_is_bounded_by_what_is_out_and_the_largest_overrun() {
        let call = Amount {
            calls: 1,
            ..nano(10)
        };
        let settle = |actual: i64| Movement::Settle {
            held: call,
            actual: Amount {
                calls: 1,
                ..nano(actual)
            },
        };
        let three = [Movement::Reserve(call); 3];
        let held = account(100, &three);
        assert_eq!(held.worst_case_overshoot(), Amount::ZERO);
        let billed = account(
            100,
            &[&three[..], &[settle(17), Movement::Doubt(call)]].concat(),
        );
        assert_eq!(*billed.largest_overrun(), nano(7));
        assert_eq!(
            billed.worst_case_overshoot(),
            nano(14),
            "one held, one in doubt"
        );
    }

    #[test]
    fn a_limit_may_be_lowered_below_the_exposure_and_the_spend_stays() {
        let limit = Limit::usd(NanoUsd::from_nano(10));
        let lower = Movement::Change(Change::SetLimit {
            limit,
            on_exceed: OnExceed::Pause,
        });
        let account = account(100, &[Movement::Reserve(nano(80)), lower]);
        assert!(account.is_breached());
        assert_eq!(
            (*account.reserved(), account.on_exceed()),
            (nano(80), OnExceed::Pause)
        );
    }

    #[test]
    fn an_impossible_movement_changes_nothing() {
        let before = account(
            100,
            &[Movement::Reserve(nano(10)), Movement::Doubt(nano(4))],
        );
        for (movement, fault) in [
            (Movement::Release(nano(7)), LedgerFault::MoreThanReserved),
            (Movement::Doubt(nano(7)), LedgerFault::MoreThanReserved),
            (
                Movement::Settle {
                    held: nano(7),
                    actual: nano(1),
                },
                LedgerFault::MoreThanReserved,
            ),
            (
                Movement::SettleDoubt {
                    held: nano(5),
                    actual: nano(1),
                },
                LedgerFault::MoreThanInDoubt,
            ),
            (Movement::Reserve(nano(i64::MAX)), LedgerFault::Overflow),
            (Movement::Reserve(nano(-1)), LedgerFault::Negative),
            (Movement::Release(nano(i64::MIN)), LedgerFault::Negative),
            (
                Movement::Settle {
                    held: nano(1),
                    actual: nano(-1),
                },
                LedgerFault::Negative,
            ),
        ] {
            let mut account = before.clone();
            assert_eq!(account.apply(&movement), Err(fault), "{movement:?}");
            assert_eq!(account, before);
        }
    }

    #[test]
    fn tokens_do_not_wrap_at_the_end_of_their_range() {
        let all = Amount {
            input_tokens: u64::MAX,
            ..Amount::ZERO
        };
        let mut account = account(1, &[Movement::Reserve(all)]);
        assert_eq!(
            account.apply(&Movement::Reserve(all)),
            Err(LedgerFault::Overflow)
        );
        account
            .apply(&Movement::Settle {
                held: all,
                actual: all,
            })
            .unwrap();
        account.apply(&Movement::Reserve(all)).unwrap();
        assert_eq!(account.exposure().input_tokens, u64::MAX);
        let used = i128::from(u64::MAX).checked_mul(2);
        assert_eq!(Some(account.used(Dimension::InputTokens)), used);
    }

    #[test]
    fn json_leaves_defaults_out_and_reads_back() {
        let account = account(
            100,
            &[
                Movement::Reserve(nano(10)),
                Movement::Change(Change::Freeze),
            ],
        );
        let json = serde_json::to_string(&account).unwrap();
        assert_eq!(
            json,
            r#"{"limit":{"nano_usd":100},"reserved":{"nano_usd":10},"frozen":true}"#
        );
        assert_eq!(serde_json::from_str::<Account>(&json).unwrap(), account);
        assert_eq!(serde_json::to_string(&Account::default()).unwrap(), "{}");
    }
}
