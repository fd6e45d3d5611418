//! The project's own checks: `cargo xtask tidy`, `score` and `errors`.
//!
//! What clippy, rustfmt and cargo-deny can hold is theirs; here is only what they cannot see: the
//! order of crates and modules, the size of files, headers, and pages that must exist. The rules
//! themselves are the tables in `rules`. Nothing here is part of the product.
//! Read `rules`, then `check`.

mod check;
mod error_pages;
mod finding;
mod functions;
mod lexer;
mod rules;
mod score;
mod test_code;
mod tree;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tree::Tree;

const USAGE: &str = "usage: cargo xtask COMMAND

  tidy     check the rules that no other tool holds; exit 1 on a finding
  score    print the scoreboard of sizes and ratios; exit 1 if a hard limit is passed
  errors   write docs/errors/README.md anew from the error kinds and their pages";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let mut out = io::stdout().lock();
    let done = match command.as_str() {
        "tidy" => tidy(&mut out),
        "score" => score(&mut out),
        "errors" => error_pages::write_index(&root()).map(|()| true),
        _ => writeln!(out, "{USAGE}").map(|()| false),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Standard error may be closed too; then the exit code says it alone.
            let _ = writeln!(io::stderr(), "xtask {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tidy(out: &mut impl Write) -> io::Result<bool> {
    let tree = Tree::read(&root())?;
    let findings = check::all(&tree);
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    writeln!(
        out,
        "tidy: {} Rust files, {} findings",
        tree.sources.len(),
        findings.len()
    )?;
    Ok(findings.is_empty())
}

fn score(out: &mut impl Write) -> io::Result<bool> {
    let rows = score::rows(&Tree::read(&root())?);
    for row in &rows {
        writeln!(out, "{row}")?;
    }
    Ok(rows.iter().all(score::Row::is_within_hard_limit))
}

/// The repository's root: the folder above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let mut out = Vec::new();
        let tidy = tidy(&mut out).unwrap();
        assert!(tidy, "{}", String::from_utf8_lossy(&out));
    }
}
