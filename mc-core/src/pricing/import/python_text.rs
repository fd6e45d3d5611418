//! Strings of Python: both quotes, once or three times, with escapes or raw.
//!
//! What is *not* here: bytes and strings with values inside (`b".."`, `f".."`), which are refused.

/// Reads the string that stands first, if one does: its text, and what follows it.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn read(text: &str) -> Result<Option<(String, &str)>, String> {
    let end = text.find(|c: char| !c.is_ascii_alphabetic());
    let (prefix, quoted) = text.split_at(end.unwrap_or(text.len()));
    if !quoted.starts_with(['"', '\'']) {
        return Ok(None);
    }
    let raw = match prefix {
        "" | "u" | "U" => Escapes::Read,
        "r" | "R" => Escapes::Kept,
        other => return Err(format!("`{other}` before a quote is not read")),
    };
    let quote = quoted.get(..1).unwrap_or_default();
    let three = quote.repeat(3);
    if let Some(body) = quoted.strip_prefix(&three) {
        return unquoted(body, &three, raw).map(Some);
    }
    let body = quoted.get(1..).unwrap_or_default();
    unquoted(body, quote, raw).map(Some)
}

/// What a backslash means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Read,
    Kept,
}

/// The text up to the quotes, and what follows them.
fn unquoted<'a>(
    body: &'a str,
    quotes: &str,
    escapes: Escapes,
) -> Result<(String, &'a str), String> {
    let mut out = String::new();
    let mut rest = body;
    loop {
        if let Some(behind) = rest.strip_prefix(quotes) {
            return Ok((out, behind));
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => return Err("a string does not end".to_owned()),
            Some('\n') if quotes.len() == 1 => return Err("a string does not end".to_owned()),
            Some('\\') if escapes == Escapes::Kept => {
                out.push('\\');
                out.extend(chars.next());
                rest = chars.as_str();
            }
            Some('\\') => {
                let (c, behind) = escaped(chars.as_str())?;
                out.extend(c);
                rest = behind;
            }
            Some(c) => {
                out.push(c);
                rest = chars.as_str();
            }
        }
    }
}

/// What follows a backslash: the character that it means, or none at the end of a line.
fn escaped(text: &str) -> Result<(Option<char>, &str), String> {
    let mut chars = text.chars();
    let kind = chars.next().ok_or("a string does not end")?;
    let rest = chars.as_str();
    let plain = match kind {
        '\n' => return Ok((None, rest)),
        '\\' | '\'' | '"' => kind,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'x' => return hexadecimal(rest, 2),
        'u' => return hexadecimal(rest, 4),
        'U' => return hexadecimal(rest, 8),
        other => return Err(format!("the escape `\\{other}` is not read")),
    };
    Ok((Some(plain), rest))
}

fn hexadecimal(text: &str, digits: usize) -> Result<(Option<char>, &str), String> {
    let (code, rest) = text.split_at_checked(digits).unwrap_or(("", text));
    let hexadecimal = !code.is_empty() && code.chars().all(|c| c.is_ascii_hexdigit());
    let number = u32::from_str_radix(code, 16).ok().filter(|_| hexadecimal);
    let read = number.and_then(char::from_u32);
    let read = read.ok_or_else(|| format!("an escape of {digits} digits is no character"))?;
    Ok((Some(read), rest))
}
