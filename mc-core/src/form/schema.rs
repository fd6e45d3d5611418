//! Compiled JSON schemas: what an input or an output has to look like.
//!
//! A schema refers only inside itself (`$ref` starts with `#`); patterns run in linear time; known
//! formats are checked. Violations never quote the value, so they may stand in the log's facts.

use std::fmt;
use std::sync::{Arc, LazyLock};

use jsonschema::{PatternOptions, ValidationError, ValidationOptions, Validator};
use serde_json::Value;

use crate::error::Violation;
use crate::json::{self, escape_pointer};

/// The largest schema, in bytes of compact JSON.
pub const MAX_SCHEMA_BYTES: u64 = 64 * 1_024;
/// The most violations that one value's check names.
pub const MAX_VIOLATIONS: usize = 100;
/// The most checks, values times places of the schema, after which every difference is looked for: each
/// may be a difference that takes memory until the last is found.
const MAX_CHECKS: usize = 100_000;
/// The most memory of one compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1_024 * 1_024;
/// The longest text of one violation, in characters.
const MAX_RULE_CHARS: usize = 300;

/// How every schema is compiled; made once.
static OPTIONS: LazyLock<ValidationOptions<'static>> = LazyLock::new(|| {
    jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
});

/// Why a value is not a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// The schema is too large.
    #[error("a schema has at most {MAX_SCHEMA_BYTES} bytes")]
    TooLarge,
    /// The schema refers to something outside itself.
    #[error("`{keyword}` refers only inside the schema, with `#...`; a file or URL is refused")]
    Outside {
        /// The place in the schema, as a JSON pointer.
        at: String,
        /// The keyword.
        keyword: String,
    },
    /// The schema breaks the rules of schemas.
    #[error("{reason}")]
    Invalid {
        /// The place in the schema, as a JSON pointer.
        at: String,
        /// The reason.
        reason: String,
    },
}

impl SchemaFault {
    /// The place in the schema, as a JSON pointer.
    pub fn at(&self) -> &str {
        match self {
            Self::TooLarge => "",
            Self::Outside { at, .. } | Self::Invalid { at, .. } => at,
        }
    }
}

/// A compiled schema. A clone is cheap.
#[derive(Clone)]
pub struct Schema(Arc<Compiled>);

struct Compiled {
    validator: Validator,
    /// How many values the schema is written with.
    places: usize,
    /// Whether a difference may have the differences of branches in it.
    branches: bool,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// A [`SchemaFault`] with the place: too large, too deep, a reference to a file or URL, not a
    /// schema.
    pub fn compile(schema: &Value) -> Result<Self, SchemaFault> {
        if json::is_too_deep(schema) {
            let (at, reason) = (String::new(), json::too_deep());
            return Err(SchemaFault::Invalid { at, reason });
        }
        Self::compile_text(schema, &schema.to_string())
    }

    /// Compiles a schema whose compact JSON is known.
    pub(crate) fn compile_text(schema: &Value, text: &str) -> Result<Self, SchemaFault> {
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_SCHEMA_BYTES {
            return Err(SchemaFault::TooLarge);
        }
        // Most schemas refer to nothing: no place of theirs has to be written down.
        if text.contains("Ref\"") || text.contains("$ref\"") {
            inside_only(schema, &mut String::new())?;
        }
        let validator = OPTIONS
            .build(schema)
            .map_err(|error| SchemaFault::Invalid {
                at: error.instance_path().to_string(),
                reason: short(&error.to_string()),
            })?;
        Ok(Self(Arc::new(Compiled {
            validator,
            places: nodes(schema, MAX_CHECKS),
            branches: text.contains("anyOf\"") || text.contains("oneOf\""),
        })))
    }

    /// Whether a value is as the schema says.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.0.validator.is_valid(value)
    }

    /// How a value differs from what the schema says, with JSON pointers into the value; at most
    /// [`MAX_VIOLATIONS`], and of a large value only the first. Empty if it does not differ.
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        let Compiled {
            validator,
            places,
            branches,
        } = &*self.0;
        if validator.is_valid(value) {
            return Vec::new();
        }
        // Whoever asks for all differences has all of them made, also those that nobody reads.
        let most = MAX_CHECKS / (*places).max(1);
        let values = nodes(value, most.saturating_add(1));
        if values <= most {
            let found = validator.iter_errors(value).take(MAX_VIOLATIONS);
            return found.map(|error| violation(&error)).collect();
        }
        if *branches {
            let rule = "differs from every branch of the schema, or from something else in it; \
                        the value is too large to say where";
            return vec![Violation::new("", rule)];
        }
        let first = validator.validate(value).err();
        first.iter().map(violation).collect()
    }
}

fn violation(error: &ValidationError<'_>) -> Violation {
    let rule = short(&error.masked().to_string());
    Violation::new(error.instance_path().to_string(), rule)
}

