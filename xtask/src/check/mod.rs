//! The list of checks; each is a function from the tree to its findings.
//!
//! One file a theme: `shape` (sizes, headers), `words` (letters, marks, banned words), `allows`,
//! `edges` (crates), `layers` (modules of the core), `pages` (errors), `thresholds` (clippy).
//! None of them reads the disk.

mod allows;
mod edges;
mod layers;
mod pages;
mod shape;
mod thresholds;
mod words;

use crate::finding::Finding;
use crate::tree::Tree;

const CHECKS: &[fn(&Tree) -> Vec<Finding>] = &[
    shape::sizes,
    shape::headers,
    shape::roots,
    words::letters,
    words::marks,
    words::banned,
    allows::attributes,
    allows::lint_table,
    edges::crates,
    layers::modules,
    pages::errors,
    thresholds::clippy,
];

/// Every finding, by place.
pub(crate) fn all(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<_> = CHECKS.iter().flat_map(|check| check(tree)).collect();
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings of one check on a few files, as they are printed.
    pub(super) fn found(check: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
        check(&crate::tree::tests::tree(files))
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}
