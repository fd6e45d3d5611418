//! Text from elsewhere, made safe to print: nothing steers a terminal, turns a line around or hides.
//!
//! For people such a character is written as its escape, `\u{1b}`; in JSON as `\u001b`, which
//! reads back as what it was. What a person is to judge (`exposed`) keeps nothing unseen at all;
//! other text keeps what shapes the character before it, as emoji and some scripts need.

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

/// Characters that are drawn as nothing: those of the property `Default_Ignorable_Code_Point`
/// (`DerivedCoreProperties.txt` of Unicode 17), and letters and symbols that are blank by their
/// names in `UnicodeData.txt`.
const UNSEEN: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    // Blank by their names: a braille pattern, a note's head, two hieroglyphs.
    ('\u{2800}', '\u{2800}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{13441}', '\u{13442}'),
];

/// Whether a character is drawn as nothing.
fn is_unseen(c: char) -> bool {
    UNSEEN
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&c))
}

/// Unseen characters that honest text needs: joiners, and selectors of how a character looks.
const fn shapes(c: char) -> bool {
    matches!(
        c,
        '\u{180b}'..='\u{180d}'
            | '\u{180f}'
            | '\u{200c}'..='\u{200d}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// What is escaped in any text.
fn hides(c: char) -> bool {
    // Most text is plain, and the table is not looked at for it.
    steers(c) || (c > '~' && is_unseen(c) && !shapes(c))
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
        if hides(c) && !kept(c) {
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
            let seen = plain || (!steers(c) && !is_unseen(c) && c.escape_debug().len() == 1);
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
        if hides(c) && c != '\n' {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            safe.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A word for a shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
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
    fn what_is_drawn_as_nothing_is_shown_to_whoever_judges() {
        let mut blank = String::new();
        for (first, last) in UNSEEN {
            blank.extend(*first..=*last);
        }
        let shown = exposed(blank.as_bytes());
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(
            exposed("pay\u{3164}\u{2800}".as_bytes()),
            "pay\\u{3164}\\u{2800}"
        );
        let seen = "tea \u{e9} \u{4e2d} \u{1f469} \u{ac00} \u{2803}";
        assert_eq!(exposed(seen.as_bytes()), seen);
    }

    #[test]
    fn other_text_shows_it_too_and_keeps_what_emoji_and_scripts_need() {
        let sly = "a\u{3164}\u{115f}\u{ffa0}\u{2800}\u{1d159}\u{34f}\u{180e}\u{e0041}\u{200b}";
        assert!(clean(sly).is_ascii(), "{}", clean(sly));
        let honest = "\u{2764}\u{fe0f} \u{1f469}\u{200d}\u{1f52c} \u{645}\u{6cc}\u{200c}\u{62e}";
        assert_eq!(clean(honest), honest);
        let shown = exposed(honest.as_bytes());
        assert!(
            shown.contains("\\u{fe0f}") && shown.contains("\\u{200d}"),
            "{shown}"
        );
    }

    #[test]
    fn a_path_with_a_space_is_one_word() {
        assert_eq!(quoted("a/b.redb"), "a/b.redb");
        assert_eq!(quoted("my store's"), "'my store'\\''s'");
    }

    #[test]
    fn escaped_json_reads_back_as_what_it_was() {
        let value = serde_json::json!({"m": "\u{1b}\u{202e}\u{7f}\u{2028}\u{e0041}\n"});
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
