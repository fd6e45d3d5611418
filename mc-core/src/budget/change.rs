//! What an operator, or time, changes about an account: its rules, and never its columns.
//!
//! A change may be made for a time; then the account remembers how it was, and the change lapses by
//! an event once that time has come. What is *not* here: when that is noticed (the sequencer's
//! `windows`), and what periods count (`periods`).

use serde::{Deserialize, Serialize};

use super::{InFlight, Limit, LimitMode, OnExceed, Period, Window};
use crate::id::ModelId;
use crate::time::Timestamp;

/// A change of the rules of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The limit and what passing it does are replaced; top-ups for a time stay on top. The limit
    /// may fall below what is used already.
    SetLimit {
        /// The new limit.
        limit: Limit,
        /// What the account does to a run that it refuses for good.
        on_exceed: OnExceed,
    },
    /// From now on the limit holds, or is only looked at.
    SetMode(LimitMode),
    /// What becomes of what is out where the account is over its limit.
    SetInFlight(InFlight),
    /// The limit rises, in the dimensions that have one.
    TopUp(Limit),
    /// The limit that follows one for a time rises too.
    RaiseLasting(Limit),
    /// The account admits nothing from now on.
    Freeze,
    /// The account admits again.
    Unfreeze,
    /// What was just changed is for a time.
    Lapses(Lapsing),
    /// What was changed for a time is as it was.
    Lapse(Lapsing),
    /// Spent, reserved and in doubt reached a percentage of the limit.
    Reach(u8),
    /// The account is to count in another window: at once where it counted for ever so far, else
    /// from the end of its current period.
    SetWindow(Window),
    /// A period begins, in this window.
    OpenWindow {
        /// The window.
        window: Window,
        /// The period.
        period: Period,
    },
    /// A period that counts no more and in which nothing is open any more is forgotten.
    CloseWindow(Period),
}

/// What becomes of a change once its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Undo {
    /// What was put on top of the limit is taken away again.
    TopUp(Limit),
    /// The account admits again.
    Freeze,
    /// The limit is again what it was.
    Limit {
        /// The limit.
        limit: Limit,
        /// What passing it does.
        on_exceed: OnExceed,
        /// Whether it holds.
        #[serde(default, skip_serializing_if = "LimitMode::is_enforced")]
        mode: LimitMode,
    },
}

/// A change that lapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lapsing {
    /// From when on.
    pub at: Timestamp,
    /// What is undone then.
    pub undo: Undo,
}

/// A share of a limit that somebody is told of, once a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// In hundredths of the limit, from 1 to 100.
    pub percent: u8,
    /// What is done besides.
    pub then: OnReach,
}

/// What is done when a threshold is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnReach {
    /// The event alone.
    #[default]
    Tell,
    /// Another model is suggested for every further call of the period; nothing is held up.
    Downgrade(ModelId),
    /// Every further call of the period needs a person's word.
    RequireApproval,
    /// The account is frozen.
    Freeze,
}

/// What the thresholds that an account has reached mean for every further call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing<'a> {
    /// A person has to approve it: since this share of the limit, in hundredths.
    pub asks: Option<u8>,
    /// The model that is suggested, by the highest threshold that names one.
    pub suggests: Option<&'a ModelId>,
}

impl<'a> Standing<'a> {
    /// What stands once this share was told of.
    pub fn of(thresholds: &'a [Threshold], reached: u8) -> Self {
        let (mut asks, mut suggests) = (None, None::<(u8, &ModelId)>);
        for one in thresholds.iter().filter(|one| one.percent <= reached) {
            match &one.then {
                OnReach::RequireApproval => asks = asks.max(Some(one.percent)),
                OnReach::Downgrade(model) if suggests.is_none_or(|(at, _)| at <= one.percent) => {
                    suggests = Some((one.percent, model));
                }
                OnReach::Tell | OnReach::Downgrade(_) | OnReach::Freeze => {}
            }
        }
        Self {
            asks,
            suggests: suggests.map(|(_, model)| model),
        }
    }

    /// Whether it says anything.
    pub const fn is_nothing(&self) -> bool {
        self.asks.is_none() && self.suggests.is_none()
    }
}

impl Threshold {
    /// Half, four fifths, nine tenths, and all of the limit; each is told of.
    pub const DEFAULT: [Self; 4] = [
        Self::told(50),
        Self::told(80),
        Self::told(90),
        Self::told(100),
    ];

    /// A threshold that is told of.
    pub const fn told(percent: u8) -> Self {
        Self {
            percent,
            then: OnReach::Tell,
        }
    }
}
