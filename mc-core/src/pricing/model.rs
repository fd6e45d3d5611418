//! One row of the table: a model's prices for a period, with its limits and where they were read.
//!
//! A row is plain data, checked when the table is read (`read`, `check`). What it means for a call
//! is in `cost` and `bound`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::class::{ServiceTier, Side, TokenClass, Unit};
use super::pico::PicoUsd;
use crate::id::ModelId;
use crate::time::Timestamp;

/// A factor such as 11/10.
///
/// As JSON: `[11,10]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u32; 2]", into = "[u32; 2]")]
pub struct Ratio {
    numerator: u32,
    denominator: u32,
}

impl Ratio {
    /// No change.
    pub const ONE: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    /// A factor; `None` if the denominator is zero.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if denominator == 0 {
            None
        } else {
            Some(Self {
                numerator,
                denominator,
            })
        }
    }

    /// A factor in lowest terms; `None` if the denominator is zero.
    pub(super) fn reduced(numerator: u32, denominator: u32) -> Option<Self> {
        let (mut divisor, mut rest) = (numerator, denominator);
        while rest != 0 {
            (divisor, rest) = (rest, divisor.checked_rem(rest)?);
        }
        Self::new(
            numerator.checked_div(divisor)?,
            denominator.checked_div(divisor)?,
        )
    }

    /// The upper number.
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The lower number, never zero.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Reads `11/10`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (numerator, denominator) = text.split_once('/')?;
        Self::new(digits(numerator)?, digits(denominator)?)
    }
}

impl From<Ratio> for [u32; 2] {
    fn from(ratio: Ratio) -> Self {
        [ratio.numerator, ratio.denominator]
    }
}

impl TryFrom<[u32; 2]> for Ratio {
    type Error = &'static str;

    fn try_from([numerator, denominator]: [u32; 2]) -> Result<Self, Self::Error> {
        Self::new(numerator, denominator).ok_or("a factor is never over zero")
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// Hours of the day, UTC, in which a rate is valid; they may pass midnight.
///
/// # Units
/// Minutes since midnight UTC; the first is in, the last is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "MinutesOfDay")]
pub struct Hours {
    from_minute: u16,
    until_minute: u16,
}

impl Hours {
    const DAY_MINUTES: u16 = 24 * 60;
    const DAY_US: i64 = 86_400_000_000;
    const MINUTE_US: i64 = 60_000_000;

    /// Reads `16:30-00:30`; `None` if it is not of this form, or empty.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let (from_minute, until_minute) = (minute(from)?, minute(until)?);
        (from_minute != until_minute).then_some(Self {
            from_minute,
            until_minute,
        })
    }

    /// Whether the time of day of `at` lies in these hours.
    pub fn contains(self, at: Timestamp) -> bool {
        let us = at
            .as_unix_us()
            .checked_rem_euclid(Self::DAY_US)
            .unwrap_or(0);
        let minute = us
            .checked_div(Self::MINUTE_US)
            .and_then(|m| u16::try_from(m).ok());
        minute.is_some_and(|minute| self.covers(minute))
    }

    fn covers(self, minute: u16) -> bool {
        if self.from_minute < self.until_minute {
            (self.from_minute..self.until_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.until_minute
        }
    }

    /// Whether some minute of the day is in both.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.covers(other.from_minute) || other.covers(self.from_minute)
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| (part.len() == 2).then(|| digits(part)).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    if hour > 23 || minute > 59 {
        return None;
    }
    u16::try_from(hour.checked_mul(60)?.checked_add(minute)?).ok()
}

/// Hours as they are written, before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MinutesOfDay {
    from_minute: u16,
    until_minute: u16,
}

impl TryFrom<MinutesOfDay> for Hours {
    type Error = &'static str;

    fn try_from(hours: MinutesOfDay) -> Result<Self, Self::Error> {
        let (from_minute, until_minute) = (hours.from_minute, hours.until_minute);
        if from_minute == until_minute || from_minute.max(until_minute) >= Self::DAY_MINUTES {
            return Err("hours lie within a day and are not empty");
        }
        Ok(Self {
            from_minute,
            until_minute,
        })
    }
}

impl fmt::Display for Hours {
    /// As in a table: `16:30-00:30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minute: u16| (minute.wrapping_div(60), minute.wrapping_rem(60));
        let (from, until) = (clock(self.from_minute), clock(self.until_minute));
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from.0, from.1, until.0, until.1
        )
    }
}

