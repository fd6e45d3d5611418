//! The most that a call can cost, before it is made.
//!
//! `R = ceil(uplift * m * (I * p_in + n * O * p_out) + m * sum(q_k * f_k))`, where `I` and `O` bound
//! input and output tokens, `n` counts choices, `m` is one plus hidden retries, `q_k` caps a unit,
//! and each price is the dearest of any class, tier and hour that the call may be charged at.
//! It is rounded by the same function as the cost, so a call within its bound never costs more.
//! What is *not* here: the hold that is made of it (`budget`).

use serde::{Deserialize, Serialize};

use super::class::{ServiceTier, Side, TokenClass, Unit};
use super::cost::{CostFault, unit_weight};
use super::model::{InputBound, ModelPrice, Rate, Ratio, ReasoningLimit};
use super::pico::{PicoUsd, Weight, divisor};
use super::terms::TierChoice;
use crate::money::NanoUsd;

/// What bounds a call.
#[derive(Clone, Copy, Debug)]
pub struct CallBound<'a> {
    /// The most input tokens, from a count; none leaves the other bounds.
    pub input_tokens: Option<u64>,
    /// The UTF-8 bytes of the request as it is sent, tool schemas and all; they bound its tokens
    /// where the model's row says so.
    pub rendered_bytes: Option<u64>,
    /// The output limit that is sent with the request; none leaves the model's own limit.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for; 0 counts as 1.
    pub choices: u32,
    /// How often a client below us may send the request again unseen.
    pub hidden_retries: u32,
    /// The classes of tokens that the call can use.
    pub classes: &'a [TokenClass],
    /// The caps of the units that the call can use.
    pub units: &'a [(Unit, u64)],
    /// The service tiers that it may be charged at.
    pub service_tier: TierChoice,
    /// The region of processing, if the call is bound to one.
    pub region: Option<&'a str>,
}

impl Default for CallBound<'_> {
    /// Text and caches, one choice, no hidden retries, no units, the standard tier.
    fn default() -> Self {
        Self {
            input_tokens: None,
            rendered_bytes: None,
            max_output_tokens: None,
            choices: 1,
            hidden_retries: 0,
            classes: TokenClass::TEXT,
            units: &[],
            service_tier: TierChoice::default(),
            region: None,
        }
    }
}

/// The numbers that a bound was made of; they stand beside the hold.
///
/// # Units
/// Tokens; pico-USD per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Input tokens of one sending.
    pub input_tokens: u64,
    /// Output tokens of one choice, by the limit that must be sent.
    pub max_output_tokens: u64,
    /// Reasoning tokens of one choice that the limit does not bound.
    pub extra_reasoning_tokens: u64,
    /// Choices.
    pub choices: u32,
    /// Sendings: one plus hidden retries.
    pub sendings: u32,
    /// The dearest input price.
    pub input_price: PicoUsd,
    /// The dearest output price.
    pub output_price: PicoUsd,
    /// Pico-USD for all units of one sending.
    pub units_pico_usd: u64,
    /// The factor of the region.
    pub uplift: Ratio,
}

/// The most that a call can cost and use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Money, rounded up as the cost will be.
    pub money: NanoUsd,
    /// Input tokens of all sendings.
    pub input_tokens: u64,
    /// Output tokens of all choices and sendings.
    pub output_tokens: u64,
    /// What it was made of.
    pub basis: Basis,
}

/// The least of what bounds the input tokens of one sending: a count, the request's bytes, the
/// model's own limit. Each is sound alone, so knowing more never raises it.
///
/// Bytes bound text that we send: they say nothing of images, sound and film, which a request may
/// name by a link, nor of what the provider's own tools read.
///
/// `None` where nothing bounds them.
pub fn input_bound(price: &ModelPrice, call: &CallBound<'_>) -> Option<u64> {
    let bytes = match price.input_bound {
        InputBound::Bytes { framing } if all_in_the_request(call) => call
            .rendered_bytes
            .map(|bytes| bytes.saturating_add(framing)),
        InputBound::Bytes { .. } | InputBound::MaximumInput => None,
    };
    least(least(call.input_tokens, bytes), price.max_input_tokens)
}

