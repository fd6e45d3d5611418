//! Built-in detectors of keys and secrets, by the forms that their issuers give them.
//!
//! They find what has a form of its own; a password in plain words has none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;

/// A form of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretKind {
    /// A key of a model provider: `sk-..`, `sk-ant-..`, `AIza..`, `gsk_..`, `xai-..`, `hf_..`.
    ProviderKey,
    /// An access key id of AWS, or a secret key that is named as one.
    Aws,
    /// A token of GitHub.
    Github,
    /// A token of Slack.
    Slack,
    /// The block of a private key.
    PrivateKey,
    /// What follows `Bearer` in a header.
    BearerToken,
    /// A JSON web token.
    Jwt,
    /// An e-mail address; it is looked for only where it is named.
    Email,
}

/// A text that names no form of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a kind of secret is one of provider_key, aws, github, slack, private_key, bearer_token, jwt, email"
)]
pub struct SecretKindFault;

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::PrivateKey,
        Self::Jwt,
        Self::BearerToken,
        Self::ProviderKey,
        Self::Aws,
        Self::Github,
        Self::Slack,
        Self::Email,
    ];

    /// The text that stands in the policy file and in what replaces a secret.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderKey => "provider_key",
            Self::Aws => "aws",
            Self::Github => "github",
            Self::Slack => "slack",
            Self::PrivateKey => "private_key",
            Self::BearerToken => "bearer_token",
            Self::Jwt => "jwt",
            Self::Email => "email",
        }
    }

    const fn pattern(self) -> &'static str {
        match self {
            Self::ProviderKey => {
                r"\b(?:sk-(?:ant-|proj-|or-|live-)?[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,})"
            }
            Self::Aws => {
                r#"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b|(?i:aws_secret_access_key)["']?\s*[:=]\s*["']?[A-Za-z0-9/+=]{40})"#
            }
            Self::Github => r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
            Self::Slack => r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
            Self::PrivateKey => {
                r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\z)"
            }
            Self::BearerToken => r"(?i:\bbearer\s+)[A-Za-z0-9._~+/=-]{16,}",
            Self::Jwt => r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
            Self::Email => {
                r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+\b"
            }
        }
    }

    fn regex(self) -> Option<&'static Regex> {
        static COMPILED: LazyLock<Vec<(SecretKind, Option<Regex>)>> = LazyLock::new(|| {
            let compile = |kind: SecretKind| (kind, Regex::new(kind.pattern()).ok());
            SecretKind::ALL.into_iter().map(compile).collect()
        });
        let found = COMPILED.iter().find(|(kind, _)| *kind == self)?;
        found.1.as_ref()
    }

    /// Whether a text holds a secret of this form. A detector that is not there finds everything, so
    /// that a rule that needs it denies.
    pub fn is_in(self, text: &str) -> bool {
        self.regex().is_none_or(|regex| regex.is_match(text))
    }

    /// The text with `[redacted:KIND]` where secrets of this form stood.
    pub fn redact(self, text: &str) -> Cow<'_, str> {
        let instead = format!("[redacted:{self}]");
        match self.regex() {
            Some(regex) => regex.replace_all(text, instead.as_str()),
            None => Cow::Owned(instead),
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SecretKind {
    type Err = SecretKindFault;

    fn from_str(text: &str) -> Result<Self, SecretKindFault> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text)
            .ok_or(SecretKindFault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples are put together here, so that no scanner takes this file for a leak.
    fn examples() -> Vec<(SecretKind, String)> {
        let many = |one: &str, times: usize| one.repeat(times);
        vec![
            (
                SecretKind::ProviderKey,
                format!("sk-ant-{}", many("aB3", 10)),
            ),
            (SecretKind::ProviderKey, format!("sk-{}", many("aB3", 10))),
            (SecretKind::Aws, format!("AKIA{}", many("AB12", 4))),
            (SecretKind::Github, format!("ghp_{}", many("a1B2", 9))),
            (SecretKind::Slack, format!("xoxb-{}", many("12", 8))),
            (
                SecretKind::BearerToken,
                format!("Bearer {}", many("ab12", 5)),
            ),
            (SecretKind::Email, "ann@example.org".to_owned()),
            (
                SecretKind::PrivateKey,
                format!(
                    "-----BEGIN RSA {0}-----\nMII\n-----END RSA {0}-----",
                    "PRIVATE KEY"
                ),
            ),
        ]
    }

    #[test]
    fn every_detector_compiles_and_has_one_spelling() {
        for kind in SecretKind::ALL {
            assert!(kind.regex().is_some(), "{kind}");
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    #[test]
    fn secrets_are_found_and_replaced_and_what_stands_around_them_stays() {
        for (kind, secret) in examples() {
            let text = format!("before {secret} after");
            assert!(kind.is_in(&text), "{kind}");
            let clean = kind.redact(&text);
            assert_eq!(clean, format!("before [redacted:{kind}] after"));
            assert!(!kind.is_in("nothing to see at 12:30, sk-it"), "{kind}");
        }
    }
}
