//! The text form: what is read, what is refused, and the version.

use super::super::{
    InputBound, PriceTable, ReasoningLimit, ServiceTier, TierEdge, TokenClass, Unit,
};
use super::{HEAD, at, id, one, only, refused, row};
use crate::json;

#[test]
fn every_key_of_the_schema_is_read() {
    let price = only(
        r#"aliases = ["q/m", "p/m-2026-01-01"]
        max_input_tokens = 1000
        max_output_tokens = 100
        max_tokens_includes_reasoning = false
        input_bound = { kind = "bytes", framing = 9 }
        effective_from = "2026-03-05T00:00:00Z"
        effective_until = "2027-03-05T02:00:00+02:00"
        tier_metric = "input_total"
        tier_inclusive = true
        uplift = { eu = "11/10" }
        inherits = { output_image = "output" }
        rate = [
            { input = "2.5", output = "15" },
            { service_tier = "batch", valid_hours_utc = "16:30-00:30", input = "1", output = "2" },
            { service_tier = "batch", input = "2", output = "3" },
        ]
        unit = [{ name = "web_search", per = 1000, price = "10", reserve_cap_field = "max_uses" }]"#,
    );
    assert_eq!(
        (price.max_input_tokens, price.max_output_tokens),
        (Some(1000), Some(100))
    );
    assert_eq!(price.reasoning_limit, ReasoningLimit::Extra);
    assert_eq!(price.input_bound, InputBound::Bytes { framing: 9 });
    assert_eq!(price.effective_until, Some(at("2027-03-05T00:00:00Z")));
    assert_eq!(price.tier_edge, TierEdge::Inclusive);
    assert_eq!(price.aliases.len(), 2);
    assert_eq!(
        price.rates[0].prices[&TokenClass::Input].as_pico(),
        2_500_000
    );
    assert_eq!(price.rates[2].service_tier, ServiceTier::Batch);
    assert_eq!(price.units[&Unit::WebSearch].as_pico(), 10_000_000_000);
}

/// A row's lines, the place that is named, and a part of the rule.
const WRONG: &[(&str, &str, &str)] = &[
    (
        r#"rate = [{ input = "-1", output = "1" }]"#,
        "/model/0/rate/0/input",
        "negative",
    ),
    (
        r#"rate = [{ input = nan, output = "1" }]"#,
        "/model/0/rate/0/input",
        "in quotes",
    ),
    (
        r#"rate = [{ input = 2.5, output = "1" }]"#,
        "/model/0/rate/0/input",
        "in quotes",
    ),
    (
        r#"rate = [{ input = "NaN", output = "1" }]"#,
        "/model/0/rate/0/input",
        "decimal",
    ),
    (
        r#"rate = [{ input = "0.0000001", output = "1" }]"#,
        "/model/0/rate/0/input",
        "six",
    ),
    (
        r#"rate = [{ input = "1" }]"#,
        "/model/0/rate/0/output",
        "missing",
    ),
    (
        r#"rate = [{ input = "1", output = "1", inptu = "1" }]"#,
        "/model/0/rate/0/inptu",
        "not known",
    ),
    ("rates = []", "/model/0/rates", "not known"),
    ("rate = []", "/model/0/rate", "between 1 and"),
    ("", "/model/0/rate", "missing"),
    ("rate = 3", "/model/0/rate", "a list"),
    (
        "max_output_tokens = -1",
        "/model/0/max_output_tokens",
        "at least 0",
    ),
    (
        r#"tier_metric = "output""#,
        "/model/0/tier_metric",
        "input_total",
    ),
    (
        r#"effective_from = "2026-03-05""#,
        "/model/0/effective_from",
        "written",
    ),
    (r#"uplift = { eu = "1.1" }"#, "/model/0/uplift", "11/10"),
    (
        r#"aliases = ["no-slash"]"#,
        "/model/0/aliases/0",
        "provider/id",
    ),
    (
        r#"unit = [{ name = "search", per = 1, price = "1" }]"#,
        "/model/0/unit/0/name",
        "web_search",
    ),
    (
        r#"unit = [{ name = "page", per = 3, price = "1" }]"#,
        "/model/0/unit/0/price",
        "whole number",
    ),
    (
        r#"input_bound = { kind = "bytes" }"#,
        "/model/0/input_bound/framing",
        "missing",
    ),
];

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    for (lines, place, rule) in WRONG {
        let message = refused(&one(lines));
        assert!(
            message.contains(place) && message.contains(rule),
            "{lines}: {message}"
        );
    }
}

