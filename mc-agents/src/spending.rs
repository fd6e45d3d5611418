//! Money of agents that call models by themselves: held before they start, settled by their report.
//!
//! | what comes back | what becomes of the hold |
//! |---|---|
//! | a report | settled with it, in full; what it does not name is released |
//! | no report | in doubt |
//! | nothing was started | released |
//!
//! What a report names beyond what was held is recorded as a call of its own, held or not. The first
//! hold keeps the answer in the journal: an attempt that comes again does not start anything anew.

use std::sync::Arc;

use mc_core::engine::{
    Admission, AgentError, CallError, ModelAnswer, ModelRequest, Permit, ProviderError, Receipt,
    Reported, StepContext, StepOutcome,
};
use mc_core::error::Error;
use mc_core::event::step::WaitingFor;
use mc_core::id::{ApprovalId, ModelId};
use mc_core::resilience::CallFailure;
use mc_core::usage::{Usage, UsageEntry};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::exchange::{Reply, Used};

/// What an agent may use of one model by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelBound {
    /// The model.
    pub model: ModelId,
    /// The most input tokens of a call.
    pub input_tokens: u64,
    /// The most output tokens of a call.
    pub max_output_tokens: u64,
    /// The most calls of an attempt; at least 1.
    pub calls: u32,
}

/// Holds that are open while an agent is at work.
#[derive(Debug)]
pub(crate) struct Spending {
    permits: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    share: Share,
    permit: Permit,
}

/// What may be used of one model, for which a hold is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    model: ModelId,
    calls: u32,
    input_tokens: u64,
}

/// A hold whose agent answers later, as a checkpoint keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Later {
    share: Share,
    receipt: Receipt,
}

/// What came of opening.
#[derive(Debug)]
pub(crate) enum Opening {
    /// It may start.
    Open(Spending),
    /// An earlier attempt was answered: this is the answer.
    Answered(Reply),
    /// A person has to approve what it may use first; nothing is held until then.
    Waits(ApprovalId),
}

/// What came of holding for every model.
enum Reserved {
    /// Something is held for each; the first may have been answered before.
    All(Spending, Option<Box<ModelAnswer>>),
    /// A person has to approve one of them first.
    Waits(ApprovalId),
}

/// The attempt ends until a person has decided; nothing of it stays in memory.
pub(crate) fn suspended(id: ApprovalId) -> StepOutcome {
    StepOutcome::Suspend {
        checkpoint: Value::Null,
        waiting_for: WaitingFor::Approval { number: id.number },
    }
}

