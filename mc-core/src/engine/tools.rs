//! Tool calls of an attempt: asked for, waited for where a person has to approve, and journaled.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::calls::{refused, unexpected};
use super::content;
use super::context::StepContext;
use super::in_time::{Looks, Watch};
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::id::{ApprovalId, Digest, Opaque};
use crate::json;
use crate::policy::RiskTier;
use crate::sequencer::decide::tool::{FAILED, NOT_KEPT, STOPPED, dry_run_answer};
use crate::sequencer::{
    AttemptRequest, BeginTool, EndTool, JournalPlace, Patience, Reply, ToolReply,
};

/// What came of a tool call that wants to go out.
enum Admitted {
    /// It may go out, and is looked at then.
    Allowed(Looks),
    /// An earlier attempt was answered: this is the result.
    Answered(Value),
    /// A person has to approve it first.
    NeedsApproval(ApprovalId),
}

/// A tool call of an attempt.
struct ToolCall<'a> {
    ctx: &'a StepContext,
    place: JournalPlace,
    tool: Opaque,
    risk: RiskTier,
    params: Arc<[u8]>,
}

impl StepContext {
    /// Makes a tool call: written down before it acts where it can change anything; what an earlier
    /// attempt was answered comes from the log. Where a person has to approve it, it waits for the
    /// decision; the step's time-out goes on meanwhile.
    ///
    /// The tier is the policy's, or `risk` where that is higher.
    ///
    /// # Errors
    /// `PolicyDenied` for a tool or parameters that are not allowed, `ApprovalInvalid` where a person
    /// rejected it or nobody decided in time, `Cancelled`, or what the tool said. An error of the tool
    /// once the attempt is to stop is `Cancelled` too, and what cannot be undone is in doubt then; as it
    /// is where the answer cannot be kept, which is `InvalidInput`.
    ///
    /// # Cancel safety
    /// Dropped while it waits for a decision, it leaves the request open for a later attempt.
    pub async fn tool_call<F, Fut>(
        &self,
        tool: &str,
        risk: RiskTier,
        params: &Value,
        call: F,
    ) -> Result<Value>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = std::result::Result<Value, String>> + Send,
    {
        let asked = ToolCall::new(self, tool, risk, params)?;
        loop {
            match asked.begin(Patience::Waits).await? {
                Admitted::Answered(value) => return Ok(value),
                Admitted::Allowed(looks) => return asked.make(call, &looks).await,
                Admitted::NeedsApproval(id) => self.caller.decided(id).await?,
            }
        }
    }

    /// As [`tool_call`](Self::tool_call), without waiting for a person: the error `ApprovalRequired`
    /// names the request. An attempt that answers `Suspend` with
    /// [`WaitingFor::Approval`](crate::event::step::WaitingFor) is entered again with the decision,
    /// and finds the call at the same place of its journal.
    ///
    /// # Errors
    /// `ApprovalRequired` with the request, else as [`tool_call`](Self::tool_call).
    pub async fn try_tool_call<F, Fut>(
        &self,
        tool: &str,
        risk: RiskTier,
        params: &Value,
        call: F,
    ) -> Result<Value>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = std::result::Result<Value, String>> + Send,
    {
        let asked = ToolCall::new(self, tool, risk, params)?;
        match asked.begin(Patience::TellsOnly).await? {
            Admitted::Answered(value) => Ok(value),
            Admitted::Allowed(looks) => asked.make(call, &looks).await,
            Admitted::NeedsApproval(id) => {
                let message = format!("tool `{tool}` is asked of a person: `{id}`");
                let detail = Detail::ApprovalRequest {
                    request_id: id.to_string(),
                };
                Err(Error::new(ErrorKind::ApprovalRequired, message).with_detail(detail))
            }
        }
    }
}

