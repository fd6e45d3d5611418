//! Labels: pairs of text that a run carries and is found by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::limits::{MAX_LABEL_VALUE_BYTES, MAX_LABELS};
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::id::LabelKey;

/// At most 32 pairs; a key is a name, a value has at most 256 bytes and no control characters.
///
/// As JSON: `{"team":"search","ticket":"4711"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<LabelKey, String>);

impl Labels {
    /// Checks and wraps pairs of text.
    ///
    /// # Errors
    /// `InvalidInput` that names the limit or the key.
    pub fn new<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let mut labels = BTreeMap::new();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.into());
            let path = format!("labels.{key}");
            let name = LabelKey::new(key).map_err(|fault| Error::invalid(&*path, fault))?;
            if value.len() > MAX_LABEL_VALUE_BYTES {
                return Err(limit(
                    format!("{path}: a label's value has at most {MAX_LABEL_VALUE_BYTES} bytes"),
                    ("label value bytes", MAX_LABEL_VALUE_BYTES),
                ));
            }
            if value.chars().any(char::is_control) {
                return Err(Error::invalid(
                    path,
                    "control characters are not allowed here",
                ));
            }
            if labels.insert(name, value).is_some() {
                return Err(Error::invalid(path, "this label is given twice"));
            }
            if labels.len() > MAX_LABELS {
                let message = format!("a run has at most {MAX_LABELS} labels");
                return Err(limit(message, ("labels", MAX_LABELS)));
            }
        }
        Ok(Self(labels))
    }

    /// The pairs, in order of their keys.
    pub const fn pairs(&self) -> &BTreeMap<LabelKey, String> {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn limit(message: String, (name, max): (&'static str, usize)) -> Error {
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    Error::new(ErrorKind::InvalidInput, message).with_detail(Detail::Limit { name, max })
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = Error;

    fn try_from(pairs: BTreeMap<String, String>) -> Result<Self> {
        Self::new(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_at_most_32() {
        let pairs = |n: usize| (0..n).map(|i| (format!("k{i}"), "v"));
        assert_eq!(Labels::new(pairs(32)).unwrap().pairs().len(), 32);
        let error = Labels::new(pairs(33)).unwrap_err();
        assert_eq!(
            error.detail(),
            Some(&Detail::Limit {
                name: "labels",
                max: 32
            })
        );
    }

    #[test]
    fn a_labels_key_is_a_name_and_its_value_short() {
        assert!(Labels::new([("team", "x".repeat(256))]).is_ok());
        let error = Labels::new([("team", "x".repeat(257))]).unwrap_err();
        let detail = Detail::Limit {
            name: "label value bytes",
            max: 256,
        };
        assert_eq!(error.detail(), Some(&detail));
        assert!(Labels::new([("Team", "x")]).is_err());
        assert!(Labels::new([("team", "a\nb")]).is_err());
        assert!(Labels::new([("team", "a"), ("team", "b")]).is_err());
    }

    #[test]
    fn labels_read_as_json_what_they_write() {
        let labels = Labels::new([("team", "search")]).unwrap();
        let json = serde_json::to_string(&labels).unwrap();
        assert_eq!(json, r#"{"team":"search"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
        assert!(serde_json::from_str::<Labels>(r#"{"A":"x"}"#).is_err());
    }
}