impl Spending {
    /// Holds the most that an attempt can cost, before anything is started.
    ///
    /// # Errors
    /// Where a budget or a policy refuses; what was held until then is let go.
    pub(crate) async fn open(
        ctx: &StepContext,
        bounds: &[ModelBound],
        input: &Value,
    ) -> Result<Opening, AgentError> {
        // Answers of earlier attempts that were errors stand first in the journal; each is passed.
        loop {
            let (spending, answer) = match Self::reserve(ctx, bounds, input).await? {
                Reserved::All(spending, answer) => (spending, answer),
                Reserved::Waits(id) => return Ok(Opening::Waits(id)),
            };
            let Some(answer) = answer else {
                return Ok(Opening::Open(spending));
            };
            spending
                .release("an earlier attempt was answered here")
                .await?;
            match Reply::of(answer.output) {
                Ok(reply) if reply.is_output() => return Ok(Opening::Answered(reply)),
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn reserve(
        ctx: &StepContext,
        bounds: &[ModelBound],
        input: &Value,
    ) -> Result<Reserved, AgentError> {
        let mut this = Self {
            permits: Vec::new(),
        };
        let mut first = None;
        for (at, bound) in bounds.iter().enumerate() {
            match ctx.reserve(&request(bound, input)).await? {
                Admission::Allowed(permit) | Admission::Clamped(permit) => {
                    let share = Share {
                        model: bound.model.clone(),
                        calls: bound.calls,
                        input_tokens: bound.input_tokens,
                    };
                    this.permits.push(Held { share, permit });
                }
                Admission::Answered(answer) if at == 0 => first = Some(answer),
                Admission::Answered(_) => {}
                Admission::NeedsApproval(id) => {
                    this.release("another hold needs an approval").await?;
                    return Ok(Reserved::Waits(id));
                }
                Admission::Denied(error) => {
                    this.release("another hold was refused").await?;
                    return Err(denied(&error));
                }
            }
        }
        Ok(Reserved::All(this, first.map(Box::new)))
    }

    /// What was admitted, for who is asked: an output limit may be lower than the one that was asked
    /// for.
    pub(crate) fn admitted(&self) -> Value {
        let rows = self.permits.iter().map(|held| {
            json!({
                "model": held.share.model, "calls": held.share.calls,
                "max_output_tokens": held.permit.max_output_tokens(),
            })
        });
        rows.collect()
    }

    /// Lets everything go: nothing was started, or the provider cannot have billed.
    pub(crate) async fn release(self, why: &str) -> Result<(), AgentError> {
        self.fail(&ProviderError::new(CallFailure::NotSent, why))
            .await
    }

    /// Ends every hold with a failure, which decides what becomes of the money.
    pub(crate) async fn fail(self, error: &ProviderError) -> Result<(), AgentError> {
        for held in self.permits {
            held.permit.fail(error).await?;
        }
        Ok(())
    }

    /// Settles with what was reported; without a report the money is in doubt.
    ///
    /// # Errors
    /// Where what was used has no price, or cannot be reserved: the agent used what nobody allowed.
    pub(crate) async fn settle(self, ctx: &StepContext, reply: &Reply) -> Result<(), AgentError> {
        let Some(used) = &reply.usage else {
            let message = "the agent ended without a report of what it used";
            return self
                .fail(&ProviderError::new(CallFailure::Crashed, message))
                .await;
        };
        let held = |model: &ModelId| self.permits.iter().any(|held| held.share.model == *model);
        let beyond: Vec<&Used> = used.iter().filter(|one| !held(&one.model)).collect();
        let mut settled: Result<(), AgentError> = Ok(());
        for (at, held) in self.permits.into_iter().enumerate() {
            let entries = held.share.entries(used);
            if entries.is_empty() && at > 0 {
                let unused = ProviderError::new(CallFailure::NotSent, "it was not used");
                let released = held.permit.fail(&unused).await;
                settled = settled.and(released.map(drop).map_err(Into::into));
                continue;
            }
            let one = held.permit.settle(&answer(&reply.whole, entries)).await;
            settled = settled.and(one.map_err(Into::into));
        }
        let beyond = account_for(ctx, &beyond, (&reply.whole, Repeats::Another)).await;
        settled.and(beyond)
    }
}

impl Spending {
    /// Leaves every hold in doubt: the agent answers later. Those that held nothing are left out.
    pub(crate) async fn later(self, ctx: &StepContext) -> Result<Vec<Later>, AgentError> {
        let mut later = Vec::new();
        for held in self.permits {
            let receipt = held
                .permit
                .answered_later("the agent answers later")
                .await?;
            let share = held.share;
            // What may be in doubt is settled with this receipt, and not paid for as another call.
            if ctx.is_in_doubt(&receipt).await.unwrap_or(true) {
                later.push(Later { share, receipt });
            }
        }
        Ok(later)
    }
}

/// Settles with a report that came later; what somebody has settled meanwhile stays as it is.
///
/// # Errors
/// As [`Spending::settle`].
pub(crate) async fn settle_later(
    ctx: &StepContext,
    later: &[Later],
    (used, reply): (&[Used], &Value),
) -> Result<(), AgentError> {
    let mut settled: Result<(), AgentError> = Ok(());
    for held in later {
        let entries = held.share.entries(used);
        let answer = (!entries.is_empty()).then(|| answer(reply, entries));
        let one = ctx.settle_later(&held.receipt, answer.as_ref()).await;
        settled = settled.and(one.map_err(Into::into));
    }
    let held = |one: &&Used| later.iter().any(|held| held.share.model == one.model);
    let beyond: Vec<&Used> = used.iter().filter(|one| !held(one)).collect();
    let beyond = account_for(ctx, &beyond, (reply, Repeats::Same)).await;
    settled.and(beyond)
}

impl Share {
    /// What a report says of this model, entry by entry.
    ///
    /// One that may be a sum of several calls tells nothing of their sizes: none of them was larger
    /// than the file allows, or the agent does not keep to it.
    fn entries(&self, used: &[Used]) -> Vec<UsageEntry> {
        let of_it = used.iter().filter(|one| one.model == self.model);
        of_it
            .map(|one| {
                let requests = one.usage.requests;
                let several = requests > 1 || (requests == 0 && self.calls > 1);
                UsageEntry {
                    usage: one.usage,
                    largest_input: several.then_some(self.input_tokens),
                }
            })
            .collect()
    }
}

fn request(bound: &ModelBound, input: &Value) -> ModelRequest {
    let mut request = ModelRequest::text(bound.model.clone(), "")
        .input_tokens(bound.input_tokens)
        .max_output_tokens(bound.max_output_tokens);
    request.messages = vec![json!({"role": "user", "content": input})];
    request.parameters = json!({"calls": bound.calls});
    // All calls of the model are one hold: each may take as much as the first.
    request.bound.hidden_retries = bound.calls.saturating_sub(1);
    request
}

fn answer(output: &Value, entries: Vec<UsageEntry>) -> ModelAnswer {
    let sum = { entries.iter() }.fold(Usage::default(), |sum, one| sum.saturating_add(&one.usage));
    // One entry of one call is its sum.
    let plain = entries.iter().all(|one| one.largest_input.is_none()) && entries.len() <= 1;
    ModelAnswer {
        output: output.clone(),
        usage: Some(sum),
        entries: if plain { Vec::new() } else { entries },
        ..ModelAnswer::default()
    }
}

/// What a report is that an earlier attempt has written down in the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Another one: each attempt starts its agent and pays for it.
    Another,
    /// The same one, which came once and is read again.
    Same,
}

/// Writes down what was used and not held before. It is spent already, so it is recorded in full, over a
/// limit too.
///
/// # Errors
/// Where the model has no price, or a rule forbids it; that is recorded all the same.
pub(crate) async fn account(
    ctx: &StepContext,
    used: &Used,
    (reply, repeats): (&Value, Repeats),
) -> Result<(), AgentError> {
    let mut request = ModelRequest::text(used.model.clone(), "")
        .input_tokens(0)
        .max_output_tokens(1);
    request.messages = Vec::new();
    request.parameters = json!({"reported_by": "the agent"});
    let answer = answer(reply, vec![UsageEntry::of(used.usage)]);
    loop {
        match ctx.report(&request, &answer).await? {
            Reported::Written => return Ok(()),
            Reported::Before(earlier) => {
                if repeats == Repeats::Same && earlier.output == *reply {
                    return Ok(());
                }
            }
        }
    }
}

/// Writes down all that was used and not held before: one that is refused keeps nobody else out.
///
/// # Errors
/// The first of [`account`].
async fn account_for(
    ctx: &StepContext,
    beyond: &[&Used],
    how: (&Value, Repeats),
) -> Result<(), AgentError> {
    let mut all = Ok(());
    for one in beyond {
        all = all.and(account(ctx, one, how).await);
    }
    all
}

fn denied(error: &Arc<Error>) -> AgentError {
    CallError::Denied(Arc::clone(error)).into()
}
