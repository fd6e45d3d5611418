//! One list in a file of Python, read as the JSON value that says the same: no code runs.
//!
//! Only literals are read: lists, tuples, dicts with text as keys, text, numbers (as their digits),
//! `None`, `True`, `False`, `Decimal(..)`, days and times of day, and calls with keywords alone,
//! which become objects. Anything else is refused with its line. What is *not* here: strings
//! (`python_text`), and what the values mean (`genai`).

use serde_json::{Map, Value};

use super::python_text;
use crate::error::{Error, Result};
use crate::json::MAX_DEPTH;

/// The most values of one list.
const MAX_VALUES: usize = 5_000_000;

/// Where the expression that the file assigns to `name` at the begin of a line starts, if it does.
pub(super) fn assignment(text: &str, name: &str) -> Option<usize> {
    let mut start = 0_usize;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix(name).map(str::trim_start);
        if rest.is_some_and(|rest| rest.starts_with([':', '='])) {
            let equals = line.find('=')?;
            return start.checked_add(equals)?.checked_add(1);
        }
        start = start.checked_add(line.len())?;
    }
    None
}

/// Reads the expression that starts there; it has to be the last of the file.
///
/// # Errors
/// `InvalidInput` with the line of the first thing that is no literal.
pub(super) fn read(text: &str, start: usize) -> Result<Value> {
    let mut reader = Reader {
        text,
        rest: text.get(start..).unwrap_or_default(),
        values: 0,
    };
    let read = reader.value(0).and_then(|value| {
        reader.skip_blank();
        match reader.rest {
            "" => Ok(value),
            _ => Err("something follows the list".to_owned()),
        }
    });
    read.map_err(|rule| Error::invalid("", format!("line {}: {rule}", reader.line())))
}

/// A value, or the rule that the text at hand breaks.
type Read<T> = std::result::Result<T, String>;

/// The text, and what of it is still to be read.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    values: usize,
}

/// What stands between the brackets of a call.
#[derive(Default)]
struct Arguments {
    positional: Vec<Value>,
    keywords: Map<String, Value>,
}

