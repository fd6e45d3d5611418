//! One call: what is sent, and what comes back until it is over, is cut, or breaks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mc_core::engine::{ModelAnswer, Outgoing, ProviderError, StepContext};
use mc_core::error::{Error, ErrorKind};
use mc_core::json;
use mc_core::resilience::CallFailure;
use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::agent::ChatSpec;
use super::answer::Answer;
use super::sse::Lines;
use super::stream::Streaming;
use super::whole;
use super::wire::{Asked, Delivery};
use crate::endpoint::{Endpoint, Gone, Head};

/// Bytes of text that count as one token while a stream runs; what is paid is what is settled.
const BYTES_A_TOKEN: usize = 4;
/// How often the rules in flight are asked while nothing comes.
const WATCH: Duration = Duration::from_millis(250);
/// How much of what was reported before stands in front of a report, so that a pattern is found that
/// comes in pieces; in bytes.
const OVERLAP: usize = 1024;

/// A call of an agent, and what its attempt has to know of it afterwards.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) spec: &'a ChatSpec,
    pub(super) endpoint: &'a Endpoint,
    pub(super) ctx: &'a StepContext,
    /// The conversation, in the form of the format.
    pub(super) messages: &'a [Value],
    pub(super) tools: &'a [Value],
    pub(super) sent: &'a Sent,
}

/// What became of a call besides its answer.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// How often it went out.
    times: AtomicUsize,
    /// How often its answer was cut because it is too large.
    too_large: AtomicUsize,
}

impl Sent {
    /// Whether nothing went out: an earlier attempt was answered.
    pub(super) fn is_from_the_journal(&self) -> bool {
        self.times.load(Ordering::Relaxed) == 0
    }

    /// Whether the answer was too large.
    pub(super) fn was_too_large(&self) -> bool {
        self.too_large.load(Ordering::Relaxed) > 0
    }
}

/// What stands between a stream and those who watch it.
struct Watched<'a> {
    call: &'a Call<'a>,
    out: &'a Outgoing,
    tokens: &'a AtomicU64,
    /// The end of what was reported.
    before: String,
}

