//! The order of the core's modules: each uses only what stands above it in `rules::LAYERS`.
//!
//! Sees `crate::x`, groups behind `crate::{`, and `super::` chains that reach the crate's root.
//! Code for tests is free. Unknown modules are findings, so that a new one gets its place.

use crate::finding::Finding;
use crate::lexer::is_name;
use crate::rules::{LAYERED, LAYERS};
use crate::test_code::line_of;
use crate::tree::{Source, Tree};

const RULE: &str = "layer";

/// Imports from a layer below, and modules without a layer.
pub(crate) fn modules(tree: &Tree) -> Vec<Finding> {
    let sources = tree.sources.iter().filter_map(|source| {
        let inner = source.path.strip_prefix(LAYERED)?;
        (inner != "lib.rs" && !source.is_test(0)).then_some((source, inner))
    });
    sources
        .flat_map(|(source, inner)| module(source, inner))
        .collect()
}

fn module(source: &Source, inner: &str) -> Vec<Finding> {
    let name = inner
        .split('/')
        .next()
        .unwrap_or(inner)
        .trim_end_matches(".rs");
    let Some(layer) = layer_of(name) else {
        let advice = format!("give `{name}` its place in LAYERS");
        return vec![Finding::new(&source.path, 1, RULE, advice)];
    };
    let mut findings = Vec::new();
    for (at, used) in roots_used(&source.code, depth(inner)) {
        let line = line_of(source.code.as_bytes(), at);
        let fine = used == name || source.is_test(line);
        if let Some(advice) = (!fine).then(|| refusal(name, layer, used)).flatten() {
            findings.push(Finding::new(&source.path, line + 1, RULE, advice));
        }
    }
    findings
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&name))
}

fn refusal(name: &str, layer: usize, used: &str) -> Option<String> {
    match layer_of(used) {
        Some(other) if other < layer => None,
        Some(_) => Some(format!(
            "`{name}` may not use `{used}`: only what is above it in LAYERS"
        )),
        None => Some(format!(
            "import `{used}` from its module, not from the crate's root"
        )),
    }
}

/// How many `super` lead from a file to the crate's root.
fn depth(inner: &str) -> usize {
    inner.split('/').count() - usize::from(inner.ends_with("/mod.rs"))
}

/// Every name that is taken from the crate's root, with its place.
fn roots_used(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let above = "super::".repeat(depth);
    let mut found = Vec::new();
    for root in ["crate::", above.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].bytes().next_back();
            if before.is_some_and(|byte| is_name(byte) || byte == b':') {
                continue;
            }
            let start = at + root.len();
            match code[start..].strip_prefix('{') {
                Some(_) => found.extend(group(code, start + 1)),
                None => found.push((start, name_at(code, start))),
            }
        }
    }
    // A longer chain leads nowhere and does not compile; `self` and an empty name are no modules.
    found.retain(|(_, name)| !matches!(*name, "" | "self" | "super"));
    found
}

/// The first names of a group's items, up to its closing brace.
fn group(code: &str, start: usize) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let (mut level, mut at_item) = (1_usize, true);
    for (ahead, byte) in code.as_bytes()[start..].iter().enumerate() {
        match byte {
            b'{' => level += 1,
            b'}' => level -= 1,
            b',' if level == 1 => at_item = true,
            byte if at_item && is_name(*byte) => {
                names.push((start + ahead, name_at(code, start + ahead)));
                at_item = false;
            }
            _ => {}
        }
        if level == 0 {
            break;
        }
    }
    names
}

fn name_at(code: &str, start: usize) -> &str {
    let length = code.as_bytes()[start..]
        .iter()
        .take_while(|byte| is_name(**byte))
        .count();
    &code[start..start + length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::found;

    fn check(path: &str, text: &str) -> Vec<String> {
        found(modules, &[(&format!("{LAYERED}{path}"), text)])
    }

    #[test]
    fn a_module_uses_only_what_is_above_it() {
        assert!(
            check(
                "run/state.rs",
                "use crate::event::Event;\nuse crate::run::X;\n"
            )
            .is_empty()
        );
        let findings = check(
            "event/kind.rs",
            "use crate::id::RunId;\nuse crate::run::Run;\n",
        );
        let advice = "`event` may not use `run`: only what is above it in LAYERS";
        assert_eq!(
            findings,
            [format!("{LAYERED}event/kind.rs:2: layer: {advice}")]
        );
    }

    #[test]
    fn groups_and_paths_in_code_count() {
        let text = "use crate::{\n    id::{RunId, run},\n    engine::E,\n};\nfn a() { crate::ports::b(); }\n";
        assert_eq!(check("budget/mod.rs", text).len(), 2);
    }

    #[test]
    fn a_way_over_super_counts() {
        assert_eq!(
            check("budget/ledger.rs", "use super::super::engine::E;\n").len(),
            1
        );
        assert_eq!(
            check(
                "budget/mod.rs",
                "use super::engine::E;\nuse super::super::x;"
            )
            .len(),
            1
        );
        assert!(check("budget/ledger.rs", "use super::engine::E;\n").is_empty());
    }

    #[test]
    fn tests_comments_and_strings_are_free() {
        let text = "// crate::engine\nlet a = \"crate::engine::B\";\n#[cfg(test)]\nmod tests {\n\
                    use crate::engine::B;\n}\n";
        assert!(check("id.rs", text).is_empty());
    }

    #[test]
    fn insight_uses_run_and_never_the_other_way_round() {
        assert!(check("insight/mod.rs", "use crate::run::Run;\n").is_empty());
        assert_eq!(
            check("run/mod.rs", "use crate::insight::Report;\n").len(),
            1
        );
    }

    #[test]
    fn a_new_module_needs_a_place_and_names_come_from_modules() {
        assert_eq!(check("extra.rs", "").len(), 1);
        assert_eq!(check("engine/mod.rs", "use crate::Error;\n").len(), 1);
    }
}
