//! What expressions know about values: their kinds, equality and order, and their size.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// The kind of a value, as an error names it.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether two values are equal: numbers by what they are worth, all else by type and content.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order(left, right) == Ordering::Equal,
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, l)| right.get(key).is_some_and(|r| equal(l, r)))
        }
        _ => left == right,
    }
}

/// The integer that a number is, if it is one.
pub(super) fn integer(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// The exact order of two numbers, also of an integer and a decimal.
pub(super) fn order(left: &Number, right: &Number) -> Ordering {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(left), None) => order_mixed(left, decimal(right)),
        (None, Some(right)) => order_mixed(right, decimal(left)).reverse(),
        // Both are finite, so they have an order; zero and minus zero are equal.
        (None, None) => decimal(left)
            .partial_cmp(&decimal(right))
            .unwrap_or(Ordering::Equal),
    }
}

fn decimal(number: &Number) -> f64 {
    number.as_f64().unwrap_or(0.0)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` holds at the ends of i128, as wanted"
)]
fn order_mixed(left: i128, right: f64) -> Ordering {
    let whole = right.trunc();
    left.cmp(&(whole as i128)).then_with(|| {
        // The whole parts are equal: what is left of the decimal decides.
        whole.partial_cmp(&right).unwrap_or(Ordering::Equal)
    })
}

/// The size of a value, or `None` where it is more than `limit`.
///
/// It is about the length of the compact JSON: texts and keys count their bytes and the signs around
/// them, any other value counts 8. So it takes a look at each value, not at each byte.
pub(crate) fn size(value: &Value, limit: u64) -> Option<u64> {
    let mut left = limit;
    count(value, &mut left)?;
    Some(limit - left)
}

fn count(value: &Value, left: &mut u64) -> Option<()> {
    let mut take = |bytes: usize| {
        *left = left.checked_sub(u64::try_from(bytes).ok()?)?;
        Some(())
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => take(8),
        Value::String(text) => take(text.len().checked_add(2)?),
        Value::Array(items) => {
            take(items.len().checked_add(2)?)?;
            items.iter().try_for_each(|item| count(item, left))
        }
        Value::Object(fields) => {
            take(2)?;
            fields.iter().try_for_each(|(key, inner)| {
                *left = left.checked_sub(u64::try_from(key.len()).ok()?.checked_add(4)?)?;
                count(inner, left)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn integers_and_decimals_have_one_exact_order() {
        for (left, right, expected) in [
            ("1", "1.0", Ordering::Equal),
            ("1", "1.5", Ordering::Less),
            ("-1", "-1.5", Ordering::Greater),
            ("0", "-0.0", Ordering::Equal),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("18446744073709551615", "1e300", Ordering::Less),
            ("18446744073709551615", "-1", Ordering::Greater),
            ("0.5", "0.25", Ordering::Greater),
        ] {
            assert_eq!(
                order(&number(left), &number(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                order(&number(right), &number(left)),
                expected.reverse(),
                "{right} {left}"
            );
        }
    }

    #[test]
    fn values_of_different_types_are_not_equal() {
        assert!(equal(&json!([1, {"a": 2}]), &json!([1.0, {"a": 2.0}])));
        assert!(!equal(&json!(1), &json!("1")));
        assert!(!equal(&json!(0), &json!(false)));
        assert!(!equal(&json!({"a": 1}), &json!({"b": 1})));
        assert!(!equal(&json!([1]), &json!([1, 2])));
    }

    #[test]
    fn size_counts_texts_keys_and_values() {
        for (value, bytes) in [
            (json!("abc"), 5),
            (json!(["a", "b"]), 10),
            (json!({"ab": "c"}), 11),
            (json!([1, null, true]), 29),
            (json!({}), 2),
        ] {
            assert_eq!(size(&value, bytes), Some(bytes), "{value}");
            assert_eq!(size(&value, bytes - 1), None, "{value}");
        }
    }
}
