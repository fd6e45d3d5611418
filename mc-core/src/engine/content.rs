//! What hosts and agents hand in: held against the limits of the log before anything is made of it.
//!
//! A value that is nested too deeply cannot be written or read back without a risk for the process
//! (writing is recursive), and one that is too large not at all. What is *not* here: the rules of
//! documents that are read from text (`json`, `yaml`).

use std::sync::Arc;

use serde_json::Value;

use super::calls::{ModelAnswer, ModelRequest};
use super::passage::Content;
use crate::error::{Error, Result};
use crate::event::MAX_PART_BYTES;
use crate::json::{self, MAX_DEPTH};
use crate::sequencer::AttemptRequest;

/// The most bytes that one byte of text takes when it is written as JSON.
const WORST_ESCAPE: usize = 6;

/// The most bytes of a node beside its text: a number, or quotes, colon and comma.
const MOST_A_NODE: usize = 32;

/// Refuses a value that cannot be kept.
///
/// # Errors
/// `InvalidInput` that names the limit: nesting of 64, or 64 MiB as JSON.
pub(super) fn check(what: &'static str, value: &Value) -> Result<()> {
    check_all(what, std::slice::from_ref(value))
}

/// Whether a value can be kept as what a tool has answered.
///
/// # Errors
/// `InvalidInput` that names the limit: nesting of 64, or 64 MiB as JSON.
pub fn kept(answer: &Value) -> Result<()> {
    check("answer", answer)
}

/// As [`check`], for values that are kept together: the limit of bytes holds for their sum.
///
/// # Errors
/// As [`check`].
pub(super) fn check_all(what: &'static str, values: &[Value]) -> Result<()> {
    within(what, values, MAX_PART_BYTES)
}

/// Refuses a request with content that cannot be kept: it comes from another process, whose word for
/// having looked is not taken.
///
/// # Errors
/// As [`check`].
pub(super) fn check_request(content: &Content<'_>) -> Result<()> {
    match content {
        Content::Nothing => Ok(()),
        Content::Value(what, value) => check(what, value),
        Content::Attempt(request) => check_attempt(request),
    }
}

fn check_attempt(request: &AttemptRequest) -> Result<()> {
    match request {
        AttemptRequest::ReserveCall(call) | AttemptRequest::DrawCall(call, _) => {
            check_all("messages", &call.messages)
        }
        AttemptRequest::ReportCall(call, settle) => {
            check_all("messages", &call.messages)?;
            settle
                .answer
                .iter()
                .try_for_each(|one| check("answer", one))
        }
        AttemptRequest::SettleCall(settle) => {
            let answers = settle.answer.iter().chain(&settle.reasoning);
            answers.into_iter().try_for_each(|one| check("answer", one))
        }
        AttemptRequest::BeginTool(tool) => {
            let params: std::result::Result<Value, _> = serde_json::from_slice(&tool.params);
            let params = params.map_err(|fault| Error::invalid("params", fault))?;
            check("params", &params)
        }
        AttemptRequest::EndTool(tool) => match &tool.result {
            Ok(answer) => check("answer", answer),
            Err(_) => Ok(()),
        },
        AttemptRequest::RecordOnce(_, value) => check("value", value),
        AttemptRequest::Decision(parts) => check_all("decision", parts.as_slice()),
        AttemptRequest::SideEffect(what) => check("side_effect", what),
        AttemptRequest::Complete(output) => check("output", output.value()),
        AttemptRequest::Suspend(checkpoint, _) => check("checkpoint", checkpoint),
        AttemptRequest::FailCall(_)
        | AttemptRequest::Progress(_)
        | AttemptRequest::LookUpOnce(_)
        | AttemptRequest::Fail(_)
        | AttemptRequest::NotBegun
        | AttemptRequest::Ended => Ok(()),
    }
}

/// As [`check`], for a value that is ours to drop: one that is refused is taken apart first,
/// because dropping it walks down all of its nesting.
///
/// # Errors
/// As [`check`].
pub(super) fn checked(what: &'static str, value: Value) -> Result<Value> {
    match check(what, &value) {
        Ok(()) => Ok(value),
        Err(refused) => {
            json::take_apart(value);
            Err(refused)
        }
    }
}

