//! Redaction: what is taken out of content before it is hashed and stored.
//!
//! Digests in the facts, those that bind approvals and the journal among them, stay over the exact
//! bytes. What is *not* here: which part of which event is content of which sort
//! (`sequencer::redaction`).

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use serde_json::Value;

use super::secrets::SecretKind;

/// Port: takes out of a text what must not be logged.
///
/// It has to give the same for the same text, and it is called while the engine decides: it must be
/// quick and wait for nothing. One that panics leaves the whole part out.
pub trait Redactor: Debug + Send + Sync {
    /// The text as it may be logged.
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str>;
}

/// Which content is redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedactionScope {
    /// What the engine does not hand on: prompts, answers of models, reasoning, parameters of tools
    /// as shown, messages of errors, decisions and side effects. An answer that a later attempt
    /// gets from the journal is the redacted one.
    #[default]
    Shown,
    /// Also what the engine hands on: inputs, outputs, results of tools, values computed once,
    /// checkpoints and signals. Steps downstream, and attempts after this one, get the redacted
    /// values.
    Everything,
}

/// A redactor and what it is applied to.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// The redactor.
    pub redactor: Arc<dyn Redactor>,
    /// What it is applied to.
    pub scope: RedactionScope,
}

/// Takes out keys and secrets by their forms.
#[derive(Clone, Debug)]
pub struct SecretsRedactor(Vec<SecretKind>);

impl dyn Redactor {
    /// Takes out keys and secrets: of providers, AWS, GitHub and Slack, private keys, bearer and web
    /// tokens; not e-mail addresses.
    pub fn secrets() -> SecretsRedactor {
        let all = SecretKind::ALL.into_iter();
        SecretsRedactor(all.filter(|kind| *kind != SecretKind::Email).collect())
    }
}

impl SecretsRedactor {
    /// Takes out these.
    pub fn of(kinds: impl IntoIterator<Item = SecretKind>) -> Self {
        Self(kinds.into_iter().collect())
    }

    /// Takes out e-mail addresses too.
    #[must_use]
    pub fn and_email(mut self) -> Self {
        self.0.push(SecretKind::Email);
        self
    }
}

impl Redactor for SecretsRedactor {
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for kind in &self.0 {
            if let Cow::Owned(next) = kind.redact(&clean) {
                clean = Cow::Owned(next);
            }
        }
        clean
    }
}

/// Applies a redactor to every text of a value; the names of fields too.
pub(crate) fn redact_value(redactor: &dyn Redactor, value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => Value::String(redactor.redact(text).into_owned()),
        Value::Array(items) => items
            .iter()
            .map(|one| redact_value(redactor, one))
            .collect(),
        Value::Object(fields) => {
            let field = |(name, one): (&String, &Value)| {
                (
                    redactor.redact(name).into_owned(),
                    redact_value(redactor, one),
                )
            };
            Value::Object(fields.iter().map(field).collect())
        }
    }
}
