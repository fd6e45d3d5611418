//! Tells code from comments and text in Rust source.
//!
//! Both results have the length and the lines of the source, so that places stay the same: in
//! `code` comments are blank and the insides of strings are `_`; in `comments` all else is blank.
//! This is not a parser: it knows no grammar beyond literals. Read `tree` next.

/// A source split in two.
#[derive(Debug)]
pub(crate) struct Split {
    /// The code without its comments and without what its strings say.
    pub(crate) code: String,
    /// The comments alone.
    pub(crate) comments: String,
}

/// Splits a source.
pub(crate) fn split(text: &str) -> Split {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        at: 0,
        code: Vec::new(),
        comments: Vec::new(),
    };
    lexer.run();
    Split {
        code: String::from_utf8_lossy(&lexer.code).into_owned(),
        comments: String::from_utf8_lossy(&lexer.comments).into_owned(),
    }
}

/// Whether a byte can be part of a name.
pub(crate) const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    code: Vec<u8>,
    comments: Vec<u8>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'/')) => self.line_comment(),
                (b'/', Some(b'*')) => self.block_comment(),
                (b'"', _) => self.string(),
                (b'\'', _) => self.quote(),
                (b'r' | b'b' | b'c', _) if !self.after_name() => self.prefixed(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn after_name(&self) -> bool {
        self.at > 0 && is_name(self.bytes[self.at - 1])
    }

    /// Takes the next byte as it is into one side and a stand-in into the other.
    fn take(&mut self, code: Option<u8>, comment: Option<u8>) {
        let Some(byte) = self.peek(0) else { return };
        let pick = |wanted: Option<u8>| {
            if byte == b'\n' {
                byte
            } else {
                wanted.unwrap_or(b' ')
            }
        };
        self.code.push(pick(code));
        self.comments.push(pick(comment));
        self.at += 1;
    }

    fn keep(&mut self) {
        self.take(self.peek(0), None);
    }

    fn hide(&mut self) {
        self.take(Some(b'_'), None);
    }

    fn comment(&mut self) {
        self.take(None, self.peek(0));
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.comment();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => depth += 1,
                (b'*', Some(b'/')) => depth -= 1,
                _ => {
                    self.comment();
                    continue;
                }
            }
            self.comment();
            self.comment();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' => return self.keep(),
                b'\\' => {
                    self.hide();
                    self.hide();
                }
                _ => self.hide(),
            }
        }
    }

    /// A character's literal or a lifetime.
    fn quote(&mut self) {
        let is_char = match (self.peek(1), self.peek(2)) {
            (Some(b'\\'), _) => true,
            (Some(first), Some(b'\'')) => first != b'\'',
            // A character of several bytes is no lifetime.
            (Some(first), _) => !first.is_ascii(),
            (None, _) => false,
        };
        self.keep();
        if !is_char {
            return;
        }
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\'' => return self.keep(),
                b'\\' => {
                    self.hide();
                    self.hide();
                }
                _ => self.hide(),
            }
        }
    }

    /// A name, or a literal behind `r`, `b`, `c`, `br` or `cr`.
    fn prefixed(&mut self) {
        let raw_at = usize::from(self.peek(0) != Some(b'r'));
        if self.peek(raw_at) == Some(b'r') {
            let mut hashes = 0;
            while self.peek(raw_at + 1 + hashes) == Some(b'#') {
                hashes += 1;
            }
            if self.peek(raw_at + 1 + hashes) == Some(b'"') {
                return self.raw_string(hashes);
            }
        }
        self.keep();
    }

    fn raw_string(&mut self, hashes: usize) {
        while self.peek(0).is_some_and(|byte| byte != b'"') {
            self.keep();
        }
        self.keep();
        while let Some(byte) = self.peek(0) {
            if byte == b'"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some(b'#')) {
                (0..=hashes).for_each(|_| self.keep());
                return;
            }
            self.hide();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        split(text).code
    }

    #[test]
    fn comments_are_blank_in_the_code_and_alone_in_the_comments() {
        let split = split("a // b\n/* c /* d */ e */ f");
        assert_eq!(split.code, "a     \n                  f");
        assert_eq!(split.comments, "  // b\n/* c /* d */ e */  ");
    }

    #[test]
    fn what_a_string_says_is_not_code() {
        assert_eq!(code(r#"x("// {\"", y)"#), r#"x("______", y)"#);
        assert_eq!(code("r#\"a\"{\"# + br\"\\\" z"), "r#\"___\"# + br\"_\" z");
    }

    #[test]
    fn characters_are_text_and_lifetimes_are_code() {
        assert_eq!(
            code(r"'{' '\'' b'\\' 'a: &'static str"),
            r"'_' '__' b'__' 'a: &'static str"
        );
    }

    #[test]
    fn names_that_begin_like_a_literal_stay() {
        assert_eq!(
            code("for r in bar r#type \"q\""),
            "for r in bar r#type \"_\""
        );
    }

    #[test]
    fn the_lines_stay_the_same() {
        let text = "a\n/*\n*/ \"\n\" r\"\n\"\n";
        assert_eq!(code(text).lines().count(), text.lines().count());
    }
}