/// Whether all that the model reads is text of the request.
fn all_in_the_request(call: &CallBound<'_>) -> bool {
    let mut inputs = call
        .classes
        .iter()
        .filter(|class| class.side() == Side::Input);
    let mut units = call.units.iter();
    inputs.all(|class| TokenClass::TEXT.contains(class))
        && units.all(|(unit, cap)| *unit == Unit::Request || *cap == 0)
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Computes the most that a call can cost by a model's row.
///
/// Any usage with at most the bound's tokens and units, in the classes and tiers that it names,
/// costs at most this, at any hour.
///
/// # Units
/// Nano-USD, rounded up once.
///
/// # Errors
/// A [`CostFault`]: nothing bounds the input or output, a unit or tier has no price, or the sum does
/// not fit.
pub fn reserve_bound(price: &ModelPrice, call: &CallBound<'_>) -> Result<Bound, CostFault> {
    let input_tokens = input_bound(price, call).ok_or(CostFault::InputUnbounded)?;
    let (input_price, output_price) = dearest(price, call, input_tokens)?;
    let units = unit_weight(price, |unit| cap(call, unit))?;
    let basis = Basis {
        input_tokens,
        max_output_tokens: least(call.max_output_tokens, price.max_output_tokens)
            .ok_or(CostFault::OutputUnbounded)?,
        extra_reasoning_tokens: match price.reasoning_limit {
            ReasoningLimit::Included => 0,
            ReasoningLimit::Extra => price.max_output_tokens.ok_or(CostFault::OutputUnbounded)?,
        },
        choices: call.choices.max(1),
        sendings: call
            .hidden_retries
            .checked_add(1)
            .ok_or(CostFault::Overflow)?,
        input_price,
        output_price,
        units_pico_usd: u64::try_from(units).map_err(|_| CostFault::Overflow)?,
        uplift: price
            .uplift_of(call.region)
            .ok_or_else(|| CostFault::UnknownRegion(call.region.unwrap_or_default().to_owned()))?,
    };
    basis.bound().ok_or(CostFault::Overflow)
}

/// The cap of a unit; a request is always at least one request.
fn cap(call: &CallBound<'_>, unit: Unit) -> u64 {
    let caps = call
        .units
        .iter()
        .filter(|(named, _)| *named == unit)
        .map(|(_, cap)| *cap);
    caps.fold(u64::from(unit == Unit::Request), u64::max)
}

/// The dearest input and output price that the call may be charged at.
///
/// All tiers up to the bound count, not the highest alone: a tier may be cheaper than one before it.
fn dearest(
    price: &ModelPrice,
    call: &CallBound<'_>,
    input_tokens: u64,
) -> Result<(PicoUsd, PicoUsd), CostFault> {
    let exactly = match call.service_tier {
        TierChoice::Exactly(tier) => Some(tier),
        TierChoice::Auto => None,
    };
    let tiers = ServiceTier::ALL
        .iter()
        .filter(|tier| exactly.is_none_or(|only| only == **tier));
    let rates = tiers.flat_map(|tier| price.reached(*tier, input_tokens));
    rates
        .map(|rate| {
            let of = |side| dearest_in(price, rate, call.classes, side);
            (of(Side::Input), of(Side::Output))
        })
        .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
        .ok_or(CostFault::TierUnpriced(exactly.unwrap_or_default()))
}

/// A class without a price counts as the dearest of its side; so does a side without classes.
fn dearest_in(price: &ModelPrice, rate: &Rate, classes: &[TokenClass], side: Side) -> PicoUsd {
    let of_side = classes.iter().filter(|class| class.side() == side);
    let prices = of_side.map(|class| price.price_in(rate, *class));
    prices
        .map(|own| own.unwrap_or_else(|| rate.dearest(side)))
        .max()
        .unwrap_or_else(|| rate.dearest(side))
}

impl Basis {
    /// Works the bound out again from these numbers; `None` where it does not fit.
    pub fn bound(&self) -> Option<Bound> {
        let sendings = u64::from(self.sendings);
        let of_choice = self
            .max_output_tokens
            .checked_add(self.extra_reasoning_tokens)?;
        let output_tokens = of_choice.checked_mul(self.answers()?)?;
        let input_tokens = self.input_tokens.checked_mul(sendings)?;
        let tokens = self.input_price.times(input_tokens);
        let weight = Weight {
            tokens: tokens.checked_add(self.output_price.times(output_tokens))?,
            units: self.units()?,
        };
        Some(Bound {
            money: weight.ceil(self.uplift)?,
            input_tokens,
            output_tokens,
            basis: *self,
        })
    }

    /// The largest output limit with which the call costs at most `headroom`, up to the limit asked
    /// for; `None` if not even the input fits.
    pub fn affordable_output(&self, headroom: NanoUsd) -> Option<u64> {
        let headroom = u128::from(u64::try_from(headroom.as_nano()).ok()?);
        let room = headroom.checked_mul(divisor(self.uplift)?)?;
        let answers = self.answers()?;
        let slope = Weight {
            tokens: self.output_price.times(answers),
            units: 0,
        };
        let fixed = Weight {
            tokens: self
                .input_price
                .times(self.input_tokens.checked_mul(u64::from(self.sendings))?),
            units: self.units()?,
        };
        let left = room.checked_sub(fixed.scaled(self.uplift)?)?;
        let tokens = match left.checked_div(slope.scaled(self.uplift)?) {
            Some(tokens) => u64::try_from(tokens).unwrap_or(u64::MAX),
            None => u64::MAX,
        };
        Some(
            tokens
                .checked_sub(self.extra_reasoning_tokens)?
                .min(self.max_output_tokens),
        )
    }

    /// Answers of all sendings.
    fn answers(&self) -> Option<u64> {
        u64::from(self.choices).checked_mul(u64::from(self.sendings))
    }

    fn units(&self) -> Option<u128> {
        u128::from(self.units_pico_usd).checked_mul(u128::from(self.sendings))
    }
}