/// As [`checked`], for a value that somebody else may hold as well.
///
/// # Errors
/// As [`check`].
pub(super) fn checked_shared(what: &'static str, value: Arc<Value>) -> Result<Arc<Value>> {
    match check(what, &value) {
        Ok(()) => Ok(value),
        Err(refused) => {
            Arc::try_unwrap(value).map_or_else(drop, json::take_apart);
            Err(refused)
        }
    }
}

/// As [`check_all`], for values that are ours to drop.
///
/// # Errors
/// As [`check`].
pub(super) fn checked_all<const N: usize>(
    what: &'static str,
    values: [Value; N],
) -> Result<[Value; N]> {
    match check_all(what, &values) {
        Ok(()) => Ok(values),
        Err(refused) => {
            values.into_iter().for_each(json::take_apart);
            Err(refused)
        }
    }
}

/// Refuses an answer that cannot be kept, or that was thought out in what cannot be.
///
/// # Errors
/// As [`check`].
pub(super) fn check_answer(answer: &ModelAnswer) -> Result<()> {
    check("answer", &answer.output)?;
    let reasoning = answer.reasoning.as_ref();
    reasoning.map_or(Ok(()), |reasoning| check("reasoning", reasoning))
}

/// As [`check_all`], for everything of a model call that is kept.
///
/// # Errors
/// As [`check`].
pub(super) fn check_call(request: &ModelRequest) -> Result<()> {
    check_all("messages", &request.messages)?;
    check("parameters", &request.parameters)
}

/// Drops an answer that was refused.
pub(super) fn drop_answer(answer: ModelAnswer) {
    json::take_apart(answer.output);
    if let Some(reasoning) = answer.reasoning {
        json::take_apart(reasoning);
    }
}

fn within(what: &'static str, values: &[Value], most: usize) -> Result<()> {
    let mut open: Vec<(&Value, usize)> = values.iter().map(|value| (value, 0)).collect();
    let (mut least, mut nodes) = (0_usize, 0_usize);
    // An own stack: the nesting is not known to be bounded yet.
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            let rule = format!("nested deeper than {MAX_DEPTH}");
            return Err(Error::invalid(what, rule));
        }
        nodes += 1;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => least = least.saturating_add(text.len()),
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => {
                let keys = fields.keys().map(String::len);
                least = keys.fold(least, usize::saturating_add);
                open.extend(fields.values().map(|field| (field, depth + 1)));
            }
        }
    }
    let at_most = least.saturating_mul(WORST_ESCAPE);
    let at_most = at_most.saturating_add(nodes.saturating_mul(MOST_A_NODE));
    // Only where it could be either is it written out to be measured.
    let fits = least <= most
        && (at_most <= most
            || values
                .iter()
                .map(|value| json::canonical(value).len())
                .sum::<usize>()
                <= most);
    if fits {
        Ok(())
    } else {
        let mebibytes = most / 1024 / 1024;
        Err(Error::invalid(what, format!("larger than {mebibytes} MiB")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn a_value_is_nested_at_most_sixty_four_deep() {
        assert!(check("input", &nested(64)).is_ok());
        let refused = check("input", &nested(65)).unwrap_err();
        assert!(
            refused.to_string().contains("nested deeper than 64"),
            "{refused}"
        );
    }

    #[test]
    fn nesting_without_end_is_refused_and_not_walked_down() {
        assert!(checked("input", nested(200_000)).is_err());
    }

    #[test]
    fn values_are_together_at_most_as_large_as_one_may_be() {
        const MEBIBYTE: usize = 1024 * 1024;
        let within = |values: &[Value]| within("messages", values, MEBIBYTE);
        let half = json!("a".repeat(MEBIBYTE / 2 - 2));
        assert!(within(&[half.clone(), half.clone()]).is_ok());
        let refused = within(&[half.clone(), half, json!(1)]).unwrap_err();
        assert!(
            refused.to_string().contains("larger than 1 MiB"),
            "{refused}"
        );
        // A control character takes six bytes.
        assert!(within(&[json!("\u{1}".repeat(MEBIBYTE / 6 + 1))]).is_err());
        assert_eq!(MAX_PART_BYTES, 64 * MEBIBYTE);
    }
}
