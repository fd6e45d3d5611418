//! Usage as providers write it, in our disjoint classes.
//!
//! Both `OpenAI` formats count cached tokens inside the input and reasoning inside the output, or
//! beside it where the total says so;
//! Anthropic counts what was read from or written to a cache beside the input. What does not add up
//! is no usage: then all that was held counts.

use mc_core::usage::Usage;
use serde_json::Value;

/// Of chat completions.
pub(super) fn openai_chat(usage: &Value) -> Option<Usage> {
    let (input, output) = (
        &usage["prompt_tokens_details"],
        &usage["completion_tokens_details"],
    );
    let cached = count(&input["cached_tokens"])?;
    let heard = count(&input["audio_tokens"])?;
    let thought = count(&output["reasoning_tokens"])?;
    let spoken = count(&output["audio_tokens"])?;
    let (read, written) = (
        usage["prompt_tokens"].as_u64()?,
        usage["completion_tokens"].as_u64()?,
    );
    let said = written_without_thoughts(usage, (read, written, thought))?;
    Some(Usage {
        input_uncached: read.checked_sub(cached)?.checked_sub(heard)?,
        input_cache_read: cached,
        input_audio: heard,
        output_text: said.checked_sub(spoken)?,
        output_reasoning: thought,
        output_audio: spoken,
        requests: 1,
        ..Usage::default()
    })
}

/// Of responses.
pub(super) fn openai_responses(usage: &Value) -> Option<Usage> {
    let cached = count(&usage["input_tokens_details"]["cached_tokens"])?;
    let thought = count(&usage["output_tokens_details"]["reasoning_tokens"])?;
    let (read, written) = (
        usage["input_tokens"].as_u64()?,
        usage["output_tokens"].as_u64()?,
    );
    Some(Usage {
        input_uncached: read.checked_sub(cached)?,
        input_cache_read: cached,
        output_text: written_without_thoughts(usage, (read, written, thought))?,
        output_reasoning: thought,
        requests: 1,
        ..Usage::default()
    })
}

/// Of messages.
pub(super) fn anthropic(usage: &Value) -> Option<Usage> {
    let written = count(&usage["cache_creation_input_tokens"])?;
    let long = count(&usage["cache_creation"]["ephemeral_1h_input_tokens"])?;
    Some(Usage {
        input_uncached: usage["input_tokens"].as_u64()?,
        input_cache_read: count(&usage["cache_read_input_tokens"])?,
        input_cache_write_5m: written.checked_sub(long)?,
        input_cache_write_1h: long,
        output_text: usage["output_tokens"].as_u64()?,
        requests: 1,
        ..Usage::default()
    })
}

/// The output without the thoughts, by what the total says: most providers count them inside the output,
/// some beside it, and what fits neither cannot be believed. Without a total they are inside.
fn written_without_thoughts(
    usage: &Value,
    (read, written, thought): (u64, u64, u64),
) -> Option<u64> {
    let inside = read.checked_add(written)?;
    if usage["total_tokens"].is_null() {
        return written.checked_sub(thought);
    }
    let total = usage["total_tokens"].as_u64()?;
    if total == inside {
        return written.checked_sub(thought);
    }
    (total == inside.checked_add(thought)?).then_some(written)
}

/// A count that may be absent, and then is 0; none where it is something else.
fn count(value: &Value) -> Option<u64> {
    if value.is_null() {
        Some(0)
    } else {
        value.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_token_is_in_one_class() {
        let chat = json!({
            "prompt_tokens": 10, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        });
        let chat = openai_chat(&chat).unwrap();
        assert_eq!((chat.input_tokens(), chat.output_tokens()), (10, 8));
        assert_eq!((chat.input_cache_read, chat.output_reasoning), (4, 3));
        let message = json!({
            "input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_1h_input_tokens": 10},
        });
        let message = anthropic(&message).unwrap();
        assert_eq!(message.input_tokens(), 135);
        assert_eq!(
            (message.input_cache_write_5m, message.input_cache_write_1h),
            (20, 10)
        );
    }

    #[test]
    fn what_does_not_add_up_is_no_usage() {
        let more_cached = json!({"cached_tokens": 4});
        for usage in [
            json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": more_cached}),
            json!({"prompt_tokens": 1}),
            json!({"prompt_tokens": -1, "completion_tokens": 1}),
            json!({"prompt_tokens": 1.5, "completion_tokens": 1}),
            Value::Null,
        ] {
            assert_eq!(openai_chat(&usage), None, "{usage}");
        }
    }

    fn chat(completion: u64, thought: u64, total: u64) -> Option<Usage> {
        openai_chat(&json!({
            "prompt_tokens": 10, "completion_tokens": completion, "total_tokens": total,
            "completion_tokens_details": {"reasoning_tokens": thought},
        }))
    }

    fn responses(output: u64, thought: u64, total: u64) -> Option<Usage> {
        openai_responses(&json!({
            "input_tokens": 10, "output_tokens": output, "total_tokens": total,
            "output_tokens_details": {"reasoning_tokens": thought},
        }))
    }

    #[test]
    fn a_total_says_whether_thoughts_stand_inside_the_output_or_beside_it() {
        for of in [chat, responses] {
            let inside = of(8, 3, 18).unwrap();
            assert_eq!((inside.output_text, inside.output_reasoning), (5, 3));
            let beside = of(8, 300, 318).unwrap();
            assert_eq!((beside.output_text, beside.output_reasoning), (8, 300));
            let few_beside = of(8, 3, 21).unwrap();
            assert_eq!(
                (few_beside.output_text, few_beside.output_reasoning),
                (8, 3)
            );
        }
    }

    #[test]
    fn a_total_that_is_no_sum_is_no_usage() {
        for of in [chat, responses] {
            for total in [0, 17, 19, 20, 22, u64::MAX] {
                assert_eq!(of(8, 3, total), None, "{total}");
            }
            assert_eq!(of(8, 9, 18), None, "more thoughts inside than output");
        }
        let text = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": "2"});
        assert_eq!(openai_chat(&text), None);
    }
}
