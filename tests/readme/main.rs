//! README.md: its example compiles and runs, and what it points to is there.

mod example;

use std::path::Path;

const README: &str = include_str!("../../README.md");

#[test]
fn the_example_of_the_readme_is_the_one_that_runs_here() {
    let (_, example) = include_str!("example.rs").split_once("\n\n").unwrap();
    // A module's function has to be visible; a program's `main` need not be.
    let shown = example.replace("pub(crate) async fn main", "async fn main");
    assert!(README.contains(&format!("```rust\n{shown}```\n")));
}

#[test]
fn the_example_of_the_readme_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::env::set_current_dir(folder.path()).unwrap();
    example::main().unwrap();
    assert!(folder.path().join("agents.redb").exists());
}

#[test]
fn every_test_that_the_readme_names_is_there() {
    let named = README.split('`').filter(|text| {
        let source = Path::new(text).extension().is_some_and(|end| end == "rs");
        source && text.contains("tests/")
    });
    let missing: Vec<&str> = named
        .filter(|path| !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
