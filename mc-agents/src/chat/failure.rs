//! An error that comes inside an answer: which status it would have had as an answer of its own.

use mc_core::engine::ProviderError;
use mc_core::resilience::{CallFailure, OutputBegun};
use serde_json::Value;

/// What stands in `code` or `type`, and the status that it has outside a stream.
const STATUSES: &[(u16, &[&str])] = &[
    (
        400,
        &[
            "context_length_exceeded",
            "invalid_request_error",
            "invalid_request",
            "invalid_prompt",
            "string_above_max_length",
            "content_policy_violation",
        ],
    ),
    (401, &["authentication_error", "invalid_api_key"]),
    // More calls do not help: nothing is waited for.
    (
        402,
        &[
            "insufficient_quota",
            "billing_error",
            "billing_hard_limit_reached",
        ],
    ),
    (403, &["permission_error"]),
    (404, &["not_found_error", "model_not_found"]),
    (413, &["request_too_large"]),
    (
        429,
        &[
            "rate_limit_error",
            "rate_limit_exceeded",
            "too_many_requests",
        ],
    ),
    (
        503,
        &[
            "slow_down",
            "service_unavailable",
            "service_unavailable_error",
        ],
    ),
    (504, &["timeout_error"]),
    (
        529,
        &[
            "overloaded_error",
            "overloaded",
            "server_overloaded",
            "server_is_overloaded",
            "engine_overloaded",
            "engine_overloaded_error",
        ],
    ),
];

/// What is not known may have been billed.
const UNKNOWN: u16 = 500;

/// The failure of a call whose answer has an error in it.
pub(super) fn broken_off(error: &Value, output_begun: OutputBegun) -> ProviderError {
    let said = [&error["code"], &error["type"]];
    // The code says more than the type, which may only name a family.
    let code = said.iter().find_map(|one| status(one)).unwrap_or(UNKNOWN);
    let names: Vec<&str> = said.iter().filter_map(|one| one.as_str()).collect();
    let name = if names.is_empty() {
        "error".to_owned()
    } else {
        names.join(": ")
    };
    let message = error["message"].as_str().unwrap_or_default();
    let failure = CallFailure::Status { code, output_begun };
    ProviderError::new(
        failure,
        format!("the provider broke off: {name}: {message}"),
    )
}

fn status(said: &Value) -> Option<u16> {
    if let Some(number) = said.as_u64() {
        let number = u16::try_from(number).ok();
        return number.filter(|code| (400..600).contains(code));
    }
    let name = said.as_str()?;
    let mut rows = STATUSES.iter();
    rows.find(|(_, names)| names.contains(&name))
        .map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use mc_core::resilience::CallOutcome;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_code_of_an_error_counts_and_then_its_type() {
        for (error, status) in [
            (
                json!({"type": "tokens", "code": "rate_limit_exceeded"}),
                429,
            ),
            (json!({"type": "rate_limit_error", "code": null}), 429),
            (
                json!({"type": "error", "code": "context_length_exceeded"}),
                400,
            ),
            (
                json!({"type": "invalid_request_error", "code": "insufficient_quota"}),
                402,
            ),
            (json!({"type": "overloaded_error"}), 529),
            (
                json!({"type": "error", "code": "server_is_overloaded"}),
                529,
            ),
            (json!({"code": 503}), 503),
            (json!({"code": 200, "type": "server_error"}), 500),
            (json!({"message": "?"}), 500),
        ] {
            let failure = broken_off(&error, OutputBegun::No).failure;
            let output_begun = OutputBegun::No;
            let code = status;
            assert_eq!(
                failure,
                CallFailure::Status { code, output_begun },
                "{error}"
            );
        }
    }

    #[test]
    fn once_output_has_begun_no_code_gives_money_back() {
        for (_, names) in STATUSES {
            for name in *names {
                let error = broken_off(&json!({"code": name}), OutputBegun::Yes);
                assert_eq!(error.failure.outcome(), CallOutcome::InDoubt, "{name}");
            }
        }
    }
}