impl<'a> Reader<'a> {
    fn line(&self) -> usize {
        let read = self.text.len().saturating_sub(self.rest.len());
        let before = self.text.get(..read).unwrap_or_default();
        before.matches('\n').count().saturating_add(1)
    }

    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix('#') else {
                return;
            };
            self.rest = comment.find('\n').map_or("", |end| &comment[end..]);
        }
    }

    /// Takes a mark, blanks before it too.
    fn take(&mut self, mark: char) -> bool {
        self.skip_blank();
        let behind = self.rest.strip_prefix(mark);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    /// Takes as many characters as fit; none of them is a blank.
    fn word(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (word, behind) = self.rest.split_at(end);
        self.rest = behind;
        word
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        self.values = self.values.saturating_add(1);
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(format!(
                "at most {MAX_DEPTH} values inside each other and {MAX_VALUES} in all"
            ));
        }
        self.skip_blank();
        let inner = depth.saturating_add(1);
        if let Some(read) = self.text_value()? {
            return Ok(Value::String(read));
        }
        match self.rest.chars().next() {
            Some('[') => self.list(']', inner).map(|(items, _)| Value::Array(items)),
            Some('(') => self.list(')', inner).map(|(mut items, commas)| {
                // Brackets around one value are no tuple.
                let alone = (commas == 0).then(|| items.pop()).flatten();
                alone.unwrap_or(Value::Array(items))
            }),
            Some('{') => self.dict(inner),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.named(inner),
            Some(c) => Err(format!("`{c}` begins no literal")),
            None => Err("a value is missing".to_owned()),
        }
    }

    /// Text, if some stands here; pieces beside each other are one.
    fn text_value(&mut self) -> Read<Option<String>> {
        let mut whole = None;
        while let Some((piece, behind)) = python_text::read(self.rest)? {
            whole.get_or_insert_with(String::new).push_str(&piece);
            self.rest = behind;
            self.skip_blank();
        }
        Ok(whole)
    }

    /// The values between brackets, and the commas after them.
    fn list(&mut self, close: char, depth: usize) -> Read<(Vec<Value>, usize)> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        let (mut items, mut commas) = (Vec::new(), 0_usize);
        while !self.take(close) {
            self.comma_between(items.len(), commas, close)?;
            items.push(self.value(depth)?);
            commas = commas.saturating_add(usize::from(self.take(',')));
        }
        Ok((items, commas))
    }

    /// Refuses a value that stands beside another one without a comma.
    fn comma_between(&self, values: usize, commas: usize, close: char) -> Read<()> {
        if values == commas {
            Ok(())
        } else {
            let found = self.rest.chars().next();
            let found = found.map_or("the end".to_owned(), |c| format!("`{c}`"));
            Err(format!("a comma or `{close}` is wanted, not {found}"))
        }
    }

    fn dict(&mut self, depth: usize) -> Read<Value> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        let (mut fields, mut commas) = (Map::new(), 0_usize);
        while !self.take('}') {
            self.comma_between(fields.len(), commas, '}')?;
            let key = self.text_value()?.ok_or("a key is text")?;
            if !self.take(':') {
                return Err("a colon is wanted after a key".to_owned());
            }
            let value = self.value(depth)?;
            if fields.insert(key, value).is_some() {
                return Err("a key is given twice".to_owned());
            }
            commas = commas.saturating_add(usize::from(self.take(',')));
        }
        Ok(Value::Object(fields))
    }

    /// A number as its digits.
    fn number(&mut self) -> Read<Value> {
        let numeric = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
        let word = self.word(numeric);
        let digits = word.replace('_', "");
        let plain = digits.chars().all(|c| "0123456789.eE+-".contains(c));
        // Only the form is looked at: the digits stay text.
        if plain && digits.parse::<f64>().is_ok() {
            Ok(Value::String(digits))
        } else {
            Err(format!("`{word}` is no decimal number"))
        }
    }

    /// A word, or a call of one.
    fn named(&mut self, depth: usize) -> Read<Value> {
        let name = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        if self.take('(') {
            let arguments = self.arguments(depth)?;
            return called(name, arguments);
        }
        match name {
            "None" => Ok(Value::Null),
            "True" => Ok(Value::Bool(true)),
            "False" => Ok(Value::Bool(false)),
            "datetime.UTC" | "datetime.timezone.utc" | "timezone.utc" => {
                Ok(Value::String(UTC.to_owned()))
            }
            other => Err(format!("`{other}` is no literal")),
        }
    }

    fn arguments(&mut self, depth: usize) -> Read<Arguments> {
        let (mut taken, mut commas) = (Arguments::default(), 0_usize);
        while !self.take(')') {
            let values = taken.positional.len().saturating_add(taken.keywords.len());
            self.comma_between(values, commas, ')')?;
            if let Some(keyword) = self.keyword() {
                let value = self.value(depth)?;
                if taken.keywords.insert(keyword.to_owned(), value).is_some() {
                    return Err(format!("`{keyword}` is given twice"));
                }
            } else if taken.keywords.is_empty() {
                taken.positional.push(self.value(depth)?);
            } else {
                return Err("a value without a name follows one with a name".to_owned());
            }
            commas = commas.saturating_add(usize::from(self.take(',')));
        }
        Ok(taken)
    }

    /// The name before an `=`, if one stands here.
    fn keyword(&mut self) -> Option<&'a str> {
        self.skip_blank();
        let before = self.rest;
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if !name.is_empty() && self.take('=') {
            return Some(name);
        }
        self.rest = before;
        None
    }
}

/// What the zone of a time becomes; no other zone is a literal.
const UTC: &str = "Z";

/// What a call stands for.
fn called(name: &str, arguments: Arguments) -> Read<Value> {
    let Arguments {
        positional,
        mut keywords,
    } = arguments;
    let texts: Option<Vec<&str>> = positional.iter().map(Value::as_str).collect();
    let texts = texts.ok_or_else(|| format!("`{name}` takes text and numbers"))?;
    let read = match name.rsplit('.').next().unwrap_or_default() {
        "Decimal" => match texts.as_slice() {
            [text] if keywords.is_empty() => Some((*text).to_owned()),
            _ => None,
        },
        "date" => match texts.as_slice() {
            [year, month, day] if keywords.is_empty() => {
                Some(format!("{year:0>4}-{month:0>2}-{day:0>2}"))
            }
            _ => None,
        },
        "time" => {
            let zone = keywords.remove("tzinfo");
            let zone = zone.as_ref().and_then(Value::as_str).unwrap_or_default();
            match texts.as_slice() {
                [hour, minute] if keywords.is_empty() => {
                    Some(format!("{hour:0>2}:{minute:0>2}:00{zone}"))
                }
                [hour, minute, second] if keywords.is_empty() => {
                    Some(format!("{hour:0>2}:{minute:0>2}:{second:0>2}{zone}"))
                }
                _ => None,
            }
        }
        _ if positional.is_empty() => return Ok(object(keywords)),
        _ => None,
    };
    let read = read.ok_or_else(|| format!("`{name}` has no such form here"))?;
    Ok(Value::String(read))
}

/// The fields that have a value. A name that is a word of the language has a `_` behind it there.
fn object(keywords: Map<String, Value>) -> Value {
    let given = keywords.into_iter().filter(|(_, value)| !value.is_null());
    let fields = given.map(|(key, value)| (key.trim_end_matches('_').to_owned(), value));
    Value::Object(fields.collect())
}
