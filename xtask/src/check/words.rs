//! Letters, marks of unfinished work, and words that do not belong.
//!
//! Spelling is not checked here.

use crate::finding::Finding;
use crate::lexer::is_name;
use crate::rules::BANNED_WORDS;
use crate::tree::Tree;

/// Characters outside ASCII in Rust files: write them as escapes.
pub(crate) fn letters(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        for (number, line) in source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_ascii())
        {
            let letter = line
                .chars()
                .find(|letter| !letter.is_ascii())
                .unwrap_or_default();
            let advice = format!("write `{}` or use plain letters", letter.escape_unicode());
            findings.push(Finding::new(&source.path, number + 1, "ascii", advice));
        }
    }
    findings
}

/// Marks of unfinished work that name no issue.
pub(crate) fn marks(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        for (number, line) in source.comments.lines().enumerate() {
            if MARKS.iter().any(|mark| is_marked(line, mark)) {
                let advice = "finish it, or name its issue: `(#12)` right behind the mark";
                findings.push(Finding::new(&source.path, number + 1, "unfinished", advice));
            }
        }
    }
    findings
}

// Put together so that this file has none.
const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

fn is_marked(comment: &str, mark: &str) -> bool {
    comment.match_indices(mark).any(|(at, _)| {
        let rest = &comment[at + mark.len()..];
        let alone = !comment[..at].bytes().next_back().is_some_and(is_name)
            && !rest.bytes().next().is_some_and(is_name);
        alone && !names_an_issue(rest)
    })
}

/// Whether a text begins like `(#12)`.
fn names_an_issue(rest: &str) -> bool {
    let id = rest
        .strip_prefix("(#")
        .and_then(|rest| rest.split_once(')'))
        .map_or("", |r| r.0);
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Words that do not belong in the repository.
pub(crate) fn banned(tree: &Tree) -> Vec<Finding> {
    let sources = tree.sources.iter().map(|file| (&file.path, &file.text));
    let texts = tree.texts.iter().map(|file| (&file.path, &file.text));
    let mut findings = Vec::new();
    for (path, text) in sources.chain(texts) {
        for (word, advice) in BANNED_WORDS {
            for line in lines_with(text, word) {
                findings.push(Finding::new(
                    path,
                    line,
                    "word",
                    format!("`{word}`: {advice}"),
                ));
            }
        }
    }
    findings
}

/// The lines, from 1, where a word stands alone: `/a/` is not in `b/a/`.
fn lines_with(text: &str, word: &str) -> Vec<usize> {
    if !text.contains(word) {
        return Vec::new();
    }
    let stands = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at]
                .bytes()
                .next_back()
                .is_some_and(|byte| is_name(byte) || byte == b'.')
        })
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| stands(line))
        .map(|(number, _)| number + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::found;

    #[test]
    fn letters_outside_ascii_are_named_as_escapes() {
        let findings = found(
            letters,
            &[("a.rs", "// a\n// \u{fc}\n"), ("a.md", "\u{fc}")],
        );
        assert_eq!(
            findings,
            ["a.rs:2: ascii: write `\\u{fc}` or use plain letters"]
        );
    }

    #[test]
    fn a_mark_needs_an_issue() {
        let text = "// TODO later\n// TODO(#12): later\nlet x = \"TODO\";\n// TODOS\n";
        assert_eq!(found(marks, &[("a.rs", text)]).len(), 1);
    }

    #[test]
    fn absolute_paths_of_a_machine_are_refused_everywhere() {
        let path = BANNED_WORDS[0].0;
        let text = format!("a\nsee {path}x\nnot home{path}x nor ..{path}\n");
        let findings = found(banned, &[("a.md", &text), ("b.rs", &text)]);
        assert_eq!(findings.len(), 2);
        assert!(findings[0].starts_with("b.rs:2: word:"), "{findings:?}");
    }
}
