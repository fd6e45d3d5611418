//! Text from elsewhere, made safe to print: nothing steers a terminal or turns a line around.
//!
//! For people such a character is written as its escape, `\u{1b}`; in JSON as `\u001b`, which
//! reads back as what it was.

/// Characters of a message that a line of a table shows.
const MAX_SHOWN: usize = 96;

/// Control characters, and those that change the direction or the lines of what follows.
const fn steers(c: char) -> bool {
    matches!(
        c,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// One line: every such character escaped.
pub(crate) fn clean(text: &str) -> String {
    escaped(text, |_| false)
}

/// Lines: every such character escaped, but for line feeds.
pub(crate) fn clean_lines(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) && !kept(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Bytes that are to be judged by whoever reads them: complete, and whatever cannot be seen, or
/// changes how the rest is seen, as its escape; what is not text as `\\xNN`.
pub(crate) fn exposed(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let plain = matches!(c, ' '..='~');
            let seen = plain || (!steers(c) && c.escape_debug().len() == 1);
            if seen {
                safe.push(c);
            } else {
                safe.extend(c.escape_unicode());
            }
        }
        safe.extend(
            chunk
                .invalid()
                .iter()
                .flat_map(|byte| format!("\\x{byte:02x}").into_bytes())
                .map(char::from),
        );
    }
    safe
}

/// JSON text: what JSON itself leaves as it is is escaped too. Strings keep their meaning.
pub(crate) fn clean_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) && c != '\n' {
            safe.extend(format!("\\u{:04x}", u32::from(c)).chars());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The beginning of a message, on one line.
pub(crate) fn shortened(message: &str) -> String {
    let line = clean(message.trim_end());
    if line.chars().count() <= MAX_SHOWN {
        return line;
    }
    let begin: String = line.chars().take(MAX_SHOWN - 3).collect();
    format!("{begin}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(clean("\u{202e}x\u{9b}"), "\\u{202e}x\\u{9b}");
        assert_eq!(clean("tea \u{e9} \u{4e2d}"), "tea \u{e9} \u{4e2d}");
        assert_eq!(clean_lines("a\nb\r"), "a\nb\\r");
    }

    #[test]
    fn what_is_judged_is_shown_whole_and_hides_nothing() {
        let sly = "{\"to\":\"a\\\\b\u{202e}\u{200b}\u{2060}\u{ad}\u{e0041}\u{1b}\u{301}\u{e9}\"}";
        let shown = exposed(sly.as_bytes());
        let expected =
            "{\"to\":\"a\\\\b\\u{202e}\\u{200b}\\u{2060}\\u{ad}\\u{e0041}\\u{1b}\\u{301}\u{e9}\"}";
        assert_eq!(shown, expected);
        assert_eq!(exposed(b"a\xff\xfeb"), "a\\xff\\xfeb");
        assert_eq!(exposed("x".repeat(500_000).as_bytes()).len(), 500_000);
    }

    #[test]
    fn escaped_json_reads_back_as_what_it_was() {
        let value = serde_json::json!({"m": "\u{1b}\u{202e}\u{7f}\u{2028}\n"});
        let text = clean_json(&value.to_string());
        assert!(text.is_ascii(), "{text}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn a_long_message_ends_with_dots() {
        assert_eq!(shortened("short\n"), "short");
        let long = shortened(&"\u{e9}".repeat(500));
        assert_eq!(long.chars().count(), MAX_SHOWN);
        assert!(long.ends_with("..."));
    }
}
