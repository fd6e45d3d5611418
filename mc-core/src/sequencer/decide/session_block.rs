//! Blocks: how much a session takes at a time, so that its next calls lie inside it.
//!
//! What is *not* here: whether a block fits, which is asked like anything else (`call_reserve`).

use super::View;
use crate::budget::{Amount, Books, Limit, Path};
use crate::money::NanoUsd;
use crate::sequencer::workspace::ResidentBooks;

/// The most of a tightest limit, in hundredths, that a session takes at a time.
const BLOCK_PERCENT: i64 = 1;
/// The most money that a session takes at a time: 0.25 USD.
const BLOCK_MAX_NANO: i64 = 250_000_000;
/// The most calls that a block covers.
const BLOCK_MAX_CALLS: u64 = 1_000;

/// As many calls like one as a small share of the tightest limit pays for, in every dimension; none
/// where that is not more than the one.
pub(super) fn block(view: &View<'_>, path: &Path, short: Amount) -> Option<Amount> {
    let books = ResidentBooks(view.workspace);
    let limits: Vec<Limit> = path
        .iter()
        .filter_map(|id| Some(*Books::account(&books, id)?.limit()))
        .collect();
    let tightest = limits.iter().filter_map(|limit| limit.money).min();
    let share = tightest.map_or(BLOCK_MAX_NANO, |limit| {
        limit.as_nano().saturating_mul(BLOCK_PERCENT) / 100
    });
    let block = share.min(BLOCK_MAX_NANO);
    let price = short.money.as_nano().max(1);
    let share_of = |pick: fn(&Limit) -> Option<u64>, one: u64| {
        let tightest = limits.iter().filter_map(pick).min();
        tightest.map_or(u64::MAX, |limit| limit / 100 / one.max(1))
    };
    let calls = u64::try_from(block / price)
        .unwrap_or(0)
        .min(BLOCK_MAX_CALLS)
        .min(share_of(|limit| limit.calls, short.calls))
        .min(share_of(|limit| limit.input_tokens, short.input_tokens))
        .min(share_of(|limit| limit.output_tokens, short.output_tokens));
    (calls > 1).then(|| Amount {
        money: NanoUsd::from_nano(block.max(short.money.as_nano())),
        input_tokens: short.input_tokens.saturating_mul(calls),
        output_tokens: short.output_tokens.saturating_mul(calls),
        calls: short.calls.saturating_mul(calls),
    })
}