/// How the input tokens of a request are bounded without the provider's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputBound {
    /// Every token is at least one byte: bytes of the request plus `framing` tokens.
    Bytes {
        /// Tokens that the provider adds around the messages.
        framing: u64,
    },
    /// Bytes say nothing: the most that the model takes.
    MaximumInput,
}

impl InputBound {
    /// What holds for a row that says nothing: not of every tokenizer is it known that a token is
    /// at least a byte, nor how much a provider adds.
    pub const DEFAULT: Self = Self::MaximumInput;

    fn is_default(&self) -> bool {
        *self == Self::DEFAULT
    }
}

impl Default for InputBound {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether the output limit of a request also bounds its reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningLimit {
    /// The limit bounds text and reasoning together.
    #[default]
    Included,
    /// Reasoning comes on top, up to the model's own limit.
    Extra,
}

impl ReasoningLimit {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a call with exactly `tier_start` input tokens is in the tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierEdge {
    /// The tier begins one token later.
    #[default]
    Exclusive,
    /// The tier begins with this token.
    Inclusive,
}

impl TierEdge {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where and when a row's prices were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Packages and versions, or another place that can be looked up again.
    pub source: String,
    /// The day of reading, its start in UTC.
    pub checked_at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The prices of one service tier, from one size of input on, at some hours of the day or all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The service tier.
    #[serde(default, skip_serializing_if = "ServiceTier::is_standard")]
    pub service_tier: ServiceTier,
    /// Input tokens of the whole call from which these prices hold, for all of its tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tier_start: u64,
    /// The hours in which these prices hold; none is all that no other row names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_hours_utc: Option<Hours>,
    /// Pico-USD per token by class; `input` and `output` are always there.
    pub prices: BTreeMap<TokenClass, PicoUsd>,
    /// What the first of several sources lists, where another one is dearer: for reports. What is
    /// held and spent goes by `prices`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listed: BTreeMap<TokenClass, PicoUsd>,
}

impl Rate {
    /// The dearest price of a side.
    pub(super) fn dearest(&self, side: Side) -> PicoUsd {
        let of_side = self.prices.iter().filter(|(class, _)| class.side() == side);
        of_side
            .map(|(_, price)| *price)
            .max()
            .unwrap_or(PicoUsd::ZERO)
    }
}

/// A model's prices for a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// The model.
    pub model: ModelId,
    /// Other ids of the same model; matched exactly.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<ModelId>,
    /// The most input tokens that the model takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u64>,
    /// The most output tokens that the model writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// Whether a request's output limit bounds reasoning too.
    #[serde(default, skip_serializing_if = "ReasoningLimit::is_default")]
    pub reasoning_limit: ReasoningLimit,
    /// How the input is bounded without a count.
    #[serde(default, skip_serializing_if = "InputBound::is_default")]
    pub input_bound: InputBound,
    /// Where the prices were read.
    pub origin: Origin,
    /// The first moment at which the prices hold; none is always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Timestamp>,
    /// The first moment at which they no longer hold; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_until: Option<Timestamp>,
    /// Whether a tier begins at its start or one token later.
    #[serde(default, skip_serializing_if = "TierEdge::is_default")]
    pub tier_edge: TierEdge,
    /// Factors on token prices by region of processing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uplift: BTreeMap<String, Ratio>,
    /// Classes that are charged as another class where a rate does not name them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inherits: BTreeMap<TokenClass, TokenClass>,
    /// Prices, sorted by service tier, tier start and hours.
    pub rates: Vec<Rate>,
    /// Pico-USD per unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<Unit, PicoUsd>,
}

impl ModelPrice {
    /// Whether the prices hold at `at`.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.effective_from.is_none_or(|from| from <= at)
            && self.effective_until.is_none_or(|until| at < until)
    }

