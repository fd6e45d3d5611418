//! Splits an expression into tokens, each with its column.

use serde_json::Number;

use super::ExpressionFault;

/// The smallest decimal that a 64-bit float cannot tell from its neighbours.
const EXACT_DECIMAL: f64 = 9_007_199_254_740_992.0;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Number(Number),
    Text(String),
    Symbol(&'static str),
    End,
}

/// A token and the column where it starts, from 1.
pub(super) type Placed = (Token, usize);

/// Longer symbols first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 17] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "(", ")", "[", "]", ",", ".",
];

pub(super) fn fault(column: usize, reason: impl Into<String>) -> ExpressionFault {
    ExpressionFault {
        column,
        reason: reason.into(),
    }
}

/// Splits `source` into tokens; the last one is [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Placed>, ExpressionFault> {
    let mut reader = Reader {
        rest: source,
        column: 1,
    };
    let mut found = Vec::new();
    loop {
        reader.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let column = reader.column;
        let token = reader.token()?;
        let end = token == Token::End;
        found.push((token, column));
        if end {
            return Ok(found);
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Reader<'a> {
    fn token(&mut self) -> Result<Token, ExpressionFault> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(Token::End);
        };
        if first.is_ascii_alphabetic() || first == '_' {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            return Ok(Token::Name(name.to_owned()));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '"' || first == '\'' {
            return self.text(first);
        }
        let symbol = SYMBOLS
            .into_iter()
            .find(|symbol| self.rest.starts_with(symbol));
        let Some(symbol) = symbol else {
            return Err(fault(self.column, unknown(first)));
        };
        self.advance(symbol.len());
        Ok(Token::Symbol(symbol))
    }

    /// Moves over `bytes` of ASCII or whole characters.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.column += taken.chars().count();
        taken
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn number(&mut self) -> Result<Token, ExpressionFault> {
        let column = self.column;
        let (start, length) = (self.rest, self.rest.len());
        let whole = self.take_while(|c| c.is_ascii_digit());
        let fraction = self
            .rest
            .strip_prefix('.')
            .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
        if fraction {
            self.advance(1);
            self.take_while(|c| c.is_ascii_digit());
        }
        if self
            .rest
            .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        {
            return Err(fault(
                self.column,
                "a number has decimal digits and at most one point",
            ));
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(fault(column, "a number has no leading zeros"));
        }
        let text = &start[..length - self.rest.len()];
        let number = if fraction {
            decimal(text)
        } else {
            text.parse().ok().map(u64::into)
        };
        number
            .map(Token::Number)
            .ok_or_else(|| fault(column, "this number would lose digits"))
    }

    fn text(&mut self, quote: char) -> Result<Token, ExpressionFault> {
        let column = self.column;
        self.advance(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != quote && c != '\\'));
            match self.rest.chars().next() {
                None => return Err(fault(column, "this text is not closed")),
                Some(c) if c == quote => {
                    self.advance(1);
                    return Ok(Token::Text(text));
                }
                Some(_) => text.push(self.escape()?),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ExpressionFault> {
        let column = self.column;
        self.advance(1);
        let kind = self.rest.chars().next().unwrap_or(' ');
        let plain = match kind {
            '\\' | '"' | '\'' => Some(kind),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            _ => None,
        };
        if let Some(plain) = plain {
            self.advance(1);
            return Ok(plain);
        }
        let digits = self.rest.strip_prefix('u').and_then(|rest| rest.get(..4));
        let coded = digits
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        let Some(coded) = coded else {
            let reason =
                "an escape is one of \\\\ \\\" \\' \\n \\r \\t and \\uXXXX (no surrogates)";
            return Err(fault(column, reason));
        };
        self.advance(5);
        Ok(coded)
    }
}

fn decimal(text: &str) -> Option<Number> {
    let value: f64 = text.parse().ok()?;
    if value < EXACT_DECIMAL {
        Number::from_f64(value)
    } else {
        None
    }
}

fn unknown(found: char) -> String {
    match found {
        '=' => "`=` is not an operator; compare with `==`".to_owned(),
        '&' | '|' => format!("`{found}` is not an operator; use `{found}{found}`"),
        '?' | '*' | '/' | '%' => format!("the operator `{found}` is not part of this language"),
        _ => format!("`{}` has no meaning here", found.escape_default()),
    }
}
