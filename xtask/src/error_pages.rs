//! The index of the error pages, made from the kinds and the first sentence of each page.
//!
//! The pages themselves are written by hand. Read `check::pages` next.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::rules::ERROR_KINDS;
use crate::tree::Tree;

/// A kind of error, as the core declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its name in Rust.
    pub(crate) name: String,
    /// Its name on the wire.
    pub(crate) code: String,
    /// Whether the same call may succeed later.
    pub(crate) retry: bool,
}

/// Where the pages are.
pub(crate) const FOLDER: &str = "docs/errors/";
/// Their index.
pub(crate) const INDEX: &str = "docs/errors/README.md";

const HEAD: &str = "# Errors

Made by `cargo xtask errors` from the rows of `ErrorKind` and the pages; do not edit it by hand.

Every public call fails with one `Error`. Its kind says what to do next; its code is the same in
Rust, Python, Node, REST and on the command line. *Again* says whether the same call may succeed
later without a change by the caller.

| code | Rust | Python, Node | again | meaning |
|---|---|---|---|---|
";

/// The kinds in the order of their table.
pub(crate) fn kinds(tree: &Tree) -> Vec<Kind> {
    let sources = tree
        .sources
        .iter()
        .filter(|source| source.path.starts_with(ERROR_KINDS));
    sources
        .flat_map(|source| source.text.lines().filter_map(kind))
        .collect()
}

/// Reads a row of the table.
fn kind(line: &str) -> Option<Kind> {
    let (name, rest) = line.trim().split_once(" = \"")?;
    let (code, rest) = rest.split_once("\", retry: ")?;
    let retry = rest.strip_suffix(';')?.parse().ok()?;
    Some(Kind {
        name: name.to_owned(),
        code: code.to_owned(),
        retry,
    })
}

impl Kind {
    /// The path of its page.
    pub(crate) fn page(&self) -> String {
        format!("{FOLDER}{}.md", self.code)
    }

    fn again(&self) -> &'static str {
        match (self.code.as_str(), self.retry) {
            ("agent_failed", _) => "as the agent says",
            ("conflict", _) => "after reading again",
            (_, true) => "yes",
            (_, false) => "no",
        }
    }
}

/// The index as it should be.
pub(crate) fn index(tree: &Tree) -> String {
    let mut text = HEAD.to_owned();
    for kind in kinds(tree) {
        let meaning = tree
            .text(&kind.page())
            .map(first_paragraph)
            .unwrap_or_default();
        let again = kind.again();
        let Kind { name, code, .. } = kind;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| [`{code}`]({code}.md) | `{name}` | `{name}Error` | {again} | {meaning} |"
        );
    }
    text
}

/// Writes the index.
pub(crate) fn write_index(root: &Path) -> io::Result<()> {
    fs::write(root.join(INDEX), index(&Tree::read(root)?))
}

/// The paragraph behind the title, on one line.
fn first_paragraph(page: &str) -> String {
    let lines = page.lines().skip(1).skip_while(|line| line.is_empty());
    let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    const DECLARED: &str = "kinds! {\n    /// Late.\n    Timeout = \"timeout\", retry: true;\n}\n";

    #[test]
    fn a_row_has_the_first_paragraph_of_its_page() {
        let page = "# `timeout`\n\nIt took\ntoo long.\n\nMore.\n";
        let index = index(&tree(&[
            ("docs/errors/timeout.md", page),
            ("mc-core/src/error.rs", DECLARED),
        ]));
        let row =
            "| [`timeout`](timeout.md) | `Timeout` | `TimeoutError` | yes | It took too long. |";
        assert!(index.lines().any(|line| line == row), "{index}");
    }

    #[test]
    fn only_rows_of_the_table_are_kinds() {
        let other = "let a = \"b\";\n$kind:ident = $code:literal, retry: $retry:literal;\n";
        let kinds = kinds(&tree(&[
            ("mc-core/src/error/kind.rs", other),
            ("a.rs", DECLARED),
        ]));
        assert!(kinds.is_empty(), "{kinds:?}");
    }
}
