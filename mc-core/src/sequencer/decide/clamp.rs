//! Clamp: a call whose worst case has no room goes out with a smaller output limit, if its caller
//! says that so little is of use.
//!
//! It sizes the request and admits nothing: what is left of it goes through admission like any other.

use super::View;
use super::worst_case::{amount, rounding};
use crate::budget::{Dimension, Hold, Path, affordable};
use crate::money::NanoUsd;
use crate::pricing::Bound;
use crate::sequencer::resident::Resident;

/// A call that may be made smaller.
pub(super) struct Clamp<'a> {
    pub(super) resident: &'a Resident,
    /// The accounts that it counts in.
    pub(super) path: Path,
    /// The hold that it lies in, where it has none of its own.
    pub(super) hold: Option<&'a Hold>,
    /// The least output limit, in tokens, that is of use.
    pub(super) least: u64,
}

impl Clamp<'_> {
    /// The call with the largest output limit that there is room for; none where it fits as it is,
    /// or where what fits is of no use.
    pub(super) fn bound(&self, view: &View<'_>, whole: &Bound) -> Option<Bound> {
        let free = self.hold.map(Hold::free).unwrap_or_default();
        let room = affordable(&view.books(self.resident), &self.path);
        let room = |dimension| Some(room.of(dimension)?.saturating_add(free.of(dimension)));
        let mut most = whole.basis.max_output_tokens;
        if let Some(money) = room(Dimension::Money) {
            let money = NanoUsd::from_nano(i64::try_from(money).unwrap_or(i64::MAX));
            if amount(whole).money > money {
                let money = money.saturating_sub(rounding(whole));
                most = most.min(whole.basis.affordable_output(money)?);
            }
        }
        if let Some(tokens) = room(Dimension::OutputTokens) {
            let tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
            let answers = u64::from(whole.basis.choices) * u64::from(whole.basis.sendings);
            let each = tokens.checked_div(answers).unwrap_or(u64::MAX);
            most = most.min(each.saturating_sub(whole.basis.extra_reasoning_tokens));
        }
        if most >= whole.basis.max_output_tokens || most < self.least {
            return None;
        }
        let mut basis = whole.basis;
        basis.max_output_tokens = most;
        basis.bound()
    }
}