/// How many values there are in one, counted up to a number.
fn nodes(value: &Value, most: usize) -> usize {
    let (mut open, mut count) = (vec![value], 0);
    while let Some(value) = open.pop() {
        count += 1;
        if count >= most {
            break;
        }
        match value {
            Value::Array(items) => open.extend(items.iter().take(most)),
            Value::Object(fields) => open.extend(fields.values().take(most)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    count
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_RULE_CHARS).collect()
}

/// Refuses references that lead out of the schema.
fn inside_only(value: &Value, at: &mut String) -> Result<(), SchemaFault> {
    let part = |at: &mut String, part: &str, inner: &Value| {
        let length = at.len();
        at.push('/');
        at.push_str(&escape_pointer(part));
        inside_only(inner, at)?;
        at.truncate(length);
        Ok(())
    };
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                // The values of these keywords are data, not schemas.
                if matches!(key.as_str(), "const" | "enum" | "default" | "examples") {
                    continue;
                }
                let refers = matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef");
                if refers
                    && inner
                        .as_str()
                        .is_some_and(|target| !target.starts_with('#'))
                {
                    let (at, keyword) = (format!("{at}/{key}"), key.clone());
                    return Err(SchemaFault::Outside { at, keyword });
                }
                part(at, key, inner)?;
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, inner)| part(at, &index.to_string(), inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn violations_have_pointers_and_do_not_quote_the_value() {
        let schema = json!({"type": "object", "required": ["angles"],
            "properties": {"angles": {"type": "array", "items": {"type": "string"}}}});
        let schema = Schema::compile(&schema).unwrap();
        assert!(schema.violations(&json!({"angles": ["a"]})).is_empty());
        let found = schema.violations(&json!({"angles": ["a", 4711]}));
        assert_eq!(found[0].path, "/angles/1");
        assert!(
            found[0].rule.contains("string") && !found[0].rule.contains("4711"),
            "{found:?}"
        );
        assert!(schema.violations(&json!({}))[0].rule.contains("angles"));
    }

    #[test]
    fn a_reference_leads_only_inside() {
        let inside = json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}});
        assert!(Schema::compile(&inside).is_ok());
        for target in [
            "file:///etc/passwd",
            "https://example.com/s.json",
            "other.json",
            "/x",
        ] {
            let schema = json!({"properties": {"a": {"$ref": target}}});
            let fault = Schema::compile(&schema).unwrap_err();
            assert_eq!(fault.at(), "/properties/a/$ref", "{target}");
        }
        let data = json!({"enum": [{"$ref": "x"}], "properties": {"$ref": {"type": "string"}}});
        assert!(Schema::compile(&data).is_ok());
    }

    #[test]
    fn a_schema_of_an_unknown_dialect_is_not_fetched() {
        let schema = json!({"$schema": "https://example.com/meta", "type": "object"});
        assert!(Schema::compile(&schema).is_err());
        let schema = json!({"allOf": [{"$id": "http://example.com/", "$ref": "#missing"}]});
        assert!(Schema::compile(&schema).is_err());
    }

    #[test]
    fn formats_and_patterns_are_checked() {
        let schema = json!({"properties": {"d": {"format": "date"}, "p": {"pattern": "^a+$"}}});
        let schema = Schema::compile(&schema).unwrap();
        assert_eq!(
            schema
                .violations(&json!({"d": "2026-02-30", "p": "b"}))
                .len(),
            2
        );
        assert!(schema.is_valid(&json!({"d": "2026-02-28", "p": "aa"})));
        assert!(Schema::compile(&json!({"pattern": "("})).is_err());
        assert!(Schema::compile(&json!({"type": "objekt"})).is_err());
    }

    #[test]
    fn a_schema_has_at_most_64_kib() {
        let schema = |n: usize| json!({"description": "x".repeat(n)});
        assert!(Schema::compile(&schema(65_000)).is_ok());
        assert_eq!(
            Schema::compile(&schema(65_536)).unwrap_err(),
            SchemaFault::TooLarge
        );
    }

    #[test]
    fn violations_are_at_most_a_hundred() {
        let schema = Schema::compile(&json!({"items": {"type": "string"}})).unwrap();
        let value: Value = (0..1_000).collect();
        assert_eq!(schema.violations(&value).len(), MAX_VIOLATIONS);
    }

    #[test]
    fn of_millions_of_differences_only_the_first_is_made() {
        let value: Value = (0..3_000_000).collect();
        let value = json!({ "list": value });
        let list = |items: Value| json!({"properties": {"list": items}});
        let plain = list(json!({"items": {"type": "string"}}));
        let found = Schema::compile(&plain).unwrap().violations(&value);
        assert_eq!((found.len(), &*found[0].path), (1, "/list/0"));
        assert!(found[0].rule.contains("string"), "{found:?}");
        let branches = list(json!({"anyOf": [{"items": {"type": "string"}}, {"type": "null"}]}));
        let found = Schema::compile(&branches).unwrap().violations(&value);
        assert_eq!((found.len(), &*found[0].path), (1, ""));
    }

    #[test]
    fn a_schema_without_end_is_refused_and_not_walked_down() {
        let mut schema = (0..200_000).fold(json!(1), |inner, _| Value::Array(vec![inner]));
        let fault = Schema::compile(&schema).unwrap_err();
        assert!(fault.to_string().contains("nested deeper than 64"));
        json::cut(&mut schema);
    }
}
