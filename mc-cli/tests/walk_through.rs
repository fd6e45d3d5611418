//! The walk-through of README.md: its commands are run as they stand there, and what they answer is what
//! stands there.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as a test does"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../../README.md");

/// Stands between the answers of two blocks.
const MARK: &str = "<next block>";

/// The blocks of a language in the walk-through, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once("\n## Governing a workflow\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let fence = format!("```{language}\n");
    let blocks = section.split(fence.as_str()).skip(1);
    blocks
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect()
}

/// Runs all blocks in one shell, and gives what each answered.
fn answers(dir: &Path) -> Vec<String> {
    let mut script = String::from("exec 2>&1\n");
    for block in blocks("sh") {
        writeln!(script, "{block}\necho '{MARK}'").unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_mission-control"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(dir);
    shell.env("PATH", path).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let mut answers: Vec<String> = answer.split(MARK).map(str::to_owned).collect();
    answers.pop();
    answers
}

/// Whether a line has these pieces, in order.
fn has(line: &str, pieces: &str) -> bool {
    let mut rest = Some(line);
    for piece in pieces.split("..").map(str::trim) {
        rest = rest
            .and_then(|rest| rest.split_once(piece))
            .map(|(_, rest)| rest);
    }
    rest.is_some()
}

#[test]
fn the_walk_through_of_the_readme_answers_what_stands_there() {
    let dir = tempfile::tempdir().unwrap();
    let (answers, expected) = (answers(dir.path()), blocks("text"));
    assert_eq!(answers.len(), expected.len());
    assert!(expected.len() >= 3);
    for (answer, expected) in answers.iter().zip(expected) {
        let mut lines = answer.lines();
        for wanted in expected.lines() {
            // In the order in which they stand there.
            let found = lines.any(|line| has(line, wanted));
            assert!(found, "`{wanted}` is missing, or too early, in:\n{answer}");
        }
    }
}
