//! An error on its way to another process: kind, message, detail and context keep their meaning, the
//! source keeps its text.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Detail, Error, ErrorKind, Word};

/// The most words of another process that are kept.
const MOST_WORDS: usize = 512;
/// The longest of them.
const LONGEST_WORD: usize = 128;

/// What a word becomes that is not kept.
const OTHER: Word = "other";

/// Words of other processes that were met. They are names in the code of the same program there, so
/// there are few; what a peer makes up beyond the bound is told as `other`.
static WORDS: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());

fn known(text: &str) -> Word {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = words.get(text) {
        return word;
    }
    if words.len() >= MOST_WORDS || text.len() > LONGEST_WORD {
        return OTHER;
    }
    let word: Word = Box::leak(text.into());
    words.insert(word);
    word
}

/// Reads a word of the program's own.
pub(super) fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    String::deserialize(from).map(|text| known(&text))
}

/// What caused an error in another process, in its words.
#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

#[derive(Serialize, Deserialize)]
struct Form {
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    context: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let context = self.context.iter();
        Form {
            code: self.code().to_owned(),
            message: self.message.clone(),
            detail: self.detail.as_deref().cloned(),
            context: context
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            source: self.source.as_ref().map(ToString::to_string),
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(from)?;
        let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == form.code);
        let mut error = Self::new(kind.copied().unwrap_or(ErrorKind::Internal), form.message);
        if let Some(detail) = form.detail {
            error = error.with_detail(detail);
        }
        for (name, value) in form.context {
            error = error.with_context(known(&name), value);
        }
        Ok(match form.source {
            Some(text) => error.with_source(Told(text)),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_meaning_on_the_way() {
        let error = Error::not_found("run", "7")
            .with_context("path", "a.redb")
            .with_source(std::io::Error::other("gone"));
        let text = serde_json::to_string(&error).unwrap();
        let back: Error = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{error:?}"), format!("{back:?}"));
        assert_eq!(back.detail(), error.detail());
    }

    #[test]
    fn a_kind_of_a_newer_version_is_a_defect_and_not_a_failure_to_read() {
        let text = r#"{"code":"novel","message":"m"}"#;
        let error: Error = serde_json::from_str(text).unwrap();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn words_beyond_the_bound_are_told_as_other() {
        assert_eq!(known(&"x".repeat(LONGEST_WORD + 1)), OTHER);
        assert_eq!(known("run"), "run");
    }
}
