//! Finds the functions of a file and how long they are.
//!
//! Counts as clippy does: source lines between the braces of the body. It is a counter for the
//! scoreboard, not a check: the hard limit is clippy's. Read `score` next.

use crate::lexer::is_name;
use crate::test_code::{line_of, matching};
use crate::tree::Source;

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// The source lines of its body.
    pub(crate) length: usize,
    /// Whether it is compiled for tests alone.
    pub(crate) test: bool,
}

/// Every function of a file, those inside others too.
pub(crate) fn find(source: &Source) -> Vec<Function> {
    source
        .code
        .match_indices("fn ")
        .filter_map(|(at, _)| function(source, at))
        .collect()
}

fn function(source: &Source, at: usize) -> Option<Function> {
    let bytes = source.code.as_bytes();
    if at > 0 && is_name(bytes[at - 1]) {
        return None;
    }
    let name: String = source.code[at + 3..]
        .chars()
        .take_while(|c| is_name(*c as u8))
        .collect();
    let open = body(bytes, at + 3 + name.len())?;
    let close = matching(bytes, open).min(bytes.len());
    let inside = source.code.get(open + 1..close).unwrap_or_default();
    let length = inside
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let line = line_of(bytes, at);
    (!name.is_empty()).then(|| Function {
        name,
        line: line + 1,
        length,
        test: source.is_test(line),
    })
}

/// The brace that opens the body; none for a declaration.
fn body(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'{' => return Some(at),
            b';' => return None,
            b'(' | b'[' => at = matching(bytes, at) + 1,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    fn lengths(text: &str) -> Vec<(String, usize)> {
        let tree = tree(&[("src/a.rs", text)]);
        find(&tree.sources[0])
            .into_iter()
            .map(|f| (f.name, f.length))
            .collect()
    }

    #[test]
    fn only_source_lines_of_the_body_count() {
        let text =
            "pub fn a<T>(x: [u8; 2]) -> T\nwhere\n    T: B,\n{\n    // c\n\n    d();\n    e()\n}\n";
        assert_eq!(lengths(text), [("a".into(), 2)]);
    }

    #[test]
    fn declarations_types_and_names_are_no_functions() {
        assert!(lengths("trait A { fn b(&self); }\ntype C = fn (u8);\nlet often = 1;").is_empty());
    }

    #[test]
    fn a_body_on_one_line_has_one() {
        assert_eq!(
            lengths("fn a() { b() }\nfn c() {}"),
            [("a".into(), 1), ("c".into(), 0)]
        );
    }
}
