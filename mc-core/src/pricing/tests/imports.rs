//! Price lists of others: what is taken, rounded, left and refused.

use std::collections::BTreeSet;

use super::super::{
    ImportOptions, ImportReport, Imported, PicoUsd, PriceSource, Rate, ServiceTier, TokenClass,
    Unit, import,
};
use super::{at, id};
use crate::error::Result;

const NOW: &str = "2026-11-21T12:00:00Z";

fn read(source: PriceSource, text: &str, providers: &[&str]) -> Result<Imported> {
    let options = ImportOptions {
        source,
        providers: providers.iter().map(ToString::to_string).collect(),
        checked_at: at("2026-11-21T00:00:00Z"),
    };
    import(text.as_bytes(), &options)
}

fn litellm(rows: &str) -> Imported {
    read(PriceSource::Litellm, &format!("{{{rows}}}"), &[]).unwrap()
}

fn genai(models: &str) -> Imported {
    let text = format!(r#"[{{"id":"x-ai","models":[{models}]}}]"#);
    read(PriceSource::GenaiPrices, &text, &[]).unwrap()
}

fn rate(read: &Imported, model: &str, tier: ServiceTier, start: u64) -> Rate {
    let row = read.table.find(&id(model), at(NOW)).unwrap();
    let found = row
        .rates
        .iter()
        .find(|rate| rate.service_tier == tier && rate.tier_start == start);
    found.unwrap().clone()
}

fn price(rate: &Rate, class: TokenClass) -> String {
    rate.prices[&class].to_string()
}

/// What was said of each row that was not taken.
fn skipped(report: &ImportReport) -> Vec<(&str, &str)> {
    let rows = report.skipped.iter();
    rows.map(|row| (row.row.as_str(), row.reason.as_str()))
        .collect()
}

const CHAT: &str = r#""litellm_provider":"openai","mode":"chat""#;

#[test]
fn a_row_is_read_with_classes_sizes_and_tiers() {
    let read = litellm(&format!(
        r#""m":{{{CHAT},"input_cost_per_token":2.5e-06,"output_cost_per_token":1e-05,
        "cache_read_input_token_cost":2.5e-07,"input_cost_per_token_above_272k_tokens":5e-06,
        "input_cost_per_token_batches":1.25e-06,"output_cost_per_token_batches":5e-06,
        "max_input_tokens":1000,"max_output_tokens":10,
        "regional_processing_uplift_multiplier_eu":1.1,
        "search_context_cost_per_query":{{"search_context_size_low":0.01}}}}"#
    ));
    let row = read.table.find(&id("openai/m"), at(NOW)).unwrap();
    let long = rate(&read, "openai/m", ServiceTier::Standard, 272_000);
    assert_eq!(price(&long, TokenClass::Input), "5");
    assert_eq!(price(&long, TokenClass::Output), "10");
    let batch = rate(&read, "openai/m", ServiceTier::Batch, 0);
    assert_eq!(price(&batch, TokenClass::Input), "1.25");
    assert_eq!(
        (row.max_input_tokens, row.max_output_tokens),
        (Some(1000), Some(10))
    );
    assert_eq!(row.uplift["eu"].to_string(), "11/10");
    assert_eq!(
        row.units[&Unit::WebSearch],
        PicoUsd::from_pico(10_000_000_000)
    );
}

#[test]
fn a_price_finer_than_a_pico_is_rounded_up_and_named() {
    let read = litellm(&format!(
        r#""m":{{{CHAT},"input_cost_per_token":1.00000001e-07,"output_cost_per_token":1e-06}}"#
    ));
    let standard = rate(&read, "openai/m", ServiceTier::Standard, 0);
    assert_eq!(price(&standard, TokenClass::Input), "0.100001");
    let lossy = &read.report.lossy[0];
    assert_eq!((&*lossy.row, &*lossy.key), ("m", "input_cost_per_token"));
    assert!(lossy.what.contains("1.00000001e-07"), "{lossy:?}");
}

#[test]
fn what_a_tier_does_not_price_above_a_size_costs_the_dearer_reading_and_is_named() {
    let read = litellm(&format!(
        r#""m":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":2e-06,
        "input_cost_per_token_above_200k_tokens":4e-06,"output_cost_per_token_above_200k_tokens":8e-06,
        "input_cost_per_token_batches":5e-07,"output_cost_per_token_batches":1e-06}}"#
    ));
    let long = rate(&read, "openai/m", ServiceTier::Batch, 200_000);
    assert_eq!(price(&long, TokenClass::Input), "4");
    assert_eq!(
        (&*read.report.lossy[0].row, &*read.report.lossy[0].key),
        ("m", "batch")
    );
}

#[test]
fn keys_that_are_not_used_are_counted_with_examples() {
    let row = |name: &str| {
        format!(
            r#""{name}":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":1e-06,
            "supports_vision":true,"input_cost_per_token_ultrafast":1e-05}}"#
        )
    };
    let rows: Vec<String> = ["a", "b", "c", "d"].map(row).into();
    let unused = litellm(&rows.join(",")).report.unused;
    assert_eq!(
        unused.keys().collect::<Vec<_>>(),
        ["input_cost_per_token_ultrafast", "supports_vision"]
    );
    let fast = &unused["input_cost_per_token_ultrafast"];
    assert_eq!((fast.count, fast.is_price), (4, true));
    assert_eq!(fast.examples, ["a", "b", "c"]);
    assert!(!unused["supports_vision"].is_price);
}

