//! The table that comes with the software.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{PriceTable, ServiceTier, Terms, cost};
use super::{at, id};
use crate::usage::Usage;

const NOW: &str = "2026-11-21T12:00:00Z";

fn usd(model: &str, usage: Usage) -> String {
    let terms = Terms {
        at: at(NOW),
        ..Terms::default()
    };
    let price = PriceTable::embedded().find(&id(model), terms.at).unwrap();
    cost(price, &usage, &terms).unwrap().money.to_string()
}

#[test]
fn the_embedded_text_is_a_table() {
    PriceTable::parse(include_str!("../table.toml")).unwrap();
    let table = PriceTable::embedded();
    assert_eq!(table.label(), "2026-11-21.2");
    assert!(table.models().len() >= 40);
}

#[test]
fn at_least_six_providers_are_in_it() {
    let models = PriceTable::embedded().models();
    let providers: BTreeSet<_> = models.iter().map(|row| row.model.provider()).collect();
    assert!(providers.len() >= 7, "{providers:?}");
    for provider in [
        "anthropic",
        "google",
        "mistral",
        "openai",
        "xai",
        "recorded",
    ] {
        assert!(providers.contains(provider), "{provider}");
    }
}

#[test]
fn every_row_names_versions_and_is_checked_within_a_day_of_its_label() {
    for row in PriceTable::embedded().models() {
        assert!(
            !row.is_older_than(Duration::from_secs(86_400), at(NOW)),
            "{}",
            row.model
        );
        let versioned =
            row.origin.source.contains("litellm ") && row.origin.source.contains("genai-prices ");
        assert!(
            versioned || row.model.provider() == "recorded",
            "{}",
            row.model
        );
        assert!(row.holds_at(at(NOW)), "{}", row.model);
    }
}

#[test]
fn known_prices_give_known_costs() {
    let million = |input: u64, output: u64| Usage::text(input * 1_000_000, output * 1_000_000);
    assert_eq!(usd("openai/gpt-4o-mini", million(1, 1)), "0.75");
    assert_eq!(usd("openai/gpt-4o-mini-2024-07-18", million(1, 1)), "0.75");
    assert_eq!(usd("openai/gpt-5.4", Usage::text(100_000, 10_000)), "0.40");
    assert_eq!(usd("openai/gpt-5.4", Usage::text(300_000, 10_000)), "1.725");
    assert_eq!(usd("anthropic/claude-haiku-4-5", million(1, 1)), "6.00");
    assert_eq!(
        usd("google/gemini-2.5-pro", Usage::text(200_000, 1000)),
        "0.26"
    );
    assert_eq!(
        usd("gemini/gemini-2.5-pro", Usage::text(200_001, 0)),
        "0.5000025"
    );
    assert_eq!(
        usd("recorded/GPT_3_5_TURBO", Usage::text(441, 59)),
        "0.001559"
    );
    assert_eq!(usd("recorded/GPT_4", million(1, 1)), "90.00");
}

#[test]
fn caches_and_searches_cost_what_the_provider_lists() {
    let usage = Usage {
        input_cache_read: 1_000_000,
        input_cache_write_5m: 1_000_000,
        input_cache_write_1h: 1_000_000,
        web_searches: 1000,
        ..Usage::default()
    };
    assert_eq!(usd("anthropic/claude-opus-4-8", usage), "26.75");
}

#[test]
fn a_tier_is_never_cheaper_than_the_one_before_it() {
    for row in PriceTable::embedded().models() {
        for pair in row
            .rates
            .windows(2)
            .filter(|pair| pair[0].service_tier == pair[1].service_tier)
        {
            for (class, price) in &pair[0].prices {
                assert!(pair[1].prices[class] >= *price, "{} {class}", row.model);
            }
        }
        assert!(
            row.rates
                .iter()
                .any(|rate| rate.service_tier == ServiceTier::Standard)
        );
    }
}

#[test]
fn models_of_the_recorded_runs_without_a_known_price_are_unknown() {
    for model in [
        "recorded/GTP_4O_MINI",
        "recorded/LLAMA_3",
        "recorded/unknown",
        "recorded/gpt_4",
    ] {
        assert!(!PriceTable::embedded().has(&id(model)), "{model}");
    }
}

#[test]
fn processing_in_a_region_costs_what_the_provider_adds_for_it() {
    let there = |region: Option<&'static str>| {
        let terms = Terms {
            at: at(NOW),
            region,
            ..Terms::default()
        };
        let price = PriceTable::embedded().find(&id("openai/gpt-5.4"), terms.at);
        let cost = cost(price.unwrap(), &Usage::text(100_000, 0), &terms);
        cost.map(|cost| cost.money.to_string())
    };
    assert_eq!(there(None).unwrap(), "0.25");
    assert_eq!(there(Some("eu")).unwrap(), "0.275");
    assert_eq!(there(Some("us")).unwrap(), "0.275");
    assert!(there(Some("mars")).is_err(), "nobody knows what is added");
}
