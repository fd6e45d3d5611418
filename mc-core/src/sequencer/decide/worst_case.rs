//! What a model call can cost at most, by the prices in force.
//!
//! The owner asks here before it admits a call, and a joined process before it draws on its block:
//! both get the same amount.

use crate::budget::Amount;
use crate::error::{Error, Result};
use crate::id::Region;
use crate::money::NanoUsd;
use crate::pricing::{Basis, Bound, CallBound, CostFault, Quote, reserve_bound};
use crate::sequencer::command::ReserveCall;

/// The most that a call can cost, and the most output tokens to ask for: so many are held.
///
/// # Errors
/// `InvalidInput` for a bound or terms that have no price.
pub fn worst_case(quote: &Quote<'_>, call: &ReserveCall) -> Result<(Amount, u64)> {
    let bound = bound(quote, call, None)?;
    Ok((amount(&bound), bound.basis.max_output_tokens))
}

/// What bounds a call, under a cap on its output.
pub(super) fn bound(quote: &Quote<'_>, call: &ReserveCall, cap: Option<u64>) -> Result<Bound> {
    let caps = call.terms.caps();
    let limits = &call.bound;
    let terms = &call.terms;
    let asked = limits.max_output_tokens.or(quote.price.max_output_tokens);
    let most = asked.into_iter().chain(cap).min();
    let bound = CallBound {
        input_tokens: limits.input_tokens,
        rendered_bytes: call.rendered_bytes,
        max_output_tokens: limits.max_output_tokens.or(cap).and(most),
        choices: limits.choices,
        hidden_retries: limits.hidden_retries,
        units: &caps,
        service_tier: terms.service_tier,
        region: terms.region.as_ref().map(Region::as_str),
        ..CallBound::default()
    };
    reserve_bound(&quote.price, &bound).map_err(|fault| unpriced(call, fault))
}

/// What such a call holds; each time that it may be sent is a call, and its price is rounded up.
pub(super) fn amount(bound: &Bound) -> Amount {
    Amount {
        money: bound.money.max(each_rounded(bound)),
        input_tokens: bound.input_tokens,
        output_tokens: bound.output_tokens,
        calls: u64::from(bound.basis.sendings),
    }
}

/// What several sendings cost at most, where each is charged, and rounded up, by itself.
fn each_rounded(bound: &Bound) -> NanoUsd {
    let one = Basis {
        sendings: 1,
        ..bound.basis
    };
    let one = one.bound().map_or(bound.money, |one| one.money);
    let sendings = i64::from(bound.basis.sendings);
    NanoUsd::from_nano(one.as_nano().saturating_mul(sendings))
}

/// By how much that can be more than what they cost together, rounded up once.
pub(super) fn rounding(bound: &Bound) -> NanoUsd {
    NanoUsd::from_nano(i64::from(bound.basis.sendings.saturating_sub(1)))
}

/// What about a call has no price, by the name of what the host stated.
fn unpriced(call: &ReserveCall, fault: CostFault) -> Error {
    let stated = match &fault {
        CostFault::UnknownRegion(_) => "region",
        CostFault::TierUnpriced(_) => "service_tier",
        CostFault::UnitUnpriced(_) => "units",
        CostFault::UnknownModel(_)
        | CostFault::ClassUnpriced(_)
        | CostFault::InputUnbounded
        | CostFault::OutputUnbounded
        | CostFault::Overflow => "bound",
    };
    Error::invalid(stated, format!("{fault} at model `{}`", call.model)).with_source(fault)
}
