//! A line of a file as it stands there, and what it has to keep to.

use chrono::NaiveDateTime;
use mc_core::id::{AgentName, ModelId, StepName};
use mc_core::money::parse_decimal;
use mc_core::time::Timestamp;
use serde::Deserialize;
use serde_json::Number;

use super::run::{RecordedCall, RecordedRun};

/// The provider of every recorded model.
const PROVIDER: &str = "recorded";
/// The model of a call whose file has none.
const UNKNOWN: &str = "unknown";
/// The most tokens of a call: a count above it is no count, and its cost would overflow.
const MAX_TOKENS: u64 = 1_000_000_000;
/// The longest id: `rehearse/` before it still makes an idempotency key.
const MAX_ID_BYTES: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunForm {
    id: String,
    task: String,
    project: String,
    model: String,
    started: String,
    finished: String,
    calls: Vec<CallForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallForm {
    phase: String,
    turn: u32,
    agent: String,
    counterpart: String,
    model: String,
    started: String,
    finished: String,
    rate_limit_refusals: u32,
    prompt: String,
    completion: String,
    prompt_tokens: Number,
    completion_tokens: Number,
    reported_cost_usd: Option<Number>,
    #[serde(default)]
    fail: Option<String>,
}

impl RunForm {
    pub(super) fn check(self) -> Result<RecordedRun, String> {
        let fits = !self.id.is_empty() && self.id.len() <= MAX_ID_BYTES;
        if !fits || self.id.chars().any(char::is_control) {
            let rule = format!("1 to {MAX_ID_BYTES} bytes without control characters");
            return Err(format!("`id` has to be {rule}"));
        }
        if self.calls.is_empty() {
            return Err("a run has at least one call".to_owned());
        }
        let (started, finished) = span(&self.started, &self.finished)?;
        let calls = self.calls.into_iter().enumerate();
        let calls = calls
            .map(|(at, call)| call.check().map_err(|rule| format!("call {at}: {rule}")))
            .collect::<Result<_, _>>()?;
        Ok(RecordedRun {
            id: self.id,
            task: self.task,
            project: self.project,
            model: self.model,
            started,
            finished,
            calls,
        })
    }
}

impl CallForm {
    fn check(self) -> Result<RecordedCall, String> {
        let (started, finished) = span(&self.started, &self.finished)?;
        let prompt_tokens = tokens("prompt_tokens", &self.prompt_tokens)?;
        let completion_tokens = tokens("completion_tokens", &self.completion_tokens)?;
        let reported = self.reported_cost_usd.as_ref().map(micro_usd).transpose()?;
        Ok(RecordedCall {
            step: StepName::new(&as_name(&self.phase))
                .map_err(|fault| format!("`phase` makes no step name: {fault}"))?,
            agent: AgentName::new(&as_name(&self.agent))
                .map_err(|fault| format!("`agent` makes no agent name: {fault}"))?,
            model: model_id(&self.model)?,
            phase: self.phase,
            turn: self.turn,
            counterpart: self.counterpart,
            latency: finished.since(started),
            refusals: self.rate_limit_refusals,
            prompt: self.prompt,
            completion: self.completion,
            prompt_tokens,
            completion_tokens,
            max_output_tokens: completion_tokens.next_power_of_two(),
            reported_cost_micro_usd: reported,
            fail: self.fail,
        })
    }
}

fn tokens(field: &str, count: &Number) -> Result<u64, String> {
    let whole = count.as_u64().filter(|count| *count <= MAX_TOKENS);
    whole.ok_or_else(|| {
        format!("`{field}` {count} is not a count of tokens: a whole number up to {MAX_TOKENS}")
    })
}

/// Lower case, and `_` for what is neither letter nor digit of ASCII.
fn as_name(text: &str) -> String {
    let fold = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '_',
    };
    text.chars().map(fold).collect()
}

fn model_id(model: &str) -> Result<ModelId, String> {
    let model = if model.is_empty() { UNKNOWN } else { model };
    ModelId::new(&format!("{PROVIDER}/{model}"))
        .map_err(|fault| format!("`model` makes no model id: {fault}"))
}

fn span(started: &str, finished: &str) -> Result<(Timestamp, Timestamp), String> {
    let (from, to) = (local_time(started)?, local_time(finished)?);
    if to < from {
        return Err(format!(
            "`finished` {finished} lies before `started` {started}"
        ));
    }
    Ok((from, to))
}

/// A local wall clock without a zone, read as UTC.
fn local_time(text: &str) -> Result<Timestamp, String> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S");
    let time = time.map_err(|_| format!("`{text}` is not a time like 2026-01-31T18:05:00"))?;
    Ok(Timestamp::from_unix_us(time.and_utc().timestamp_micros()))
}

/// A reported cost in micro-USD. The file has it as a number of six decimals; as text it is exact.
fn micro_usd(cost: &Number) -> Result<u64, String> {
    let wrong = || format!("`reported_cost_usd` {cost} is not a cost");
    let text = format!("{:.6}", cost.as_f64().ok_or_else(wrong)?);
    let micro = parse_decimal(&text, 6).map_err(|_| wrong())?;
    u64::try_from(micro).map_err(|_| wrong())
}
