//! Usage as providers write it, in our disjoint classes.
//!
//! Both `OpenAI` formats count cached tokens inside the input and reasoning inside the output;
//! Anthropic counts what was read from or written to a cache beside the input. What does not add up
//! is no usage: then all that was held counts. A total that is more than its parts counts reasoning
//! beside the output: what the parts leave out is output, which is the dearer reading.

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
    Some(Usage {
        input_uncached: read.checked_sub(cached)?.checked_sub(heard)?,
        input_cache_read: cached,
        input_audio: heard,
        output_text: written.checked_sub(thought)?.checked_sub(spoken)?,
        output_reasoning: thought.checked_add(beside(usage, (read, written))?)?,
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
        output_text: written.checked_sub(thought)?,
        output_reasoning: thought.checked_add(beside(usage, (read, written))?)?,
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

/// What the provider's total has beyond input and output; one that has less stands for nothing.
fn beside(usage: &Value, (read, written): (u64, u64)) -> Option<u64> {
    let parts = read.checked_add(written)?;
    Some(count(&usage["total_tokens"])?.saturating_sub(parts))
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
    fn a_total_beyond_its_parts_counts_as_output_and_a_smaller_one_stands_for_nothing() {
        for (total, output) in [(18, 8), (25, 15), (3, 8)] {
            let chat = json!({"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": total});
            let chat = openai_chat(&chat).unwrap();
            assert_eq!((chat.input_tokens(), chat.output_tokens()), (10, output));
            let response = json!({"input_tokens": 10, "output_tokens": 8, "total_tokens": total});
            let response = openai_responses(&response).unwrap();
            assert_eq!(response.output_tokens(), output);
        }
    }

    #[test]
    fn what_does_not_add_up_is_no_usage() {
        let more_cached = json!({"cached_tokens": 4});
        for usage in [
            json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": more_cached}),
            json!({"prompt_tokens": 1}),
            json!({"prompt_tokens": -1, "completion_tokens": 1}),
            json!({"prompt_tokens": 1.5, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": 1,
                   "completion_tokens_details": {"reasoning_tokens": 2}}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": "2"}),
            Value::Null,
        ] {
            assert_eq!(openai_chat(&usage), None, "{usage}");
        }
    }
}
