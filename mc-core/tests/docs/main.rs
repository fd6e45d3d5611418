//! Documents that are rendered from the code, and the golden facts of every event.
//!
//! `states` renders `docs/state-machines.md` from the transition functions, `events` renders
//! `docs/events.md` from the events' own source (read by `source`), `facts` holds today's code to
//! `tests/golden/v1/events.jsonl`, `errors` the examples of the error pages. A document that differs fails; `UPDATE_DOCS=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod errors;
mod events;
mod facts;
mod source;
mod states;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Holds a document to what the code says, or writes it where that is asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "the documents of the repository are files"
)]
fn hold(name: &str, rendered: &str) {
    let path = root().join("docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, rendered).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let (old, new): (Vec<_>, Vec<_>) = (written.lines().collect(), rendered.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    assert!(
        written == rendered,
        "docs/{name} is out of date from line {} on: run the test again with UPDATE_DOCS=1",
        same + 1
    );
}

/// The golden facts: type and facts of every line, as they are spelled.
fn golden() -> Vec<(&'static str, &'static str)> {
    let parts = |line: &'static str| {
        let line = line.strip_prefix("{\"type\":\"")?.strip_suffix('}')?;
        line.split_once("\",\"facts\":")
    };
    include_str!("../golden/v1/events.jsonl")
        .lines()
        .map(|line| parts(line).unwrap())
        .collect()
}

/// Holds every relative link of a document to a file that is there, and its anchor to a heading.
#[expect(
    clippy::disallowed_methods,
    reason = "the documents of the repository are files"
)]
fn links(document: &str) {
    let path = root().join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    for target in text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        if target.starts_with("http") || target.contains(char::is_whitespace) {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let leads_to = if file.is_empty() {
            path.clone()
        } else {
            path.parent().unwrap().join(file)
        };
        assert!(leads_to.exists(), "{document}: {target}");
        if !anchor.is_empty() {
            let page = std::fs::read_to_string(leads_to).unwrap();
            let mut headings = page.lines().filter(|line| line.starts_with('#'));
            assert!(
                headings.any(|line| anchor_of(line) == anchor),
                "{document}: {target}"
            );
        }
    }
}

/// The anchor that a heading gets where documents are shown.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || "- _".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/budgets.md",
        "docs/event-log.md",
        "docs/events.md",
        "docs/prices.md",
        "docs/state-machines.md",
        "docs/workflows.md",
    ];
    for document in documents {
        links(document);
    }
}

#[test]
fn the_code_map_has_every_module_of_the_core_in_its_order() {
    let map = include_str!("../../../ARCHITECTURE.md");
    let map = map.split_once("## Modules of `mc-core`").unwrap().1;
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split([',', '`', ' ']).filter(|word| !word.is_empty()))
        .collect();
    let modules = include_str!("../../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let places: Vec<_> = modules
        .map(|module| (named.iter().position(|name| *name == module), module))
        .collect();
    assert!(
        places.iter().all(|(place, _)| place.is_some()),
        "{places:?}"
    );
    assert!(places.is_sorted_by_key(|(place, _)| *place), "{places:?}");
}
