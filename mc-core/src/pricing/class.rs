//! What is priced: the disjoint classes of tokens, the counted units, the service tiers.
//!
//! The first table ties each class to its key in the price table and its field of `Usage`.
//! What is *not* here: prices (`model`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// Whether a token is read or written by the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Tokens that the model reads.
    Input,
    /// Tokens that the model writes.
    Output,
}

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident $key:literal $field:ident $side:ident;)*) => {
        /// One class of tokens; every token of a call is in exactly one.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum TokenClass {
            $($(#[$doc])* #[serde(rename = $key)] $class,)*
        }

        impl TokenClass {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$class,)*];

            /// The class's key in the price table.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$class => $key,)*
                }
            }

            /// Whether these tokens are read or written.
            pub const fn side(self) -> Side {
                match self {
                    $(Self::$class => Side::$side,)*
                }
            }

            /// How many tokens of this class a call used.
            pub const fn count(self, usage: &Usage) -> u64 {
                match self {
                    $(Self::$class => usage.$field,)*
                }
            }
        }
    };
}

classes! {
    /// Input read fresh.
    Input "input" input_uncached Input;
    /// Input read from the provider's cache.
    CacheRead "cache_read" input_cache_read Input;
    /// Input written to a cache of five minutes (of any length, where a provider has one only).
    CacheWrite5m "cache_write_5m" input_cache_write_5m Input;
    /// Input written to a cache of one hour.
    CacheWrite1h "cache_write_1h" input_cache_write_1h Input;
    /// Audio input.
    InputAudio "input_audio" input_audio Input;
    /// Audio input from the cache.
    InputAudioCached "input_audio_cached" input_audio_cached Input;
    /// Image input.
    InputImage "input_image" input_image Input;
    /// Image input from the cache.
    InputImageCached "input_image_cached" input_image_cached Input;
    /// Video input.
    InputVideo "input_video" input_video Input;
    /// Video input from the cache.
    InputVideoCached "input_video_cached" input_video_cached Input;
    /// Text output.
    Output "output" output_text Output;
    /// Reasoning, visible or not.
    Reasoning "reasoning" output_reasoning Output;
    /// Audio output.
    OutputAudio "output_audio" output_audio Output;
    /// Image output.
    OutputImage "output_image" output_image Output;
}

impl TokenClass {
    /// The classes that a call with text alone can use, caches included.
    pub const TEXT: &'static [Self] = &[
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Output,
        Self::Reasoning,
    ];

    /// The classes that a call with text alone can use if it writes no cache.
    pub const TEXT_UNCACHED: &'static [Self] =
        &[Self::Input, Self::CacheRead, Self::Output, Self::Reasoning];
}

impl fmt::Display for TokenClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

macro_rules! units {
    ($($(#[$doc:meta])* $unit:ident $key:literal $field:ident;)*) => {
        /// Something that is priced by the piece.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Unit {
            $($(#[$doc])* #[serde(rename = $key)] $unit,)*
        }

        impl Unit {
            /// Every unit.
            pub const ALL: &'static [Self] = &[$(Self::$unit,)*];

            /// The unit's name in the price table.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$unit => $key,)*
                }
            }

            /// How many of this unit a call used.
            pub const fn count(self, usage: &Usage) -> u64 {
                match self {
                    $(Self::$unit => usage.$field,)*
                }
            }
        }
    };
}

units! {
    /// A request to the provider.
    Request "request" requests;
    /// A search by the provider's own tool.
    WebSearch "web_search" web_searches;
    /// Another call of the provider's own tools.
    ToolCall "tool_call" tool_calls;
    /// A second of media.
    Second "second" seconds;
    /// An image made.
    Image "image" images;
    /// A page read.
    Page "page" pages;
}

impl Unit {
    /// Whether a use without a price is an error. The other units are counted beside the tokens
    /// that pay for them, and cost something only where the table says so.
    pub const fn needs_price(self) -> bool {
        match self {
            Self::WebSearch | Self::ToolCall => true,
            Self::Request | Self::Second | Self::Image | Self::Page => false,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// How fast, and at which price, the provider serves a call.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// The list price.
    #[default]
    Standard,
    /// Answered within hours.
    Batch,
    /// Cheaper and slower.
    Flex,
    /// Dearer and faster.
    Priority,
}

impl ServiceTier {
    /// Every tier.
    pub const ALL: &'static [Self] = &[Self::Standard, Self::Batch, Self::Flex, Self::Priority];

    /// The tier's name in the price table.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    pub(super) fn is_standard(&self) -> bool {
        *self == Self::Standard
    }
}

impl fmt::Display for ServiceTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_of_a_usage_is_in_exactly_one_class() {
        let usage = Usage {
            input_uncached: 1,
            input_cache_read: 2,
            input_cache_write_5m: 4,
            input_cache_write_1h: 8,
            input_audio: 16,
            input_audio_cached: 32,
            input_image: 64,
            input_image_cached: 128,
            input_video: 256,
            input_video_cached: 512,
            output_text: 1024,
            output_reasoning: 2048,
            output_audio: 4096,
            output_image: 8192,
            ..Usage::default()
        };
        let sum = |side| -> u64 {
            let of_side = TokenClass::ALL.iter().filter(|class| class.side() == side);
            of_side.map(|class| class.count(&usage)).sum()
        };
        assert_eq!(sum(Side::Input), usage.input_tokens());
        assert_eq!(sum(Side::Output), usage.output_tokens());
    }

    #[test]
    fn keys_are_the_serialized_names() {
        for class in TokenClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.key());
        }
        for unit in Unit::ALL {
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.key());
        }
        for tier in ServiceTier::ALL {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.key());
        }
    }
}
