//! The grammar of the keys of litellm's price list: a class, a size of input, a service tier.
//!
//! `cache_read_input_token_cost_above_272k_tokens_flex` is the class `cache_read` from 272,000 input
//! tokens on, at the tier `flex`.

use crate::pricing::class::{ServiceTier, TokenClass};

/// What a key of a price says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PriceKey {
    pub(super) class: TokenClass,
    pub(super) tier_start: u64,
    pub(super) service_tier: ServiceTier,
}

/// Classes by the head of their keys; a longer head stands before one that it begins with.
const HEADS: &[(&str, TokenClass)] = &[
    ("input_cost_per_token", TokenClass::Input),
    ("output_cost_per_token", TokenClass::Output),
    ("cache_read_input_token_cost", TokenClass::CacheRead),
    (
        "cache_creation_input_token_cost_above_1hr",
        TokenClass::CacheWrite1h,
    ),
    ("cache_creation_input_token_cost", TokenClass::CacheWrite5m),
    ("input_cost_per_audio_token", TokenClass::InputAudio),
    (
        "cache_read_input_audio_token_cost",
        TokenClass::InputAudioCached,
    ),
    ("input_cost_per_image_token", TokenClass::InputImage),
    (
        "cache_read_input_image_token_cost",
        TokenClass::InputImageCached,
    ),
    ("input_cost_per_video_token", TokenClass::InputVideo),
    ("output_cost_per_reasoning_token", TokenClass::Reasoning),
    ("output_cost_per_audio_token", TokenClass::OutputAudio),
    ("output_cost_per_image_token", TokenClass::OutputImage),
];

/// Reads a key; `None` if it is not a price of tokens that has a form here.
pub(super) fn price_key(key: &str) -> Option<PriceKey> {
    let heads = HEADS.iter();
    let mut found = heads.filter_map(|(head, class)| Some((*class, key.strip_prefix(head)?)));
    let (class, rest) = found.next()?;
    let (rest, service_tier) = match rest {
        rest if rest.ends_with("_batches") => (rest.strip_suffix("_batches")?, ServiceTier::Batch),
        rest if rest.ends_with("_flex") => (rest.strip_suffix("_flex")?, ServiceTier::Flex),
        rest if rest.ends_with("_priority") => {
            (rest.strip_suffix("_priority")?, ServiceTier::Priority)
        }
        rest => (rest, ServiceTier::Standard),
    };
    let tier_start = match rest {
        "" => 0,
        above => {
            let thousands = above.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
            thousands.parse::<u64>().ok()?.checked_mul(1_000)?
        }
    };
    Some(PriceKey {
        class,
        tier_start,
        service_tier,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Option<(TokenClass, u64, ServiceTier)> {
        price_key(key).map(|key| (key.class, key.tier_start, key.service_tier))
    }

    #[test]
    fn a_key_names_a_class_a_size_and_a_tier() {
        use ServiceTier::{Batch, Flex, Standard};
        use TokenClass::{CacheRead, CacheWrite1h, CacheWrite5m, Input};
        let one_hour = "cache_creation_input_token_cost_above_1hr_above_200k_tokens";
        let long = "cache_read_input_token_cost_above_272k_tokens_flex";
        assert_eq!(read("input_cost_per_token"), Some((Input, 0, Standard)));
        assert_eq!(
            read("input_cost_per_token_batches"),
            Some((Input, 0, Batch))
        );
        assert_eq!(read(one_hour), Some((CacheWrite1h, 200_000, Standard)));
        assert_eq!(read(long), Some((CacheRead, 272_000, Flex)));
        let short = "cache_creation_input_token_cost";
        assert_eq!(read(short), Some((CacheWrite5m, 0, Standard)));
    }

    #[test]
    fn other_keys_are_not_guessed() {
        for key in [
            "cache_creation_input_token_cost_above_12hr",
            "input_cost_per_token_ultrafast",
            "input_cost_per_token_cache_hit",
            "output_cost_per_image",
            "mode",
        ] {
            assert_eq!(price_key(key), None, "{key}");
        }
    }
}
