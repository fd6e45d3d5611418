//! How a run is started: plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::run::{RunBudget, RunPolicy};
use crate::id::{AgentVersion, LabelKey, Opaque, OperatorName, TagName};
use crate::workflow::limits::{MAX_LABEL_VALUE_BYTES, MAX_LABELS, MAX_TAGS};

/// How a run is started.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Who starts it.
    pub operator: String,
    /// The version of the workflow; none for the active one.
    pub version: Option<u32>,
    /// The run's own budget; none for the definition's.
    pub budget: Option<RunBudget>,
    /// A key under which a second start finds the first run.
    pub idempotency_key: Option<String>,
    /// The caller's own reference: at most 128 bytes of opaque text.
    pub correlation_id: Option<String>,
    /// Searchable labels: at most 32, each value at most 256 bytes.
    pub labels: BTreeMap<String, String>,
    /// Tags, at most 8: the run's money counts in the account `tag:NAME` of each, whether that has a
    /// limit or not.
    pub tags: Vec<String>,
    /// How it is to be treated; none for the engine's setting.
    pub policy: Option<RunPolicy>,
}

/// Start options that were checked.
#[derive(Clone, Debug)]
pub(super) struct CheckedOptions {
    pub(super) operator: OperatorName,
    pub(super) idempotency_key: Option<Opaque>,
    pub(super) correlation_id: Option<Opaque>,
    pub(super) labels: BTreeMap<LabelKey, Arc<str>>,
    pub(super) tags: BTreeSet<TagName>,
}

impl StartOptions {
    /// Options with an operator and nothing else.
    pub fn by(operator: impl Into<String>) -> Self {
        Self {
            operator: operator.into(),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<CheckedOptions> {
        let opaque = |path: &'static str, text: &Option<String>| {
            text.as_deref()
                .map(Opaque::new)
                .transpose()
                .map_err(|f| Error::invalid(path, f))
        };
        Ok(CheckedOptions {
            operator: operator(&self.operator)?,
            idempotency_key: opaque("idempotency_key", &self.idempotency_key)?,
            correlation_id: opaque("correlation_id", &self.correlation_id)?,
            labels: labels(&self.labels)?,
            tags: tags(&self.tags)?,
        })
    }
}

pub(super) fn operator(name: &str) -> Result<OperatorName> {
    OperatorName::new(name).map_err(|fault| Error::invalid("operator", fault))
}

pub(super) fn agent_version(text: &str) -> Result<AgentVersion> {
    AgentVersion::new(text).map_err(|fault| Error::invalid("agent_version", fault))
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> Result<BTreeMap<LabelKey, Arc<str>>> {
    if labels.len() > MAX_LABELS {
        return Err(limit("labels", MAX_LABELS));
    }
    let mut checked = BTreeMap::new();
    for (key, value) in labels {
        let at = || format!("labels.{key}");
        let name = LabelKey::new(key).map_err(|fault| Error::invalid(at(), fault))?;
        if value.len() > MAX_LABEL_VALUE_BYTES {
            return Err(
                limit("bytes in a label's value", MAX_LABEL_VALUE_BYTES).with_context("label", key)
            );
        }
        checked.insert(name, Arc::from(value.as_str()));
    }
    Ok(checked)
}

pub(super) fn tags(tags: &[String]) -> Result<BTreeSet<TagName>> {
    if tags.len() > MAX_TAGS {
        return Err(limit("tags", MAX_TAGS));
    }
    let tag = |(at, text): (usize, &String)| {
        TagName::new(text).map_err(|fault| Error::invalid(format!("tags[{at}]"), fault))
    };
    tags.iter().enumerate().map(tag).collect()
}

fn limit(name: &'static str, max: usize) -> Error {
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    Error::new(ErrorKind::InvalidInput, format!("more than {max} {name}"))
        .with_detail(Detail::Limit { name, max })
}