impl Call<'_> {
    /// Sends the call, and cuts it once the attempt is to stop or a rule wants it cut.
    pub(super) async fn send(&self, out: Outgoing) -> Result<ModelAnswer, ProviderError> {
        self.sent.times.fetch_add(1, Ordering::Relaxed);
        let tokens = AtomicU64::new(0);
        let gone = Gone::default();
        let answer = async {
            let body = self.body(out.max_output_tokens());
            let posted = self.endpoint.post(body, HeaderMap::new(), &gone);
            let mut response = posted.await?;
            let head = Head::of(&response);
            if !head.status.is_success() {
                // Why it was refused is worth having; that it was does not depend on it.
                let body = self.endpoint.bytes(&mut response).await.unwrap_or_default();
                return Err(self.endpoint.refusal(&head, &body));
            }
            match self.spec.delivery {
                Delivery::Whole => self.whole(&mut response).await,
                Delivery::Stream => {
                    let watched = Watched {
                        call: self,
                        out: &out,
                        tokens: &tokens,
                        before: String::new(),
                    };
                    self.stream(watched, &mut response).await
                }
            }
        };
        let answer = tokio::select! {
            biased;
            () = self.ctx.cancelled() => Err(self.cut_off(&gone, "its attempt is to stop")),
            error = self.forbidden(&out, &tokens) => Err(self.cut_off(&gone, error.message())),
            answer = answer => answer,
        };
        Ok(answer?.into_model_answer(self.spec.model.provider()))
    }

    fn body(&self, most: Option<u64>) -> Vec<u8> {
        let model = self.spec.model.as_str();
        let provider = self.spec.model.provider();
        let id = model
            .strip_prefix(provider)
            .and_then(|rest| rest.strip_prefix('/'));
        let limit = self.spec.max_output_tokens;
        let api = self.spec.api;
        let asked = Asked {
            model: id.unwrap_or(model),
            system: self.spec.system.as_deref(),
            messages: self.messages,
            tools: self.tools,
            max_output_tokens: most.map_or(limit, |most| most.min(limit)),
            limit_field: &self.spec.limit_field,
            service_tier: self.spec.service_tier.and_then(|choice| api.tier(choice)),
            delivery: self.spec.delivery,
        };
        json::canonical(&api.body(&asked))
    }

    /// A stream that we cut is charged in full: what was written is billed.
    fn cut(&self, why: &str) -> ProviderError {
        let failure = match self.spec.delivery {
            Delivery::Stream => CallFailure::Cut,
            Delivery::Whole => CallFailure::Abandoned,
        };
        ProviderError::new(failure, format!("it was cut: {why}"))
    }

    /// As `cut`; what has not gone out yet costs nothing.
    fn cut_off(&self, gone: &Gone, why: &str) -> ProviderError {
        if gone.is_out() {
            return self.cut(why);
        }
        ProviderError::new(CallFailure::NotSent, format!("it was not sent: {why}"))
    }

    /// Returns once a rule in flight wants the call cut although nothing comes.
    async fn forbidden(&self, out: &Outgoing, tokens: &AtomicU64) -> Error {
        loop {
            self.ctx.sleep(WATCH).await;
            let said = out.progress(tokens.load(Ordering::Relaxed), None).await;
            if let Err(error) = said
                && is_final(&error)
            {
                return error;
            }
        }
    }

    /// The error without the key.
    fn hidden(&self, mut error: ProviderError) -> ProviderError {
        error.message = self.endpoint.hide(&error.message);
        error
    }

    async fn whole(&self, response: &mut Response) -> Result<Answer, ProviderError> {
        let body = self.endpoint.bytes(response).await?;
        let body = json::parse(&body).map_err(|error| {
            let message = format!("the answer cannot be read: {error}");
            self.hidden(ProviderError::new(CallFailure::UsageMissing, message))
        })?;
        let answer = whole::read(self.spec.api, &body).map_err(|error| self.hidden(error))?;
        if answer.bytes > self.spec.max_answer {
            return Err(self.too_large(CallFailure::UsageMissing));
        }
        Ok(answer)
    }

    /// It is not kept; what it used is not believed either, and all that was held counts.
    fn too_large(&self, failure: CallFailure) -> ProviderError {
        self.sent.too_large.fetch_add(1, Ordering::Relaxed);
        let most = self.spec.max_answer;
        let message = format!("the answer has more than {most} bytes (max_answer_bytes)");
        ProviderError::new(failure, message)
    }

    async fn stream(
        &self,
        mut watched: Watched<'_>,
        response: &mut Response,
    ) -> Result<Answer, ProviderError> {
        let (mut lines, mut state) = (Lines::default(), Streaming::default());
        let broken = |message: &str| ProviderError::new(CallFailure::Reset, message);
        // What comes once the answer is over does not make it another one; nor does how it ends.
        while !state.answer.over
            && let Some(chunk) = self.endpoint.chunk(response).await?
        {
            for data in lines.take(&chunk).map_err(broken)? {
                if state.answer.over {
                    break;
                }
                let event = event(&data).ok_or_else(|| broken("an event of the stream is no JSON"));
                self.taken(&mut state, event?)?;
            }
            if state.answer.bytes > self.spec.max_answer {
                return Err(self.too_large(CallFailure::Cut));
            }
            watched.report(&mut state.answer).await?;
        }
        if !state.answer.over {
            // The last line may have had no end; half an event is none.
            let last = lines.end().map_err(broken)?;
            for event in last.iter().filter_map(|data| event(data)) {
                self.taken(&mut state, event)?;
            }
            watched.report(&mut state.answer).await?;
        }
        let early = || broken("the stream ended before the answer did");
        state.end().ok_or_else(early)
    }

    /// Takes an event of a stream.
    fn taken(&self, state: &mut Streaming, event: Streamed) -> Result<(), ProviderError> {
        let api = self.spec.api;
        match event {
            Streamed::Done => {
                state.done(api);
                Ok(())
            }
            Streamed::Event(event) => {
                let taken = state.event(api, &event);
                taken.map_err(|error| self.hidden(error))
            }
        }
    }
}

/// What stands in an event of a stream.
enum Streamed {
    /// `[DONE]`.
    Done,
    /// Anything else.
    Event(Value),
}

fn event(data: &[u8]) -> Option<Streamed> {
    if data == b"[DONE]" {
        return Some(Streamed::Done);
    }
    serde_json::from_slice(data).ok().map(Streamed::Event)
}

impl Watched<'_> {
    /// Tells what has come since the last time; the rules may want it cut.
    async fn report(&mut self, answer: &mut Answer) -> Result<(), ProviderError> {
        if answer.fresh.is_empty() {
            return Ok(());
        }
        let tokens = u64::try_from(answer.bytes.div_ceil(BYTES_A_TOKEN)).unwrap_or(u64::MAX);
        self.tokens.store(tokens, Ordering::Relaxed);
        self.call.ctx.progress(0, tokens);
        let mut text = std::mem::take(&mut self.before);
        text.push_str(&std::mem::take(&mut answer.fresh));
        let said = self.out.progress(tokens, Some(&text)).await;
        crate::hiding::end(&text, OVERLAP).clone_into(&mut self.before);
        match said {
            Err(error) if is_final(&error) => Err(self.call.cut(error.message())),
            // A store that cannot answer now does not make the stream worth less.
            Err(_) | Ok(()) => Ok(()),
        }
    }
}

fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PolicyDenied | ErrorKind::Cancelled)
}
