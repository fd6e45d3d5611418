//! What a program or a remote agent is asked, and what it may answer: the same JSON for both.
//!
//! Asked: `{"agent","run","step","attempt","effect_key","input","models","time_left_ms"}`, the last
//! where something ends the attempt. Answered: `{"output":..}`
//! or `{"error":{"code","message","retryable","retry_after_ms"}}`, each with
//! `"usage":[{"model","usage"}]`. `docs/agents.md` describes both. What is *not* here: how that
//! usage is paid for (`spending`).

use mc_core::engine::{AgentError, StepContext, StepOutcome};
use mc_core::id::ModelId;
use mc_core::json;
use mc_core::time::as_ms;
use mc_core::usage::Usage;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::hiding::Secrets;

/// The code of an answer that is not of the form.
pub(crate) const INVALID_OUTPUT: &str = "invalid_output";
/// The most models that an answer may report.
const MOST_USED: usize = 1_000;
/// The longest code of an error, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// What an attempt asks.
pub(crate) fn ask(ctx: &StepContext, input: &Value, models: &Value) -> Value {
    let mut asked = json!({
        "agent": ctx.agent(), "run": ctx.run_id(), "step": ctx.step(), "attempt": ctx.attempt(),
        "effect_key": ctx.effect_key().to_string(), "input": input, "models": models,
    });
    if let Some(left) = ctx.time_left() {
        asked["time_left_ms"] = json!(as_ms(left));
    }
    asked
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// All of it, as it came.
    pub(crate) whole: Value,
    result: Result<Value, Refusal>,
    /// What it used; none where it does not say.
    pub(crate) usage: Option<Vec<Used>>,
}

/// What one model was used for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Used {
    /// The model.
    pub(crate) model: ModelId,
    /// The sum of its calls.
    pub(crate) usage: Usage,
}

/// Why there is no output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default = "yes")]
    retryable: bool,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

const fn yes() -> bool {
    true
}

impl Reply {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let whole = json::parse(bytes).map_err(|error| error.to_string())?;
        Self::of(whole)
    }

    /// Reads an answer that is JSON already.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn of(whole: Value) -> Result<Self, String> {
        let Some(fields) = whole.as_object() else {
            return Err("an answer is an object with `output` or `error`".to_owned());
        };
        let known = ["output", "error", "usage"];
        if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!(
                "an answer has no `{key}`; it has {}",
                known.join(", ")
            ));
        }
        let result = match (fields.get("output"), fields.get("error")) {
            (Some(output), None) => Ok(output.clone()),
            (None, Some(error)) => Err(refusal(error)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err("an answer has either `output` or `error`".to_owned());
            }
        };
        let usage = used(fields)?;
        Ok(Self {
            whole,
            result,
            usage,
        })
    }

    /// An error without what must not show; it is logged and told. An output stays what it is.
    pub(crate) fn without(self, secrets: &Secrets) -> Self {
        let Err(refusal) = self.result else {
            return self;
        };
        let refusal = Refusal {
            code: secrets.hide(&refusal.code),
            message: secrets.hide(&refusal.message),
            ..refusal
        };
        Self {
            whole: secrets.hide_value(self.whole),
            result: Err(refusal),
            usage: self.usage,
        }
    }

    /// Whether it has an output.
    pub(crate) const fn is_output(&self) -> bool {
        self.result.is_ok()
    }

    /// What the attempt comes to.
    pub(crate) fn into_outcome(self) -> Result<StepOutcome, AgentError> {
        self.result.map(StepOutcome::Output).map_err(|refusal| {
            let error = AgentError::with_code(&refusal.code, refusal.message);
            match (refusal.retryable, refusal.retry_after_ms) {
                (false, _) => error.fatal(),
                (true, Some(ms)) => error.retry_after_ms(ms),
                (true, None) => error,
            }
        })
    }
}

fn refusal(error: &Value) -> Result<Refusal, String> {
    let refusal: Refusal =
        serde_json::from_value(error.clone()).map_err(|fault| format!("`error`: {fault}"))?;
    let letters = refusal.code.bytes();
    let plain = { letters }.all(|byte| byte.is_ascii_lowercase() || b"0123456789_".contains(&byte));
    if refusal.code.is_empty() || refusal.code.len() > MAX_CODE_BYTES || !plain {
        return Err("`error.code` is 1 to 64 of a-z, 0-9 and _".to_owned());
    }
    Ok(refusal)
}

fn used(fields: &Map<String, Value>) -> Result<Option<Vec<Used>>, String> {
    let Some(usage) = fields.get("usage") else {
        return Ok(None);
    };
    let used: Vec<Used> =
        serde_json::from_value(usage.clone()).map_err(|fault| format!("`usage`: {fault}"))?;
    if used.len() > MOST_USED {
        return Err(format!("`usage` has more than {MOST_USED} entries"));
    }
    Ok(Some(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reply, String> {
        Reply::parse(text.as_bytes())
    }

    #[test]
    fn an_answer_has_an_output_or_an_error() {
        let reply = parse(r#"{"output":null}"#).unwrap();
        assert!(reply.is_output() && reply.usage.is_none());
        assert_eq!(reply.into_outcome(), Ok(StepOutcome::Output(Value::Null)));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"output":1,"error":{"code":"a"}}"#,
            r#"{"output":1,"x":2}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_says_whether_another_attempt_helps() {
        let of = |rest: &str| {
            let text = format!(r#"{{"error":{{"code":"no_luck","message":"m"{rest}}}}}"#);
            parse(&text).unwrap().into_outcome().unwrap_err()
        };
        let plain = AgentError::with_code("no_luck", "m");
        assert_eq!(of(""), plain);
        assert_eq!(of(r#","retryable":false"#), plain.clone().fatal());
        assert_eq!(of(r#","retry_after_ms":5"#), plain.retry_after_ms(5));
        assert!(parse(r#"{"error":{"code":"No luck"}}"#).is_err());
    }

    #[test]
    fn an_error_that_repeats_a_secret_is_told_and_kept_without_it() {
        let text = r#"{"error":{"code":"no_luck","message":"bad key sk-123"}}"#;
        let reply = parse(text).unwrap();
        let reply = reply.without(&Secrets::new(["sk-123".to_owned()]));
        assert_eq!(reply.whole["error"]["message"], "bad key ***");
        let error = reply.into_outcome().unwrap_err();
        assert_eq!(error, AgentError::with_code("no_luck", "bad key ***"));
    }

    #[test]
    fn usage_is_in_the_classes_of_the_log() {
        let text = r#"{"output":1,"usage":[{"model":"a/b","usage":{"input_uncached":3}}]}"#;
        let usage = parse(text).unwrap().usage.unwrap();
        assert_eq!(usage[0].usage.input_uncached, 3);
        assert!(parse(&text.replace("input_uncached", "prompt_tokens")).is_err());
    }
}
