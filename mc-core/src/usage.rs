//! What a model call used, in disjoint classes, and the sums that budgets count.
//!
//! Adapters turn each provider's own shape into these classes; every token is in exactly one.
//! What is *not* here: what it costs (`pricing`). Read `error` next.

use serde::{Deserialize, Serialize};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

macro_rules! usage {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// Tokens and counters of one model call; classes are disjoint.
        ///
        /// As JSON, zero fields are left out: `{"input_uncached":12,"output_text":40,"requests":1}`.
        ///
        /// # Units
        /// Tokens or counts, `u64`; `seconds` is whole seconds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Usage {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "is_zero")] pub $field: u64,)*
        }

        impl Usage {
            /// The field by field sum, held at the end of the range.
            #[must_use]
            pub const fn saturating_add(&self, other: &Self) -> Self {
                Self { $($field: self.$field.saturating_add(other.$field),)* }
            }
        }
    };
}

usage! {
    /// Input tokens read fresh.
    input_uncached,
    /// Input tokens read from the provider's cache.
    input_cache_read,
    /// Input tokens written to a five-minute cache.
    input_cache_write_5m,
    /// Input tokens written to a one-hour cache.
    input_cache_write_1h,
    /// Input tokens of audio.
    input_audio,
    /// Input tokens of audio, from the cache.
    input_audio_cached,
    /// Input tokens of images.
    input_image,
    /// Input tokens of images, from the cache.
    input_image_cached,
    /// Input tokens of video.
    input_video,
    /// Input tokens of video, from the cache.
    input_video_cached,
    /// Output tokens of text.
    output_text,
    /// Output tokens of reasoning.
    output_reasoning,
    /// Output tokens of audio.
    output_audio,
    /// Output tokens of images.
    output_image,
    /// Requests made to the provider.
    requests,
    /// Web searches by the provider's own tool.
    web_searches,
    /// Other calls of the provider's own tools.
    tool_calls,
    /// Seconds of media.
    seconds,
    /// Images made.
    images,
    /// Pages read.
    pages,
}

/// What one entry of a report used, where a report has several.
///
/// As JSON: `{"usage":{"input_uncached":80,"requests":2},"largest_input":40}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageEntry {
    /// What it used.
    pub usage: Usage,
    /// Where it is a sum of several calls: the most input tokens that one of them can have had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_input: Option<u64>,
}

impl UsageEntry {
    /// The usage of one call.
    pub const fn of(usage: Usage) -> Self {
        Self {
            usage,
            largest_input: None,
        }
    }
}

impl Usage {
    /// How many calls it counts as: the requests that were made, and at least one.
    pub fn calls(&self) -> u64 {
        self.requests.max(1)
    }

    /// Usage of plain text: `input` tokens read fresh and `output` tokens written, in one request.
    pub fn text(input: u64, output: u64) -> Self {
        Self {
            input_uncached: input,
            output_text: output,
            requests: 1,
            ..Self::default()
        }
    }

    /// All input tokens, cached ones included; held at the end of the range.
    pub fn input_tokens(&self) -> u64 {
        [
            self.input_uncached,
            self.input_cache_read,
            self.input_cache_write_5m,
            self.input_cache_write_1h,
            self.input_audio,
            self.input_audio_cached,
            self.input_image,
            self.input_image_cached,
            self.input_video,
            self.input_video_cached,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// All output tokens, reasoning included; held at the end of the range.
    pub fn output_tokens(&self) -> u64 {
        [
            self.output_text,
            self.output_reasoning,
            self.output_audio,
            self.output_image,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_take_every_class_once() {
        let usage = Usage {
            input_uncached: 1,
            input_cache_read: 2,
            output_text: 4,
            output_reasoning: 8,
            ..Usage::default()
        };
        assert_eq!((usage.input_tokens(), usage.output_tokens()), (3, 12));
    }

    #[test]
    fn zero_fields_are_not_written_and_unknown_ones_are_refused() {
        let json = serde_json::to_string(&Usage::text(3, 0)).unwrap();
        assert_eq!(json, r#"{"input_uncached":3,"requests":1}"#);
        assert!(serde_json::from_str::<Usage>(r#"{"prompt_tokens":3}"#).is_err());
    }
}
