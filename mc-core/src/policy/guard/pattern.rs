//! Patterns: regular expressions whose search takes time linear in the text, of bounded size.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;
/// The most memory that a compiled pattern may take, in bytes.
const MAX_COMPILED_BYTES: usize = 256 * 1_024;

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// It is too long.
    #[error("a pattern has at most {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// It does not parse, or it would take too much memory.
    #[error("this is no pattern: {0}")]
    Malformed(String),
}

/// A regular expression.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a text holds it.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl FromStr for Pattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Self, PatternFault> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternFault::TooLong);
        }
        let told = |fault: regex::Error| {
            // The crate draws the pattern over several lines; the last one says what is wrong.
            let text = fault.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            PatternFault::Malformed(last.trim_start_matches("error: ").to_owned())
        };
        RegexBuilder::new(text)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map(Self)
            .map_err(told)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
