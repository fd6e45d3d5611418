//! What was spent against what is allowed, in every dimension that has a limit.

use mc_core::budget::{Amount, Dimension, Limit};
use mc_core::money::NanoUsd;

/// A limit in one dimension.
pub(crate) fn limit_of(limit: &Limit, dimension: Dimension) -> Option<i128> {
    match dimension {
        Dimension::Money => limit.money.map(|usd| i128::from(usd.as_nano())),
        Dimension::InputTokens => limit.input_tokens.map(i128::from),
        Dimension::OutputTokens => limit.output_tokens.map(i128::from),
        Dimension::Calls => limit.calls.map(i128::from),
    }
}

/// A count for people: money in USD.
pub(crate) fn shown(dimension: Dimension, value: i128) -> String {
    match dimension {
        Dimension::Money => {
            let nano = i64::try_from(value).unwrap_or(i64::MAX);
            NanoUsd::from_nano(nano).to_string()
        }
        Dimension::InputTokens | Dimension::OutputTokens | Dimension::Calls => value.to_string(),
    }
}

/// What a dimension counts.
pub(crate) const fn unit(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Money => "USD",
        Dimension::InputTokens => "input tokens",
        Dimension::OutputTokens => "output tokens",
        Dimension::Calls => "calls",
    }
}

/// `0.006 of 1.00 USD, 2 of 7 calls`: money always, the rest where it is limited.
pub(crate) fn told(spent: &Amount, limit: &Limit) -> String {
    let parts = Dimension::ALL.into_iter().filter_map(|dimension| {
        let value = shown(dimension, spent.of(dimension));
        let unit = unit(dimension);
        match (limit_of(limit, dimension), dimension) {
            (Some(limit), _) => {
                let limit = shown(dimension, limit);
                Some(format!("{value} of {limit} {unit}"))
            }
            (None, Dimension::Money) => Some(format!("{value} {unit}")),
            (None, Dimension::InputTokens | Dimension::OutputTokens | Dimension::Calls) => None,
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}
