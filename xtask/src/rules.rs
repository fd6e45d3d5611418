//! The rules as tables: limits, crate edges, module layers, banned words.
//!
//! To change a rule, change its row here; the checks only walk these tables.
//! Read `check` next.

/// The most source lines (neither blank nor comment) of a file.
pub(crate) const MAX_FILE_LINES: usize = 500;
/// The most source lines of logic in a file that should only list its parts.
pub(crate) const MAX_ROOT_LINES: usize = 150;
/// The most lines of a `//!` header, except in `lib.rs`, which tells the crate's story. Rows of a
/// table do not count: tables stand at the head of the file that they rule.
pub(crate) const MAX_HEADER_LINES: usize = 15;

/// Each crate of the workspace with the workspace crates that it may use.
pub(crate) const CRATE_EDGES: &[(&str, &[&str])] = &[
    ("mc-core", &[]),
    ("mc-store", &["mc-core"]),
    ("mc-agents", &["mc-core"]),
    ("mc-link", &["mc-core", "mc-store"]),
    (
        "mc-cli",
        &[
            "mc-core",
            "mc-store",
            "mc-agents",
            "mc-link",
            "mission-control",
        ],
    ),
    (
        "mission-control",
        &["mc-core", "mc-store", "mc-agents", "mc-link"],
    ),
    ("mc-py", &["mission-control", "mc-cli"]),
    ("mc-node", &["mission-control", "mc-cli"]),
    ("mc-testkit", &["mc-core", "mc-store"]),
    // It does without, so that it builds in seconds and runs while the core is broken.
    ("xtask", &["mc-core"]),
];

/// The crate that every other may use in its tests and benches, and none elsewhere.
pub(crate) const TEST_ONLY_CRATE: &str = "mc-testkit";

/// Dependencies that only the named crates may have.
pub(crate) const CONFINED: &[(&str, &[&str])] = &[
    ("redb", &["mc-store", "mc-testkit"]),
    ("reqwest", &["mc-agents"]),
    ("pyo3", &["mc-py"]),
    ("pyo3-async-runtimes", &["mc-py"]),
    ("napi", &["mc-node"]),
    ("napi-derive", &["mc-node"]),
];

/// Where the layered modules are.
pub(crate) const LAYERED: &str = "mc-core/src/";

/// The modules of `mc-core` in the order of use: each uses only what stands in a row above it.
/// Modules of one row do not use each other.
pub(crate) const LAYERS: &[&[&str]] = &[
    &["id"],
    &["time"],
    &["money"],
    &["usage"],
    &["error"],
    &["json"],
    &["yaml"],
    &["pricing"],
    &["resilience"],
    &["budget"],
    &["form"],
    &["expression"],
    &["policy"],
    &["workflow"],
    &["event"],
    &["run"],
    &["insight"],
    &["audit"],
    &["ports"],
    &["sequencer"],
    &["engine"],
    &["sim"],
];

/// The thresholds that each `clippy.toml` repeats.
pub(crate) const CLIPPY_THRESHOLDS: &[(&str, i64)] = &[
    ("too-many-lines-threshold", 70),
    ("too-many-arguments-threshold", 5),
    ("cognitive-complexity-threshold", 15),
];
/// The files that carry them.
pub(crate) const CLIPPY_FILES: &[&str] = &["clippy.toml", "mc-core/clippy.toml"];

/// Words that do not belong in this repository, with what to write instead. They are put together
/// here so that this file does not contain them.
pub(crate) const BANNED_WORDS: &[(&str, &str)] = &[
    (concat!("/", "work/"), "use a path inside the repository"),
    (concat!("/", "tmp/wt"), "use a path inside the repository"),
    (concat!("/", "root/"), "use a path inside the repository"),
];

/// Where the kinds of errors are declared, one a row: `NotFound = "not_found", retry: false;`.
pub(crate) const ERROR_KINDS: &str = "mc-core/src/error";

/// The sections that every page of an error has, in this order.
pub(crate) const ERROR_PAGE_SECTIONS: &[&str] =
    &["## When it happens", "## What to do", "## Detail"];
