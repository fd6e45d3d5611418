//! The limits that clippy holds stand in every `clippy.toml`.
//!
//! A crate's own file replaces the root's one, so that a forgotten line would drop a limit.

use toml::{Table, Value};

use crate::finding::Finding;
use crate::rules::{CLIPPY_FILES, CLIPPY_THRESHOLDS};
use crate::tree::Tree;

const RULE: &str = "clippy-limit";

/// Thresholds that are missing or different.
pub(crate) fn clippy(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in CLIPPY_FILES {
        let Some(table) = tree.text(path).and_then(|text| text.parse::<Table>().ok()) else {
            findings.push(Finding::new(*path, 1, RULE, "write this file"));
            continue;
        };
        for (name, limit) in CLIPPY_THRESHOLDS {
            if table.get(*name).and_then(Value::as_integer) != Some(*limit) {
                findings.push(Finding::new(
                    *path,
                    1,
                    RULE,
                    format!("set `{name} = {limit}`"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::found;

    #[test]
    fn each_file_repeats_each_threshold() {
        let rows = CLIPPY_THRESHOLDS
            .iter()
            .map(|(name, limit)| format!("{name} = {limit}\n"));
        let full: String = rows.collect();
        let looser = full.replace("70", "700");
        let findings = found(
            clippy,
            &[(CLIPPY_FILES[0], &full), (CLIPPY_FILES[1], &looser)],
        );
        let advice = "set `too-many-lines-threshold = 70`";
        assert_eq!(
            findings,
            [format!("{}:1: {RULE}: {advice}", CLIPPY_FILES[1])]
        );
        assert_eq!(found(clippy, &[]).len(), CLIPPY_FILES.len());
    }
}