    /// Whether the prices were read more than `max_age` before `at`.
    pub fn is_older_than(&self, max_age: Duration, at: Timestamp) -> bool {
        at.since(self.origin.checked_at) > max_age
    }

    /// The row as the first of its sources lists it, without what another one is dearer by.
    #[must_use]
    pub fn as_listed(&self) -> Self {
        let mut row = self.clone();
        for rate in &mut row.rates {
            let listed = std::mem::take(&mut rate.listed);
            rate.prices.extend(listed);
        }
        row
    }

    /// The factor for a region; `None` if the row has factors, but none for this region.
    pub(super) fn uplift_of(&self, region: Option<&str>) -> Option<Ratio> {
        match region {
            Some(region) if !self.uplift.is_empty() => self.uplift.get(region).copied(),
            Some(_) | None => Some(Ratio::ONE),
        }
    }

    /// The rates of a tier that a call with `input_total` input tokens reaches.
    pub(super) fn reached(
        &self,
        tier: ServiceTier,
        input_total: u64,
    ) -> impl Iterator<Item = &Rate> {
        self.rates.iter().filter(move |rate| {
            rate.service_tier == tier
                && match self.tier_edge {
                    TierEdge::Exclusive => rate.tier_start < input_total || rate.tier_start == 0,
                    TierEdge::Inclusive => rate.tier_start <= input_total,
                }
        })
    }

    /// The one rate of a call: the highest tier that it reaches, its own hours before all hours.
    pub(super) fn rate(&self, tier: ServiceTier, input_total: u64, at: Timestamp) -> Option<&Rate> {
        let start = self
            .reached(tier, input_total)
            .map(|rate| rate.tier_start)
            .max()?;
        let rates = self
            .reached(tier, input_total)
            .filter(|rate| rate.tier_start == start);
        rates.fold(None, |best, rate| match rate.valid_hours_utc {
            None => best.or(Some(rate)),
            Some(hours) if hours.contains(at) => Some(rate),
            Some(_) => best,
        })
    }

    /// The price of a class in a rate: its own, or that of the class that it inherits from.
    pub(super) fn price_in(&self, rate: &Rate, class: TokenClass) -> Option<PicoUsd> {
        let own = rate.prices.get(&class);
        own.or_else(|| rate.prices.get(&self.heir_of(class)?))
            .copied()
    }

    /// The class that `class` is charged as; reasoning is output unless the row says otherwise.
    fn heir_of(&self, class: TokenClass) -> Option<TokenClass> {
        let reasoning = (class == TokenClass::Reasoning).then_some(TokenClass::Output);
        self.inherits.get(&class).copied().or(reasoning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_unix_us(
            hour.wrapping_mul(60)
                .wrapping_add(minute)
                .wrapping_mul(60_000_000),
        )
    }

    #[test]
    fn hours_may_pass_midnight_and_end_before_their_last_minute() {
        let night = Hours::parse("16:30-00:30").unwrap();
        assert!(night.contains(at(16, 30)) && night.contains(at(0, 29)));
        assert!(!night.contains(at(16, 29)) && !night.contains(at(0, 30)));
        assert!(night.contains(Timestamp::from_unix_us(-1)));
    }

    #[test]
    fn hours_have_one_form() {
        for bad in [
            "",
            "1:00-2:00",
            "24:00-01:00",
            "10:60-11:00",
            "10:00-10:00",
            "10:00",
            "+1:00-02:00",
        ] {
            assert!(Hours::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn hours_that_share_a_minute_overlap() {
        let hours = |text| Hours::parse(text).unwrap();
        assert!(hours("22:00-02:00").overlaps(hours("01:00-03:00")));
        assert!(hours("00:00-23:59").overlaps(hours("10:00-11:00")));
        assert!(!hours("10:00-11:00").overlaps(hours("11:00-12:00")));
    }

    #[test]
    fn a_factor_is_two_numbers_and_never_over_zero() {
        assert_eq!(Ratio::parse("11/10"), Ratio::new(11, 10));
        for bad in ["", "1", "1/0", "-1/2", "1.1/1", "+1/2", "/", "1/2/3"] {
            assert!(Ratio::parse(bad).is_none(), "{bad}");
        }
    }
}
