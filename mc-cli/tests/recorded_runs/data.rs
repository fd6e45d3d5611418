//! The recorded runs, read apart from the product: what the checks compare with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::Value;

/// The file, where it is at hand; else says that the test is skipped.
pub(crate) fn file() -> Option<PathBuf> {
    let beside =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/recorded_runs.jsonl.gz");
    let path = std::env::var_os("MC_RECORDED_RUNS").map_or(beside, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "skipped: no recorded runs at {} (set MC_RECORDED_RUNS)",
        path.display()
    );
    None
}

/// What the file says, without the product's reader.
pub(crate) fn runs(path: &PathBuf) -> Vec<Value> {
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

pub(crate) fn calls(run: &Value) -> &[Value] {
    run["calls"].as_array().unwrap()
}

pub(crate) fn sum(runs: &[Value], field: &str) -> u64 {
    runs.iter()
        .flat_map(calls)
        .map(|call| call[field].as_u64().unwrap())
        .sum()
}

/// USD per million tokens, in and out, of the models whose prices were published.
fn price(model: &str) -> Option<(u64, u64)> {
    match model {
        "GPT_3_5_TURBO" | "GPT_3_5_TURBO_NEW" => Some((3, 4)),
        "GPT_4" => Some((30, 60)),
        _ => None,
    }
}

pub(crate) fn is_priced(run: &Value) -> bool {
    calls(run)
        .iter()
        .all(|call| price(call["model"].as_str().unwrap()).is_some())
}

/// A call's cost in nano-USD; none where its model has no price.
pub(crate) fn cost(call: &Value) -> Option<u64> {
    let (input, output) = price(call["model"].as_str().unwrap())?;
    let count = |field: &str| call[field].as_u64().unwrap();
    Some(1_000 * (input * count("prompt_tokens") + output * count("completion_tokens")))
}

pub(crate) fn run_cost(run: &Value) -> u64 {
    calls(run).iter().filter_map(cost).sum()
}

/// Calls by phase as a step's name, in recorded order.
pub(crate) fn by_step(run: &Value) -> BTreeMap<String, Vec<&Value>> {
    let mut steps: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for call in calls(run) {
        let step = call["phase"].as_str().unwrap().to_lowercase();
        steps.entry(step).or_default().push(call);
    }
    steps
}
