//! Finds the lines that are compiled for tests alone.
//!
//! Works on the lexer's `code`, where braces are braces. Also names the modules that a file
//! declares for tests, so that their files count as test code. Read `tree` next.

use crate::lexer::is_name;

/// What one file says about its tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCode {
    /// The first and last line of each test item, from 0.
    pub(crate) spans: Vec<(usize, usize)>,
    /// The test modules that are files of their own.
    pub(crate) modules: Vec<String>,
}

const MARKS: &[&str] = &["#[cfg(test)]", "#[cfg(all(test"];

/// Finds the items behind `#[cfg(test)]`.
pub(crate) fn find(code: &str) -> TestCode {
    let mut found = TestCode::default();
    if code.contains("#![cfg(test)]") {
        found.spans.push((0, code.lines().count()));
        return found;
    }
    let bytes = code.as_bytes();
    for mark in MARKS {
        for (start, _) in code.match_indices(mark) {
            let item = skip_attributes(bytes, start);
            let end = item_end(bytes, item);
            found
                .spans
                .push((line_of(bytes, start), line_of(bytes, end)));
            found
                .modules
                .extend(declared_module(&code[item..=end.min(code.len() - 1)]));
        }
    }
    found
}

/// The line of a place, from 0.
pub(crate) fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at.min(bytes.len())]
        .split(|byte| *byte == b'\n')
        .count()
        - 1
}

/// The place behind all attributes that begin at `at`.
fn skip_attributes(bytes: &[u8], mut at: usize) -> usize {
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'#') {
            return at;
        }
        at = matching(bytes, at + 1) + 1;
    }
}

/// The place of the bracket that closes the one at `at`, or the end.
pub(crate) fn matching(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    for (ahead, byte) in bytes[at.min(bytes.len())..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + ahead;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// The end of an item: its semicolon or its closing brace.
fn item_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b';' => return at,
            b'{' => return matching(bytes, at),
            b'(' | b'[' => at = matching(bytes, at) + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn declared_module(item: &str) -> Option<String> {
    let name = item
        .trim_end()
        .strip_suffix(';')?
        .rsplit_once("mod ")?
        .1
        .trim();
    name.bytes().all(is_name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_module_ends_at_its_brace() {
        let found = find("fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n");
        assert_eq!(
            found,
            TestCode {
                spans: vec![(1, 4)],
                modules: vec![]
            }
        );
    }

    #[test]
    fn a_test_module_in_its_own_file_is_named() {
        let found = find("#[cfg(test)]\n#[path_attribute]\npub(crate) mod matrix;\nfn a() {}\n");
        assert_eq!(
            found,
            TestCode {
                spans: vec![(0, 2)],
                modules: vec!["matrix".into()]
            }
        );
    }

    #[test]
    fn a_single_test_function_counts() {
        let found = find("#[cfg(all(test, unix))]\nfn a(x: [u8; 2]) -> u8 {\n 1 }\nfn b() {}");
        assert_eq!(found.spans, [(0, 2)]);
    }
}
