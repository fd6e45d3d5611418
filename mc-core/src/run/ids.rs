//! The names of holds and calls inside a run.

use std::fmt;
use std::str::FromStr;

use crate::id::wire::as_text;
use crate::id::{NameFault, StepKey, StepName};

/// Names a hold: a step's attempt, or one model call of it that has a hold of its own.
///
/// As text `draft#1`, or `draft#1/3` for the call with ordinal 3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldKey {
    /// The step.
    pub step: StepKey,
    /// The attempt, from 1; 0 where none has gone out.
    pub attempt: u32,
    /// The call, if the hold is its own; the number of the planned hold.
    pub ordinal: Option<u32>,
}

impl HoldKey {
    /// The hold of a step's attempt: the escrow of its calls.
    pub const fn escrow(step: StepKey, attempt: u32) -> Self {
        Self {
            step,
            attempt,
            ordinal: None,
        }
    }

    /// What is held for a step before any attempt of it goes out.
    pub fn planned(step: &StepName, ordinal: u32) -> Self {
        Self::call(StepKey::of(step), 0, ordinal)
    }

    /// Whether it is held for what has not gone out.
    pub const fn is_planned(&self) -> bool {
        self.attempt == 0
    }

    /// The hold of one call.
    pub const fn call(step: StepKey, attempt: u32, ordinal: u32) -> Self {
        Self {
            step,
            attempt,
            ordinal: Some(ordinal),
        }
    }
}

impl fmt::Display for HoldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.step, self.attempt)?;
        match self.ordinal {
            Some(ordinal) => write!(f, "/{ordinal}"),
            None => Ok(()),
        }
    }
}

as_text!(HoldKey, |key, serializer| serializer.collect_str(key));

impl FromStr for HoldKey {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let (step, rest) = text.split_once('#').ok_or(NameFault::NotAStepName)?;
        let (attempt, ordinal) = match rest.split_once('/') {
            Some((attempt, ordinal)) => (attempt, Some(ordinal)),
            None => (rest, None),
        };
        let number = |text: &str| text.parse().map_err(|_| NameFault::NotAStepName);
        let ordinal = ordinal.map(number).transpose()?;
        let key = Self {
            step: step.parse()?,
            attempt: number(attempt)?,
            ordinal,
        };
        if key.to_string() == text {
            Ok(key)
        } else {
            Err(NameFault::NotAStepName)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_key_has_one_spelling() {
        for text in ["draft#1", "angle[3]#2/14"] {
            assert_eq!(text.parse::<HoldKey>().unwrap().to_string(), text);
        }
        for bad in ["draft", "draft#", "draft#01", "draft#1/", "#1", "draft#1/x"] {
            assert!(bad.parse::<HoldKey>().is_err(), "{bad}");
        }
    }
}
