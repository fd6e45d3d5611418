//! The repository's files, read once.
//!
//! A check gets the whole tree and never touches the disk, so that its tests are a few lines of
//! text. What version control ignores (builds, tools, environments) is not read.
//! Read `check` next.

use std::fs;
use std::io;
use std::path::Path;

use crate::lexer;
use crate::test_code;

/// Folders that are not ours.
const SKIPPED: &[&str] = &["target", "node_modules", "dist", "__pycache__"];
/// Hidden folders that are ours all the same.
const HIDDEN: &[&str] = &[".cargo", ".ci", ".config", ".github"];
/// The endings of files that people write.
const TEXT: &[&str] = &[
    "rs", "md", "toml", "yaml", "yml", "json", "sh", "py", "pyi", "ts", "mts", "js", "mjs", "cjs",
    "html", "css", "txt",
];
/// The same without an ending.
const TEXT_NAMES: &[&str] = &["Makefile", "run", "Dockerfile"];
/// Files beyond this are data.
const MAX_BYTES: u64 = 2 << 20;

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path from the root, with `/`.
    pub(crate) path: String,
    /// As it is on disk.
    pub(crate) text: String,
    /// See `lexer::Split`.
    pub(crate) code: String,
    /// See `lexer::Split`.
    pub(crate) comments: String,
    /// For each line whether it is compiled for tests alone.
    pub(crate) test: Vec<bool>,
}

/// Another text file.
#[derive(Debug)]
pub(crate) struct Text {
    /// The path from the root, with `/`.
    pub(crate) path: String,
    /// As it is on disk.
    pub(crate) text: String,
}

/// All files.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The Rust files, by path.
    pub(crate) sources: Vec<Source>,
    /// All others, by path.
    pub(crate) texts: Vec<Text>,
}

impl Tree {
    /// Reads a folder.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        walk(root, "", &mut files)?;
        Ok(Self::of(files))
    }

    /// A tree of paths and texts.
    pub(crate) fn of(mut files: Vec<(String, String)>) -> Self {
        files.sort();
        let mut tree = Self::default();
        for (path, text) in files {
            if has_ending(&path, "rs") {
                tree.sources.push(Source::new(path, text));
            } else {
                tree.texts.push(Text { path, text });
            }
        }
        tree.mark_declared_tests();
        tree
    }

    /// A file that is not Rust.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    /// Marks the files of modules that another file declares under `#[cfg(test)]`.
    fn mark_declared_tests(&mut self) {
        let mut stems = Vec::new();
        for source in &self.sources {
            let home = source.module_folder();
            let modules = test_code::find(&source.code).modules;
            stems.extend(modules.into_iter().map(|name| format!("{home}{name}")));
        }
        for source in &mut self.sources {
            let is_test = stems.iter().any(|stem| {
                source
                    .path
                    .strip_prefix(stem)
                    .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
            if is_test {
                source.test.fill(true);
            }
        }
    }
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let lexer::Split { code, comments } = lexer::split(&text);
        let mut marks = vec![is_test_path(&path); text.lines().count()];
        for (first, last) in test_code::find(&code).spans {
            marks
                .iter_mut()
                .take(last + 1)
                .skip(first)
                .for_each(|line| *line = true);
        }
        Self {
            path,
            text,
            code,
            comments,
            test: marks,
        }
    }

    /// The number of source lines: neither blank nor comment.
    pub(crate) fn source_lines(&self) -> usize {
        self.code_lines().count()
    }

    /// The source lines with their numbers, from 0.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
    }

    /// Whether a line, from 0, is compiled for tests alone.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test.get(line).copied().unwrap_or(false)
    }

    /// Whether a program wrote the file.
    pub(crate) fn is_generated(&self) -> bool {
        self.text
            .lines()
            .take(3)
            .any(|line| line.contains("@generated"))
    }

    /// The file's name.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Where the files of its child modules are.
    fn module_folder(&self) -> String {
        let folder = self.path.strip_suffix(self.name()).unwrap_or_default();
        match self.name() {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            name => format!("{folder}{}/", name.trim_end_matches(".rs")),
        }
    }
}

/// Whether a path has an ending, told without its dot.
pub(crate) fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == ending)
}

fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

fn is_text(name: &str) -> bool {
    TEXT_NAMES.contains(&name) || TEXT.iter().any(|ending| has_ending(name, ending))
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
        if kind.is_dir() && !hidden && !SKIPPED.contains(&name.as_str()) {
            walk(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && is_text(&name) && entry.metadata()?.len() <= MAX_BYTES {
            let bytes = fs::read(entry.path())?;
            files.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree of a few files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::of(
            files
                .iter()
                .map(|(path, text)| ((*path).into(), (*text).into()))
                .collect(),
        )
    }

    #[test]
    fn a_file_declared_for_tests_is_test_code() {
        let tree = tree(&[
            ("a/src/lib.rs", "#[cfg(test)]\nmod matrix;\nmod run;\n"),
            ("a/src/matrix.rs", "fn a() {}\n"),
            ("a/src/run.rs", "#[cfg(test)]\nmod walks;\nfn b() {}\n"),
            ("a/src/run/walks.rs", "fn c() {}\n"),
        ]);
        let tests: Vec<_> = tree
            .sources
            .iter()
            .map(|source| source.test.clone())
            .collect();
        assert_eq!(
            tests,
            [
                vec![true, true, false],
                vec![true],
                vec![true, true, false],
                vec![true]
            ]
        );
    }

    #[test]
    fn files_under_tests_are_test_code() {
        let tree = tree(&[
            ("a/tests/b.rs", "fn a() {}\n"),
            ("a/src/b/tests.rs", "fn a() {}\n"),
        ]);
        assert!(tree.sources.iter().all(|source| source.is_test(0)));
    }

    #[test]
    fn comments_and_blank_lines_are_not_source_lines() {
        let tree = tree(&[("a.rs", "//! A.\n\nfn a() {} // b\n/* c\n d */\n")]);
        assert_eq!(tree.sources[0].source_lines(), 1);
    }

    #[test]
    fn reading_skips_builds_and_keeps_our_hidden_folders() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        for folder in ["target", ".git", ".ci"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("a.toml"), "").unwrap();
        }
        let tree = Tree::read(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let paths: Vec<_> = tree.texts.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/a.toml"]);
    }
}