#[test]
fn a_row_without_a_source_is_refused() {
    let text = one(r#"rate = [{ input = "1", output = "1" }]"#);
    let message = refused(&text.replace("source = \"s 1\"\n", ""));
    assert!(
        message.contains("/model/0/source: this key is missing"),
        "{message}"
    );
    assert!(refused(&text.replace("s 1", " ")).contains("/model/0/source"));
    assert!(refused(&text.replace("2026-11-20", "2026-13-01")).contains("/model/0/checked_at"));
}

#[test]
fn overlapping_tiers_and_hours_are_refused() {
    let rates = |rows: &str| refused(&one(&format!("rate = [{rows}]")));
    let plain = r#"{ input = "1", output = "1" }"#;
    let two = rates(&format!("{plain}, {plain}"));
    assert!(two.contains("two rates from tier_start 0"), "{two}");
    let night =
        |hours: &str| format!(r#"{{ valid_hours_utc = "{hours}", input = "1", output = "1" }}"#);
    let overlap = rates(&format!(
        "{plain}, {}, {}",
        night("22:00-02:00"),
        night("01:00-03:00")
    ));
    assert!(overlap.contains("two rates"), "{overlap}");
    assert!(rates(&night("22:00-02:00")).contains("no rate for all other hours"));
    let late = rates(r#"{ tier_start = 5, input = "1", output = "1" }"#);
    assert!(late.contains("no rate from tier_start 0"), "{late}");
}

#[test]
fn a_class_with_a_price_in_some_tiers_only_is_refused() {
    let message = refused(&one(
        r#"rate = [{ input = "1", cache_read = "1", output = "1" },
                   { tier_start = 5, input = "1", output = "1" }]"#,
    ));
    assert!(
        message.contains("`cache_read` has a price in some rates"),
        "{message}"
    );
}

#[test]
fn inheriting_needs_a_priced_class_of_the_same_side() {
    for heirs in [
        r#"cache_write_1h = "cache_write_5m""#,
        r#"cache_read = "output""#,
        r#"input = "input""#,
    ] {
        let lines =
            format!("inherits = {{ {heirs} }}\nrate = [{{ input = \"1\", output = \"1\" }}]");
        assert!(
            refused(&one(&lines)).contains("/model/0/inherits"),
            "{heirs}"
        );
    }
}

const RATE: &str = "rate = [{ input = \"1\", output = \"1\" }]\n";

#[test]
fn a_model_has_one_price_at_a_time() {
    let twice = |first: &str, second: &str| {
        format!("{HEAD}{}{first}{RATE}{}{second}{RATE}", row("m"), row("m"))
    };
    assert!(refused(&twice("", "")).contains("`p/m` has prices for this time in /model/0"));
    let from = |day: &str| format!("effective_from = \"{day}T00:00:00Z\"\n");
    let until = |day: &str| format!("effective_until = \"{day}T00:00:00Z\"\n");
    refused(&twice(&from("2026-01-01"), &from("2026-01-01")));
    refused(&twice(&until("2026-01-02"), &from("2026-01-01")));
    PriceTable::parse(&twice(&until("2026-01-01"), &from("2026-01-01"))).unwrap();
}

#[test]
fn an_alias_names_one_model() {
    let text = format!(
        "{HEAD}{}aliases = [\"p/n\"]\n{RATE}{}{RATE}",
        row("m"),
        row("n")
    );
    assert!(refused(&text).contains("`p/n` is also a name of `p/m`"));
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = one(r#"max_input_tokens = "x"
        rate = [{ input = "a", output = "b" }]"#);
    let error = PriceTable::parse(&text).unwrap_err();
    let violations = serde_json::to_value(error.detail().unwrap()).unwrap();
    assert_eq!(
        violations["violations"].as_array().unwrap().len(),
        3,
        "{error:?}"
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    assert!(refused("schema = 1\nschema = 1\n").contains("line 2"));
    assert!(refused("schema = 1\n[[model]\n").contains("line 2"));
    for head in [
        "",
        "schema = 2\nversion = \"t\"\n",
        "schema = 1\nversion = \"t\"\ncurrency = \"EUR\"\n",
    ] {
        refused(head);
    }
}

#[test]
fn prices_change_at_their_time_and_unknown_ids_are_not_guessed() {
    let text = format!(
        "{HEAD}{}aliases = [\"q/m\"]\neffective_until = \"2026-06-01T00:00:00Z\"\n{RATE}{}effective_from = \
         \"2026-06-01T00:00:00Z\"\nrate = [{{ input = \"2\", output = \"2\" }}]\n",
        row("m"),
        row("m"),
    );
    let table = PriceTable::parse(&text).unwrap();
    let input = |model: &str, time: &str| {
        let price = table.find(&id(model), at(time))?;
        Some(price.rates[0].prices[&TokenClass::Input].as_pico())
    };
    assert_eq!(input("p/m", "2026-05-31T23:59:59Z"), Some(1_000_000));
    assert_eq!(input("p/m", "2026-06-01T00:00:00Z"), Some(2_000_000));
    assert_eq!(input("q/m", "2026-05-31T23:59:59Z"), Some(1_000_000));
    assert_eq!(input("q/m", "2026-06-01T00:00:00Z"), None);
    for unknown in ["p/m2", "p/M", "p/", "x/m"]
        .iter()
        .filter_map(|text| crate::id::ModelId::new(text).ok())
    {
        assert!(!table.has(&unknown), "{unknown}");
    }
}

#[test]
fn the_version_is_the_hash_of_the_canonical_form() {
    let table = PriceTable::parse(&one(r#"rate = [{ input = "2.50", output = "15" }]"#)).unwrap();
    let canonical = br#"{"currency":"USD","model":[{"model":"p/m","origin":{"checked_at":1795132800000000,"source":"s 1"},"rates":[{"prices":{"input":2500000,"output":15000000}}]}],"schema":1,"version":"t"}"#;
    assert_eq!(json::canonical(&json::parse(canonical).unwrap()), canonical);
    assert_eq!(table.version(), crate::id::Digest::of(&[canonical]));
}

#[test]
fn the_version_depends_on_content_and_not_on_spelling() {
    let version = |text: &str| PriceTable::parse(text).unwrap().version();
    let two = |a: &str, b: &str| version(&format!("{HEAD}{}{RATE}{}{RATE}", row(a), row(b)));
    assert_eq!(two("a", "b"), two("b", "a"));
    let one_rate = |rate: &str| version(&one(&format!("rate = [{{ {rate} }}]")));
    let plain = one_rate(r#"input = "1", output = "2""#);
    assert_eq!(
        plain,
        one_rate(r#"output = "2.000", input = "1.0", service_tier = "standard""#)
    );
    assert_ne!(plain, one_rate(r#"input = "1", output = "2.000001""#));
    assert_eq!(
        plain,
        version(&one(
            "input_bound = { kind = \"maximum_input\" }\nrate = [{ input = \"1\", output = \"2\" }]"
        ))
    );
}

#[test]
fn a_layer_replaces_the_models_that_it_names() {
    let base = PriceTable::parse(&format!("{HEAD}{}{RATE}{}{RATE}", row("a"), row("b"))).unwrap();
    let over = PriceTable::parse(&format!(
        "{HEAD}{}rate = [{{ input = \"9\", output = \"9\" }}]\n",
        row("b")
    ));
    let both = base.layered(&over.unwrap()).unwrap();
    let input = |model: &str| {
        let price = both.find(&id(model), at("2026-11-20T00:00:00Z")).unwrap();
        price.rates[0].prices[&TokenClass::Input].to_string()
    };
    assert_eq!(
        (input("p/a"), input("p/b")),
        ("1".to_owned(), "9".to_owned())
    );
    assert_ne!(both.version(), base.version());
}

#[test]
fn the_example_of_the_documentation_is_a_table() {
    let page = include_str!("../../../../docs/prices.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let table = PriceTable::parse(example).unwrap();
    assert_eq!(table.models()[0].rates.len(), 5);
    let classes = TokenClass::ALL.iter().map(|class| class.key());
    let units = Unit::ALL.iter().map(|unit| unit.key());
    for key in classes.chain(units) {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}