impl<'a> ToolCall<'a> {
    fn new(ctx: &'a StepContext, tool: &str, risk: RiskTier, params: &Value) -> Result<Self> {
        let tool = Opaque::new(tool).map_err(|fault| Error::invalid("tool", fault))?;
        content::check("params", params)?;
        let params: Arc<[u8]> = json::canonical(params).into();
        let place = JournalPlace {
            ordinal: ctx.caller.cell.next_ordinal(),
            request: Digest::of(&[&params]),
        };
        Ok(Self {
            ctx,
            place,
            tool,
            risk,
            params,
        })
    }

    async fn begin(&self, patience: Patience) -> Result<Admitted> {
        let begin = AttemptRequest::BeginTool(BeginTool {
            place: self.place,
            tool: self.tool.clone(),
            risk: self.risk,
            params: Arc::clone(&self.params),
            patience,
        });
        let reply = self.ctx.caller.attempt(begin).await?;
        let Reply::Tool(reply) = reply else {
            return Err(unexpected(&reply));
        };
        match reply {
            ToolReply::Allowed(after_ms) => {
                let since = self.ctx.caller.inner.clock.monotonic();
                Ok(Admitted::Allowed(Looks { since, after_ms }))
            }
            ToolReply::Answered(place) => {
                let value = self.ctx.caller.inner.read_value(place).await?;
                Ok(Admitted::Answered(value))
            }
            ToolReply::DryRun => Ok(Admitted::Answered(dry_run_answer())),
            ToolReply::NeedsApproval(id) => Ok(Admitted::NeedsApproval(id)),
            ToolReply::Denied(error) => Err(again(&error)),
        }
    }

    /// A rule wants the call cut: it failed, unless its whole attempt was cut with it.
    async fn cut(&self, rule: Error) -> Result<Error> {
        let caller = &self.ctx.caller;
        if !caller.cell.is_cancelled() {
            let failed = (rule.code().into(), rule.message().into());
            let end = AttemptRequest::EndTool(EndTool {
                ordinal: self.place.ordinal,
                result: Err(failed),
            });
            caller.attempt(end).await?;
        }
        Ok(rule)
    }

    /// Calls the tool, and writes down what it answered.
    async fn make<F, Fut>(&self, call: F, looks: &Looks) -> Result<Value>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = std::result::Result<Value, String>> + Send,
    {
        let caller = &self.ctx.caller;
        let watch = Watch { caller, looks };
        let look = |elapsed_ms| caller.look_at_tool(self.place.ordinal, elapsed_ms);
        let outcome = match watch.over(call(), look).await {
            Ok(outcome) => outcome,
            Err(rule) => return Err(self.cut(rule).await?),
        };
        // An error of one that is to stop may be no more than that it was stopped.
        let stopped = outcome.is_err() && self.ctx.is_cancelled();
        let outcome = outcome.map(|value| content::checked("answer", value));
        let result = match &outcome {
            Ok(Ok(value)) => Ok(Arc::new(value.clone())),
            Ok(Err(refused)) => Err((NOT_KEPT.into(), refused.to_string().into())),
            Err(message) if stopped => Err((STOPPED.into(), message.as_str().into())),
            Err(message) => Err((FAILED.into(), message.as_str().into())),
        };
        let ordinal = self.place.ordinal;
        let end = AttemptRequest::EndTool(EndTool { ordinal, result });
        let reply = self.ctx.caller.attempt(end).await;
        if stopped {
            let message = outcome.err().unwrap_or_default();
            let message = format!("this attempt is to stop: {message}");
            return Err(Error::new(ErrorKind::Cancelled, message).with_context("tool", &self.tool));
        }
        let reply = reply?;
        let outcome = match outcome {
            Ok(kept) => Ok(kept?),
            Err(message) => Err(message),
        };
        refused(reply)?;
        outcome.map_err(|message| {
            Error::new(ErrorKind::AgentFailed, message).with_context("tool", &self.tool)
        })
    }
}

/// The error of a value that several may hold.
pub(super) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message());
    match error.detail() {
        Some(detail) => copy.with_detail(detail.clone()),
        None => copy,
    }
}
