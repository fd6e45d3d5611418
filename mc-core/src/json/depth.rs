//! Values whose nesting is not known to be bounded: looked at, cut and dropped without recursion.
//!
//! Cloning, writing and dropping a value walk down all of its nesting on the stack. What is *not* here:
//! the limits of what the log keeps (`engine::content`), and of documents in text (the reader).

use serde_json::Value;

use super::MAX_DEPTH;

/// Whether a value is nested deeper than [`MAX_DEPTH`].
pub(crate) fn is_too_deep(value: &Value) -> bool {
    let mut open = vec![(value, 0_usize)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return true;
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    false
}

/// Drops a value, however deep.
pub(crate) fn take_apart(value: Value) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.into_iter().map(|(_, field)| field)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Cuts off what no reader would look at: a document that was too deep is so still, at the same place,
/// and can be written.
pub(crate) fn cut(value: &mut Value) {
    let mut open = vec![(value, 0_usize)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH + 1 {
            take_apart(value.take());
            continue;
        }
        match value {
            Value::Array(items) => open.extend(items.iter_mut().map(|item| (item, depth + 1))),
            Value::Object(fields) => {
                open.extend(fields.values_mut().map(|field| (field, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::from(1), |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn what_is_cut_is_still_too_deep_and_what_is_not_too_deep_is_not_cut() {
        for (depth, too_deep) in [(64, false), (65, true), (66, true), (200_000, true)] {
            let mut value = nested(depth);
            assert_eq!(is_too_deep(&value), too_deep, "{depth}");
            cut(&mut value);
            assert_eq!(is_too_deep(&value), too_deep, "{depth}");
            assert_eq!(value == nested(depth.min(70)), depth < 66, "{depth}");
        }
    }
}
