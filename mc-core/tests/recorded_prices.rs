//! Prices against the costs that recorded runs report, where the recorded runs are at hand.
//!
//! The file is taken from `MC_RECORDED_RUNS`, else from `../shared/data/recorded_runs.jsonl.gz`
//! beside the workspace; without it the tests say so and pass.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test reads a file"
)]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as a test does"
)]
#![expect(
    clippy::print_stderr,
    reason = "a test that checks nothing has to say so"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use mc_core::id::ModelId;
use mc_core::pricing::{PriceTable, Terms, cost};
use mc_core::time::Timestamp;
use mc_core::usage::Usage;
use serde_json::Value;

fn runs() -> Option<Vec<Value>> {
    let beside =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/recorded_runs.jsonl.gz");
    let path = std::env::var_os("MC_RECORDED_RUNS").map_or(beside, PathBuf::from);
    let Ok(file) = File::open(&path) else {
        eprintln!(
            "skipped: no recorded runs at {} (set MC_RECORDED_RUNS)",
            path.display()
        );
        return None;
    };
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    Some(
        lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect(),
    )
}

fn calls(run: &Value) -> &[Value] {
    run["calls"].as_array().unwrap()
}

fn model(call: &Value) -> ModelId {
    let name = match call["model"].as_str().unwrap() {
        "" => "unknown",
        name => name,
    };
    ModelId::new(&format!("recorded/{name}")).unwrap()
}

/// Our cost of a call in USD with six decimals, rounded half up, as the reports are.
fn our_cost(call: &Value) -> Option<String> {
    let price = PriceTable::embedded().find(&model(call), Timestamp::EPOCH)?;
    let count = |key: &str| call[key].as_u64().unwrap();
    let usage = Usage::text(count("prompt_tokens"), count("completion_tokens"));
    let nano = cost(price, &usage, &Terms::default())
        .unwrap()
        .money
        .as_nano();
    let micro = (nano + 500) / 1000;
    Some(format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000))
}

#[test]
fn every_reported_cost_of_a_priced_model_is_reproduced_to_the_sixth_decimal() {
    let Some(runs) = runs() else { return };
    let mut checked = 0;
    for call in runs.iter().flat_map(calls) {
        if let (Some(ours), Some(reported)) = (our_cost(call), call["reported_cost_usd"].as_f64()) {
            assert_eq!(ours, format!("{reported:.6}"), "{}", call["started"]);
            checked += 1;
        }
    }
    let expected = if is_original(&runs) { 363 } else { checked };
    assert_eq!(checked, expected);
}

/// Whether this is the file that the counts were made of.
fn is_original(runs: &[Value]) -> bool {
    let original = runs.len() == 62 && runs.iter().flat_map(calls).count() == 1255;
    if !original {
        eprintln!("skipped: counts hold for the original file of 62 runs and 1,255 calls only");
    }
    original
}

#[test]
fn fifty_seven_of_the_sixty_two_runs_use_priced_models_only() {
    let Some(runs) = runs() else { return };
    if !is_original(&runs) {
        return;
    }
    let priced = |run: &&Value| {
        let models: BTreeSet<ModelId> = calls(run).iter().map(model).collect();
        models.iter().all(|model| PriceTable::embedded().has(model))
    };
    assert_eq!(runs.iter().filter(priced).count(), 57);
}
