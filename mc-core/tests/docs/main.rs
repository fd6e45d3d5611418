//! Documents that are rendered from the code, and the golden facts of every event.
//!
//! `states` renders `docs/state-machines.md` from the transition functions, `events` renders
//! `docs/events.md` from the events' own source (read by `source`), `facts` holds today's code to
//! `tests/golden/v1/events.jsonl`. A document that differs fails; `UPDATE_DOCS=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

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
