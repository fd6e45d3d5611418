//! Lints that are switched off without a word.
//!
//! In code `#[expect(lint, reason = "...")]` is the only way: it also complains once the reason is
//! gone. In the workspace's table each `allow` has its reason in the comment above it.

use crate::finding::Finding;
use crate::test_code::{line_of, matching};
use crate::tree::{Source, Tree};

/// Attributes that allow.
pub(crate) fn attributes(tree: &Tree) -> Vec<Finding> {
    tree.sources
        .iter()
        .filter(|source| !source.is_generated())
        .flat_map(allowing)
        .collect()
}

fn allowing(source: &Source) -> Vec<Finding> {
    let bytes = source.code.as_bytes();
    let attributes = source.code.match_indices('#').filter(|(at, _)| {
        let rest = source.code[at + 1..].trim_start_matches('!');
        let end = matching(rest.as_bytes(), 0).min(rest.len());
        let attribute: String = rest[..end].split_whitespace().collect();
        attribute.starts_with("[allow(")
            || (attribute.starts_with("[cfg_attr(") && attribute.contains(",allow("))
    });
    let advice = "use `#[expect(lint, reason = \"...\")]`";
    attributes
        .map(|(at, _)| Finding::new(&source.path, line_of(bytes, at) + 1, "allow", advice))
        .collect()
}

/// Rows of lint tables that allow without a reason.
pub(crate) fn lint_table(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree
        .texts
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml"))
    {
        let mut above = "";
        for (number, line) in file.text.lines().enumerate() {
            if line.contains("\"allow\"") && !above.starts_with('#') {
                let advice = "say why in the comment above it";
                findings.push(Finding::new(&file.path, number + 1, "allow", advice));
            }
            above = line;
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::found;

    #[test]
    fn every_form_of_allow_is_refused() {
        let text = "#![allow(a)]\n#[allow(b,\n  c)]\n#[ cfg_attr(test, allow(d)) ]\nfn e() {}\n";
        let lines: Vec<_> = found(attributes, &[("a.rs", text)]);
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn expecting_is_the_way_and_text_does_not_count() {
        let text =
            "#[expect(a, reason = \"allow(b)\")]\n// #[allow(c)]\nlet d = \"#[allow(e)]\";\n";
        assert!(found(attributes, &[("a.rs", text)]).is_empty());
    }

    #[test]
    fn a_row_that_allows_has_its_reason_above() {
        let text = "[lints]\n# Noise.\na = \"allow\"\nb = \"allow\"\n";
        let findings = found(lint_table, &[("Cargo.toml", text)]);
        assert_eq!(
            findings,
            ["Cargo.toml:4: allow: say why in the comment above it"]
        );
    }
}
