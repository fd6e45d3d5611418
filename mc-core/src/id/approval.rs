//! The names of what is asked of people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RunId;

/// Names something that was asked of a person: `RUN/N`, the N-th request of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalId {
    /// The run.
    pub run_id: RunId,
    /// The number of the request in it, from 1.
    pub number: u32,
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run_id, self.number)
    }
}

impl From<ApprovalId> for String {
    fn from(id: ApprovalId) -> Self {
        id.to_string()
    }
}

impl FromStr for ApprovalId {
    type Err = ApprovalIdFault;

    fn from_str(text: &str) -> Result<Self, ApprovalIdFault> {
        let (run, number) = text.split_once('/').ok_or(ApprovalIdFault)?;
        let id = Self {
            run_id: run.parse().map_err(|_| ApprovalIdFault)?,
            number: number.parse().map_err(|_| ApprovalIdFault)?,
        };
        let exact = id.number > 0 && id.to_string() == text;
        exact.then_some(id).ok_or(ApprovalIdFault)
    }
}

impl TryFrom<String> for ApprovalId {
    type Error = ApprovalIdFault;

    fn try_from(text: String) -> Result<Self, ApprovalIdFault> {
        text.parse()
    }
}

/// A text that is not the id of a request for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an approval is named by its run's id and its number: RUN/N")]
pub struct ApprovalIdFault;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_has_one_spelling() {
        let text = "01a1fd00-0000-7000-8000-000000000001/12";
        assert_eq!(text.parse::<ApprovalId>().unwrap().to_string(), text);
        for bad in ["/1", "01a1fd00-0000-7000-8000-000000000001", "x/1"] {
            assert!(bad.parse::<ApprovalId>().is_err(), "{bad}");
        }
        for number in ["0", "01", "+1", ""] {
            let bad = format!("01a1fd00-0000-7000-8000-000000000001/{number}");
            assert!(bad.parse::<ApprovalId>().is_err(), "{bad}");
        }
    }
}