#[test]
fn a_price_in_a_form_that_is_not_read_is_reported_as_a_key_that_was_not_used() {
    let read = litellm(&format!(
        r#""m":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":1e-06,
        "input_cost_per_request":null,"search_context_cost_per_query":0.01}},
        "n":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":1e-06,
        "search_context_cost_per_query":{{"small":0.01,"large":null}}}}"#
    ));
    let unused = &read.report.unused;
    let all: Vec<&String> = unused.keys().collect();
    assert_eq!(all, ["search_context_cost_per_query"]);
    let search = &unused["search_context_cost_per_query"];
    assert_eq!(
        (search.is_price, &*search.examples),
        (true, &["m".to_owned()][..])
    );
}

#[test]
fn rows_without_a_price_of_their_own_are_left_and_named() {
    let read = litellm(&format!(
        r#""sample_spec":{{{CHAT}}},
        "ok":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":1e-06}},
        "free":{{{CHAT},"input_cost_per_token":0.0,"output_cost_per_token":0}},
        "half":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":0}},
        "image":{{{CHAT},"output_cost_per_image":1}}"#
    ));
    let names: Vec<&str> = skipped(&read.report).iter().map(|row| row.0).collect();
    assert_eq!(names, ["free", "half", "image", "sample_spec"]);
    assert!(!read.table.has(&id("openai/free")));
}

#[test]
fn a_bad_number_refuses_the_whole_file_with_every_place() {
    let row = |name: &str, input: &str| {
        format!(
            r#""{name}":{{{CHAT},"input_cost_per_token":{input},"output_cost_per_token":1e-06}}"#
        )
    };
    let rows = [
        row("a", "1e-06"),
        row("b", "-1e-06"),
        row("c", "\"NaN\""),
        row("d", "true"),
    ];
    let text = format!("{{{}}}", rows.join(","));
    let error = format!("{:?}", read(PriceSource::Litellm, &text, &[]).unwrap_err());
    for place in [
        "/b/input_cost_per_token",
        "/c/input_cost_per_token",
        "/d/input_cost_per_token",
    ] {
        assert!(error.contains(place), "{place}: {error}");
    }
    for bad in [
        "",
        "[]",
        "{\"a\":NaN}",
        "{\"a\":1,\"a\":1}",
        "{\"a\":{}} x",
        "{}",
    ] {
        assert!(read(PriceSource::Litellm, bad, &[]).is_err(), "{bad}");
    }
}

#[test]
fn only_providers_that_are_asked_for_are_taken() {
    let text = format!(
        r#"{{"a":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":1e-06}},
        "gemini/b":{{"litellm_provider":"gemini","input_cost_per_token":-1,"output_cost_per_token":1e-06}}}}"#
    );
    let one = read(PriceSource::Litellm, &text, &["openai"]).unwrap();
    assert_eq!((one.report.models, one.report.other_providers), (1, 1));
    assert!(read(PriceSource::Litellm, &text, &["google"]).is_err());
    assert!(read(PriceSource::Litellm, &text, &["nobody"]).is_err());
}

#[test]
fn two_names_of_one_model_cost_the_dearer_of_each_price() {
    let read = litellm(&format!(
        r#""m":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":9e-06}},
        "openai/m":{{{CHAT},"input_cost_per_token":2e-06,"output_cost_per_token":3e-06}}"#
    ));
    let both = rate(&read, "openai/m", ServiceTier::Standard, 0);
    assert_eq!(price(&both, TokenClass::Input), "2");
    assert_eq!(price(&both, TokenClass::Output), "9");
    assert!(both.listed.is_empty());
    assert!(read.report.lossy[0].what.contains("the dearer prices hold"));
}

#[test]
fn dates_hours_and_variants_become_periods_rates_and_tiers() {
    let read = genai(
        r#"{"id":"g","match":{"or":[{"equals":"g-1"},{"starts_with":"g-"}]},"context_window":100,
        "prices":[{"prices":{"input_mtok":1,"output_mtok":2}},
          {"constraint":{"start_date":"2026-11-01"},"prices":{"input_mtok":{"base":3,"tiers":[{"start":50,"price":6}]},"output_mtok":4}},
          {"constraint":{"start_time":"16:30:00Z","end_time":"00:30:00Z"},"prices":{"input_mtok":0.5,"output_mtok":1}}],
        "price_variants":[{"when":{"processing":"batch"},"prices":{"input_mtok":1.5,"output_mtok":2}},
          {"when":{"speed":"fast"},"prices":{"input_mtok":9}}]}"#,
    );
    let periods = read.table.models();
    assert_eq!(periods.len(), 2);
    assert_eq!(periods[0].effective_until, Some(at("2026-11-01T00:00:00Z")));
    assert!(read.table.has(&id("xai/g-1")));
    let row = read.table.find(&id("xai/g"), at(NOW)).unwrap();
    let rates: BTreeSet<String> = row
        .rates
        .iter()
        .map(|rate| {
            let hours = rate
                .valid_hours_utc
                .map_or(String::new(), |hours| hours.to_string());
            format!(
                "{} {} {hours} {}",
                rate.service_tier,
                rate.tier_start,
                rate.prices[&TokenClass::Input]
            )
        })
        .collect();
    for rate in [
        "standard 0  3",
        "standard 50  6",
        "standard 0 16:30-00:30 0.5",
        "batch 0  1.5",
    ] {
        assert!(rates.contains(rate), "{rate}: {rates:?}");
    }
    let unused: Vec<&String> = read.report.unused.keys().collect();
    assert_eq!(unused, ["match.starts_with", "price_variants.speed=fast"]);
}

#[test]
fn the_same_file_gives_the_same_version() {
    let rows =
        format!(r#""m":{{{CHAT},"input_cost_per_token":1e-06,"output_cost_per_token":1e-06}}"#);
    assert_eq!(
        litellm(&rows).table.version(),
        litellm(&rows).table.version()
    );
}
