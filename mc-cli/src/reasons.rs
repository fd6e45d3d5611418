//! Why something failed or was refused: the messages and accounts that the log keeps beside codes.

use std::collections::BTreeMap;
use std::sync::Arc;

use mc_core::error::{ErrorKind, FailingAccount, Result};
use mc_core::event::{BlockReason, EventKind, PartContent, PartRef, Record};
use mc_core::id::{ModelId, StepKey};
use mc_core::ports::EventLog;
use serde::Serialize;

/// What was refused by a budget, and by which accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// The step that asked.
    pub(crate) step: StepKey,
    /// The refusal's code.
    pub(crate) code: String,
    /// The model of the call, where one was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelId>,
    /// Every account that refused, as it stood then.
    pub(crate) accounts: Vec<FailingAccount>,
}

/// The reasons of a run, as far as its events went by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons {
    messages: BTreeMap<StepKey, Arc<str>>,
    unpriced: BTreeMap<StepKey, ModelId>,
    refused: Option<Refused>,
}

impl Reasons {
    /// What the last failure of a step said; none once it completed.
    pub(crate) fn message(&self, step: &StepKey) -> Option<&str> {
        self.messages.get(step).map(|text| &**text)
    }

    /// What the last item of a `for_each` said that failed: it speaks for its step.
    pub(crate) fn message_of_an_item(&self, step: &StepKey) -> Option<&str> {
        let mut items = self.messages.iter().rev();
        let item = items.find(|(key, _)| key.index().is_some() && key.name() == step.name());
        item.map(|(_, text)| &**text)
    }

    /// The model whose call was denied because nobody knows its price.
    pub(crate) fn unpriced(&self, step: &StepKey) -> Option<&ModelId> {
        self.unpriced.get(step)
    }

    /// Every step that asked for a model without a price, with that model.
    pub(crate) fn all_unpriced(&self) -> impl Iterator<Item = (&StepKey, &ModelId)> {
        self.unpriced.iter()
    }

    /// What a budget refused last.
    pub(crate) const fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Takes the next event, with what it says in its content.
    pub(crate) fn take(&mut self, kind: &EventKind, message: Option<Arc<str>>) {
        let step = kind.step().cloned();
        if let (Some(message), Some(step)) = (message, &step) {
            self.messages.insert(step.clone(), message);
        }
        if let EventKind::StepCompleted(facts) = kind {
            self.messages.remove(&facts.step);
        } else if let EventKind::ModelCallDenied(facts) = kind {
            if facts.code == "unknown_model" {
                self.unpriced
                    .insert(facts.step.clone(), facts.model.clone());
            }
            let model = Some(facts.model.clone());
            self.refuse(&facts.step, (&facts.code, model), &facts.failing);
        } else if let EventKind::StepBlocked(facts) = kind {
            if facts.reason == BlockReason::Budget {
                let asked = self.refused.take().filter(|last| last.step == facts.step);
                let model = asked.and_then(|last| last.model);
                self.refuse(&facts.step, (&facts.code, model), &facts.failing);
            }
        } else if matches!(kind, EventKind::StepUnblocked(_) | EventKind::RunResumed(_)) {
            self.refused = None;
        }
    }

    fn refuse(
        &mut self,
        step: &StepKey,
        (code, model): (&str, Option<ModelId>),
        failing: &[FailingAccount],
    ) {
        if failing.is_empty() {
            return;
        }
        self.refused = Some(Refused {
            step: step.clone(),
            code: code.to_owned(),
            model,
            accounts: failing.to_vec(),
        });
    }
}

/// The message of an event that tells of a failure of a step, whole; none of any other.
///
/// # Errors
/// `Unavailable`. A message that was erased or is damaged is none: `verify` tells of that.
pub(crate) async fn message(log: &dyn EventLog, record: &Record) -> Result<Option<Arc<str>>> {
    if ["attempt.failed", "step.failed"].contains(&&*record.kind) {
        first_part(log, record).await
    } else {
        Ok(None)
    }
}

/// The first part of an event as text, whole; none where there is none, or nothing in it.
///
/// # Errors
/// As [`message`].
pub(crate) async fn first_part(log: &dyn EventLog, record: &Record) -> Result<Option<Arc<str>>> {
    let Some(part) = record.parts.first() else {
        return Ok(None);
    };
    let bytes = match &part.content {
        PartContent::Inline(bytes) => Arc::clone(bytes),
        PartContent::Erased(_) => return Ok(None),
        PartContent::Blob(_) => {
            let place = PartRef {
                seq: record.seq,
                part: 0,
            };
            match log.read_part(place).await {
                Ok(bytes) => bytes,
                Err(e) if [ErrorKind::NotFound, ErrorKind::Corrupt].contains(&e.kind()) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok((!text.is_empty()).then(|| Arc::from(&*text)))
}
