//! The scoreboard: sizes and ratios of the code, each beside its goal.
//!
//! Ratios, not timings, so that every machine prints the same. Goals are for people; only hard
//! limits make the command fail. Test code, examples, benches and mc-testkit are not counted as
//! production code.

use std::fmt;

use crate::functions::{self, Function};
use crate::tree::{Source, Tree};

/// One line of the board.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    value: f64,
    goal: Goal,
}

/// What a value should be. `Hard` limits fail the command.
#[derive(Clone, Copy, Debug)]
enum Goal {
    Hard(f64),
    AtMost(f64),
    AtLeast(f64),
    Told,
}

impl Row {
    /// Whether no hard limit is passed.
    pub(crate) fn is_within_hard_limit(&self) -> bool {
        !matches!(self.goal, Goal::Hard(limit) if self.value > limit)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (goal, met) = match self.goal {
            Goal::Hard(limit) => (format!("limit {limit}"), self.value <= limit),
            Goal::AtMost(limit) => (format!("goal <= {limit}"), self.value <= limit),
            Goal::AtLeast(limit) => (format!("goal >= {limit}"), self.value >= limit),
            Goal::Told => (String::new(), true),
        };
        let mark = if met { "" } else { "  MISSED" };
        let value = (self.value * 100.0).round() / 100.0;
        let line = format!("{:<42} {value:>8}  {goal}{mark}", self.name);
        f.write_str(line.trim_end())
    }
}

/// The whole board.
pub(crate) fn rows(tree: &Tree) -> Vec<Row> {
    let production: Vec<_> = tree
        .sources
        .iter()
        .filter(|source| is_production(source))
        .collect();
    let mut rows = sizes(&production);
    rows.extend(words(&production));
    rows.extend(ratios(tree));
    rows
}

fn is_production(source: &Source) -> bool {
    let in_src = source.path.starts_with("src/") || source.path.contains("/src/");
    in_src && !source.path.starts_with("mc-testkit/") && !source.is_test(0)
}

fn sizes(production: &[&Source]) -> Vec<Row> {
    let all = production.iter().flat_map(|source| functions::find(source));
    let mut lengths: Vec<_> = all
        .filter(|f| !f.test)
        .map(|f: Function| f.length)
        .collect();
    let mut files: Vec<_> = production
        .iter()
        .map(|source| source.source_lines())
        .collect();
    lengths.sort_unstable();
    files.sort_unstable();
    let row = |name, value: usize, goal| Row {
        name,
        value: float(value),
        goal,
    };
    vec![
        row("functions", lengths.len(), Goal::Told),
        row(
            "function lines, median",
            quantile(&lengths, 50),
            Goal::AtMost(8.0),
        ),
        row(
            "function lines, p99",
            quantile(&lengths, 99),
            Goal::AtMost(60.0),
        ),
        row(
            "function lines, max",
            quantile(&lengths, 100),
            Goal::Hard(70.0),
        ),
        row("files", files.len(), Goal::Told),
        row(
            "file source lines, median",
            quantile(&files, 50),
            Goal::AtMost(200.0),
        ),
        row(
            "file source lines, max",
            quantile(&files, 100),
            Goal::Hard(500.0),
        ),
    ]
}

fn words(production: &[&Source]) -> Vec<Row> {
    let lines = || {
        production.iter().flat_map(|source| {
            source
                .code_lines()
                .filter(|(number, _)| !source.is_test(*number))
                .map(|(_, line)| line)
        })
    };
    let count = |word: &str| {
        lines()
            .map(|line| line.matches(word).count())
            .sum::<usize>()
    };
    let thousands = float(lines().count()) / 1000.0;
    let expects = float(count(".expect(")) / thousands.max(f64::MIN_POSITIVE);
    vec![
        Row {
            name: "production kLOC",
            value: thousands,
            goal: Goal::Told,
        },
        Row {
            name: "unwrap outside tests",
            value: float(count(".unwrap()")),
            goal: Goal::Hard(0.0),
        },
        Row {
            name: "expect outside tests, per kLOC",
            value: expects,
            goal: Goal::Hard(1.0),
        },
    ]
}

fn ratios(tree: &Tree) -> Vec<Row> {
    let lines = |crates: &[&str], test: bool| -> f64 {
        let ours = tree
            .sources
            .iter()
            .filter(|s| crates.iter().any(|c| s.path.starts_with(c)));
        float(
            ours.flat_map(|s| s.code_lines().filter(move |(n, _)| s.is_test(*n) == test))
                .count(),
        )
    };
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let held = ["mc-core/", "mc-store/"];
    let glue = ratio(
        lines(&["mc-py/src/", "mc-node/src/"], false),
        lines(&["mc-core/src/"], false),
    );
    vec![
        Row {
            name: "test lines : source lines (core, store)",
            value: ratio(lines(&held, true), lines(&held, false)),
            goal: Goal::AtLeast(1.2),
        },
        Row {
            name: "binding lines : core lines",
            value: glue,
            goal: Goal::AtMost(0.15),
        },
    ]
}

/// The smallest value that `percent` of all values do not pass.
fn quantile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of lines are far below 2^52"
)]
const fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    fn value(files: &[(&str, &str)], name: &str) -> f64 {
        rows(&tree(files))
            .iter()
            .find(|row| row.name.starts_with(name))
            .unwrap()
            .value
    }

    fn is(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 1e-9
    }

    #[test]
    fn quantiles_take_the_nearest_rank() {
        let values: Vec<_> = (1..=200).collect();
        assert_eq!([50, 99, 100].map(|p| quantile(&values, p)), [100, 198, 200]);
        assert_eq!(quantile(&[], 50), 0);
    }

    #[test]
    fn only_production_code_counts() {
        let call = "fn a() {\n    b.unwrap();\n}\n";
        let test = format!("#[cfg(test)]\nmod tests {{\n{call}}}\n");
        let files = [
            ("a/src/a.rs", call),
            ("a/src/b.rs", &test),
            ("a/tests/c.rs", call),
        ];
        assert!(is(value(&files, "unwrap"), 1.0));
        assert!(is(value(&files, "functions"), 1.0));
    }

    #[test]
    fn the_test_ratio_is_of_core_and_store() {
        let files = [
            ("mc-core/src/a.rs", "fn a() {}\n"),
            ("mc-store/tests/b.rs", "fn a() {}\nfn b() {}\n"),
            ("mc-cli/src/c.rs", "fn a() {}\n"),
        ];
        assert!(is(value(&files, "test lines"), 2.0));
    }

    #[test]
    fn a_passed_hard_limit_fails_and_a_missed_goal_does_not() {
        let row = |goal| Row {
            name: "a",
            value: 2.0,
            goal,
        };
        assert!(!row(Goal::Hard(1.0)).is_within_hard_limit());
        assert!(row(Goal::AtMost(1.0)).is_within_hard_limit());
        assert!(
            row(Goal::AtMost(1.0))
                .to_string()
                .ends_with("goal <= 1  MISSED")
        );
    }
}
