//! Lists of names that a rule allows or denies.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::id::ModelId;

/// Names that are allowed, and names that are not. A name on both lists is denied; where a list of
/// allowed names is given, whatever is not on it is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<T: Ord> {
    /// The only ones that are allowed; none for all.
    pub allow: Option<BTreeSet<T>>,
    /// Those that are not.
    pub deny: BTreeSet<T>,
}

impl<T: Ord> Names<T> {
    /// Whether one of these names is denied, with `matches` telling which entries mean it.
    pub fn denies(&self, matches: impl Fn(&T) -> bool) -> bool {
        let allowed = self.allow.as_ref();
        self.deny.iter().any(&matches) || allowed.is_some_and(|list| !list.iter().any(&matches))
    }
}

/// A model, or all of a provider's: `openai/gpt-5.4`, `openai/*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelPattern {
    /// This model and no other.
    Exactly(ModelId),
    /// Every model of a provider.
    OfProvider(String),
}

impl ModelPattern {
    /// Whether it means a model.
    pub fn matches(&self, model: &ModelId) -> bool {
        match self {
            Self::Exactly(one) => one == model,
            Self::OfProvider(provider) => provider == model.provider(),
        }
    }
}

impl FromStr for ModelPattern {
    type Err = crate::id::NameFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(provider) = text.strip_suffix("/*") else {
            return text.parse().map(Self::Exactly);
        };
        // A provider is what can stand before the slash of a model.
        let probe: ModelId = format!("{provider}/x").parse()?;
        if probe.provider() == provider {
            Ok(Self::OfProvider(provider.to_owned()))
        } else {
            text.parse().map(Self::Exactly)
        }
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(model) => write!(f, "{model}"),
            Self::OfProvider(provider) => write!(f, "{provider}/*"),
        }
    }
}

impl fmt::Debug for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
