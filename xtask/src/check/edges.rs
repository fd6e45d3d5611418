//! Which crate may use which.
//!
//! Reads every `Cargo.toml` of the tree, so that crates outside the workspace count too. The
//! allowed arrows are `rules::CRATE_EDGES`; licences and sources are cargo-deny's.

use toml::{Table, Value};

use crate::finding::Finding;
use crate::rules::{CONFINED, CRATE_EDGES, TEST_ONLY_CRATE};
use crate::tree::{Text, Tree};

const RULE: &str = "crate-edge";

/// Arrows between crates that the design does not have.
pub(crate) fn crates(tree: &Tree) -> Vec<Finding> {
    let manifests = tree
        .texts
        .iter()
        .filter(|file| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml"));
    manifests.flat_map(manifest).collect()
}

/// Where a dependency stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Normal,
    Dev,
}

fn manifest(file: &Text) -> Vec<Finding> {
    let table: Table = match file.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![Finding::new(&file.path, 1, RULE, error.to_string())],
    };
    let Some(name) = table
        .get("package")
        .and_then(|p| p.get("name"))
        .and_then(Value::as_str)
    else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut report = |word: &str, advice: String| {
        let line = file
            .text
            .lines()
            .position(|line| line.trim_start().starts_with(word));
        findings.push(Finding::new(
            &file.path,
            line.unwrap_or(0) + 1,
            RULE,
            advice,
        ));
    };
    let Some((_, allowed)) = CRATE_EDGES.iter().find(|(row, _)| *row == name) else {
        report(
            "name",
            format!("add `{name}` to CRATE_EDGES with what it may use"),
        );
        return findings;
    };
    if !table.contains_key("lints") {
        report(
            "[package]",
            "add `[lints]` with `workspace = true`".to_owned(),
        );
    }
    for (dependency, used) in dependencies(&table) {
        if let Some(advice) = refusal(name, allowed, &dependency, used) {
            report(&dependency, advice);
        }
    }
    findings
}

fn refusal(name: &str, allowed: &[&str], dependency: &str, used: Use) -> Option<String> {
    if let Some((_, homes)) = CONFINED.iter().find(|(row, _)| *row == dependency) {
        let free = homes.contains(&name);
        return (!free).then(|| format!("only {} may use `{dependency}`", homes.join(", ")));
    }
    let ours = CRATE_EDGES.iter().any(|(row, _)| *row == dependency);
    if !ours || dependency == name || allowed.contains(&dependency) {
        return None;
    }
    match used {
        Use::Dev if dependency == TEST_ONLY_CRATE => None,
        Use::Normal if dependency == TEST_ONLY_CRATE => Some(format!(
            "`{dependency}` is for tests: make it a dev-dependency"
        )),
        Use::Normal | Use::Dev => {
            let list = if allowed.is_empty() {
                "none of ours".into()
            } else {
                allowed.join(", ")
            };
            Some(format!(
                "`{name}` may not use `{dependency}`; it may use {list}"
            ))
        }
    }
}

/// The real names of all dependencies, those of single targets too.
fn dependencies(table: &Table) -> Vec<(String, Use)> {
    let targets = table.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let mut found = Vec::new();
    for part in targets.chain([table]) {
        for (section, used) in [
            ("dependencies", Use::Normal),
            ("build-dependencies", Use::Normal),
            ("dev-dependencies", Use::Dev),
        ] {
            let rows = part
                .get(section)
                .and_then(Value::as_table)
                .into_iter()
                .flatten();
            found.extend(rows.map(|(name, value)| (package(name, value), used)));
        }
    }
    found
}

fn package(name: &str, value: &Value) -> String {
    value
        .get("package")
        .and_then(Value::as_str)
        .unwrap_or(name)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::found;

    fn check(name: &str, rest: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{rest}");
        found(crates, &[("x/Cargo.toml", &text)])
    }

    #[test]
    fn the_core_uses_none_of_ours() {
        let findings = check(
            "mc-core",
            "[dependencies]\nserde = \"1\"\nmc-store.workspace = true\n",
        );
        let advice = "`mc-core` may not use `mc-store`; it may use none of ours";
        assert_eq!(findings, [format!("x/Cargo.toml:7: crate-edge: {advice}")]);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        let row = "mc-testkit = { path = \"../mc-testkit\" }\n";
        assert!(check("mc-agents", &format!("[dev-dependencies]\n{row}")).is_empty());
        assert_eq!(
            check("mc-agents", &format!("[dependencies]\n{row}")).len(),
            1
        );
        assert_eq!(
            check("mc-agents", &format!("[build-dependencies]\n{row}")).len(),
            1
        );
    }

    #[test]
    fn a_test_may_not_turn_an_arrow_round() {
        assert_eq!(
            check("mc-core", "[dev-dependencies]\nmc-store.workspace = true\n").len(),
            1
        );
    }

    #[test]
    fn the_database_stays_in_its_crate_under_any_name() {
        let rest =
            "[target.'cfg(unix)'.dependencies]\ndb = { package = \"redb\", version = \"4\" }\n";
        assert_eq!(check("mc-cli", rest).len(), 1);
        assert!(check("mc-store", rest).is_empty());
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert_eq!(check("mc-new", "").len(), 1);
        assert!(found(crates, &[("Cargo.toml", "[workspace]\nmembers = []\n")]).is_empty());
    }
}
