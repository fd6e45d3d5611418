//! Layers: the dearer price is enforced and the first listed, overrides lie on top, tables read back.

use std::sync::Arc;

use super::super::{
    Overrides, PriceChange, PriceLayers, PriceSource, PriceTable, ServiceTier, Terms, TokenClass,
    cost, diff,
};
use super::{HEAD, at, id, one, row};
use crate::usage::Usage;

const NOW: &str = "2026-11-21T12:00:00Z";

fn table(lines: &str) -> PriceTable {
    PriceTable::parse(&one(lines)).unwrap()
}

fn nano(table: &PriceTable, model: &str, usage: &Usage) -> i64 {
    let terms = Terms {
        at: at(NOW),
        ..Terms::default()
    };
    let price = table.find(&id(model), terms.at).unwrap();
    cost(price, usage, &terms).unwrap().money.as_nano()
}

fn overridden(table: &PriceTable, text: &str) -> Result<PriceTable, String> {
    let text = format!("schema = 1\nversion = \"ours\"\n{text}");
    let overrides = Overrides::parse(&text).map_err(|error| format!("{error:?}"))?;
    overrides.over(table).map_err(|error| format!("{error:?}"))
}

#[test]
fn of_two_sources_the_dearer_is_enforced_and_the_first_is_listed() {
    let first = table(r#"rate = [{ input = "1", output = "8" }]"#);
    let other = table(r#"rate = [{ input = "3", output = "5" }]"#);
    let merged = first.merged(&other).unwrap();
    let rate = &merged.table.models()[0].rates[0];
    assert_eq!(rate.prices[&TokenClass::Input].to_string(), "3");
    assert_eq!(rate.prices[&TokenClass::Output].to_string(), "8");
    assert_eq!(rate.listed[&TokenClass::Input].to_string(), "1");
    assert!(!rate.listed.contains_key(&TokenClass::Output));
    assert_eq!(merged.disagreements.len(), 3, "{:?}", merged.disagreements);
    let listed = merged.table.models()[0].as_listed();
    assert_eq!(listed.rates[0].prices[&TokenClass::Input].to_string(), "1");
}

#[test]
fn a_merged_table_is_never_cheaper_than_either_at_any_size_or_hour() {
    let first = table(
        r#"rate = [{ input = "1", output = "8" }, { tier_start = 200, input = "2", output = "9" },
        { valid_hours_utc = "11:00-13:00", input = "0.5", output = "4" },
        { tier_start = 200, valid_hours_utc = "11:00-13:00", input = "1", output = "4" }]"#,
    );
    let other = table(
        r#"tier_inclusive = true
        rate = [{ input = "1.5", output = "1" }, { tier_start = 100, input = "3", output = "2" }]"#,
    );
    let merged = first.merged(&other).unwrap().table;
    for input in [1, 99, 100, 101, 199, 200, 201, 5_000] {
        let usage = Usage::text(input, 7);
        let own = nano(&merged, "p/m", &usage);
        assert!(own >= nano(&first, "p/m", &usage), "{input}");
        assert!(own >= nano(&other, "p/m", &usage), "{input}");
    }
}

#[test]
fn periods_of_one_source_are_kept_where_the_other_has_none() {
    let first = table(
        "effective_until = \"2026-06-01T00:00:00Z\"\nrate = [{ input = \"1\", output = \"1\" }]",
    );
    let other = table(r#"rate = [{ input = "2", output = "2" }]"#);
    let merged = first.merged(&other).unwrap().table;
    let prices: Vec<String> = merged
        .models()
        .iter()
        .map(|row| {
            let from = row
                .effective_from
                .map_or(String::new(), |from| from.to_string());
            format!("{from} {}", row.rates[0].prices[&TokenClass::Input])
        })
        .collect();
    assert_eq!(prices, [" 2", "2026-06-01T00:00:00.000000Z 2"]);
}

#[test]
fn an_alias_that_the_other_source_prices_by_itself_becomes_a_model() {
    let first =
        table("aliases = [\"p/m-1\", \"p/m-2\"]\nrate = [{ input = \"1\", output = \"1\" }]");
    let text = format!(
        "{HEAD}{}rate = [{{ input = \"4\", output = \"1\" }}]\n",
        row("m-1")
    );
    let other = PriceTable::parse(&text).unwrap();
    let merged = first.merged(&other).unwrap().table;
    let million = Usage::text(1_000_000, 0);
    assert_eq!(nano(&merged, "p/m-1", &million), 4_000_000_000);
    assert_eq!(nano(&merged, "p/m-2", &million), 1_000_000_000);
}

#[test]
fn a_discount_lowers_every_price_and_is_rounded_up() {
    let base = table(
        "aliases = [\"p/alias\"]\nrate = [{ input = \"1\", output = \"0.000001\" }]\nunit = [{ name = \"web_search\", per = 1000, price = \"10\" }]",
    );
    let discounted = overridden(
        &base,
        "[[discount]]\nmodel = \"p/alias\"\nfactor = \"2/3\"\n",
    )
    .unwrap();
    let row = &discounted.models()[0];
    assert_eq!(row.rates[0].prices[&TokenClass::Input].as_pico(), 666_667);
    assert_eq!(row.rates[0].prices[&TokenClass::Output].as_pico(), 1);
    assert!(row.origin.source.contains("times 2/3 by ours"));
    assert_ne!(discounted.version(), base.version());
}

#[test]
fn rows_of_overrides_stand_instead_of_all_that_is_known() {
    let base = table("aliases = [\"p/n\"]\nrate = [{ input = \"1\", output = \"1\" }]");
    let own = format!("{}rate = [{{ input = \"9\", output = \"9\" }}]\n", row("n"));
    let over = overridden(&base, &own).unwrap();
    assert_eq!(nano(&over, "p/n", &Usage::text(1_000, 0)), 9_000_000);
    assert_eq!(nano(&over, "p/m", &Usage::text(1_000, 0)), 1_000_000);
}

#[test]
fn bad_overrides_are_refused_with_their_places() {
    let base = table(r#"rate = [{ input = "1", output = "1" }]"#);
    let own = |price: &str| {
        format!(
            "{}rate = [{{ input = \"{price}\", output = \"1\" }}]\n",
            row("n")
        )
    };
    let discount = |model: &str, factor: &str| {
        format!("[[discount]]\nmodel = \"{model}\"\nfactor = \"{factor}\"\n")
    };
    for (text, place) in [
        (own("-1"), "/model/0/rate/0/input"),
        (own("0.0000001"), "/model/0/rate/0/input"),
        (own("NaN"), "/model/0/rate/0/input"),
        (discount("p/nobody", "1/2"), "/discount/0/model"),
        (discount("p/m", "-1/2"), "/discount/0/factor"),
        (discount("p/m", "0/2"), "/discount/0/factor"),
        (discount("p/m", "0.5"), "/discount/0/factor"),
        (
            discount("p/m", "1/2") + &discount("p/m", "1/3"),
            "/discount/1",
        ),
        ("colour = \"red\"\n".to_owned(), "/colour"),
    ] {
        let error = overridden(&base, &text).unwrap_err();
        assert!(error.contains(place), "{text}: {error}");
    }
}

#[test]
fn overrides_are_the_same_in_yaml() {
    let toml = "schema = 1\nversion = \"ours\"\n[[discount]]\nmodel = \"p/m\"\nfactor = \"4/5\"\n";
    let yaml = "schema: 1\nversion: ours\ndiscount:\n  - { model: p/m, factor: 4/5 }\n";
    let read = Overrides::parse_yaml(yaml.as_bytes()).unwrap();
    assert_eq!(read, Overrides::parse(toml).unwrap());
    assert_eq!(
        Overrides::from_canonical(&read.to_canonical().unwrap()).unwrap(),
        read
    );
}

#[test]
fn tables_and_layers_read_back_as_they_were() {
    let embedded = PriceTable::embedded();
    let bytes = embedded.to_canonical().unwrap();
    let read = PriceTable::from_canonical(&bytes).unwrap();
    assert_eq!(read.version(), embedded.version());
    assert!(diff(&read, embedded).is_empty());
    for bad in [
        &b"{}"[..],
        b"[]",
        b"",
        br#"{"schema":2,"currency":"USD","version":"","model":[]}"#,
    ] {
        assert!(PriceTable::from_canonical(bad).is_err());
    }
}

#[test]
fn layers_come_to_the_same_table_however_they_were_changed() {
    let base = Arc::new(table(r#"rate = [{ input = "1", output = "1" }]"#));
    let other = Arc::new(table(r#"rate = [{ input = "2", output = "2" }]"#));
    let text = "schema = 1\nversion = \"o\"\n[[discount]]\nmodel = \"p/m\"\nfactor = \"1/2\"\n";
    let over = PriceChange::Override(Arc::new(Overrides::parse(text).unwrap()));
    let import = PriceChange::Import(PriceSource::Litellm, other);
    let layers = PriceLayers::of(base);
    let one = layers.after(&over).after(&import).in_force().unwrap().table;
    let two = layers.after(&import).after(&over).in_force().unwrap().table;
    assert_eq!(one.version(), two.version());
    assert_eq!(nano(&one, "p/m", &Usage::text(1_000, 0)), 1_000_000);
    let none = layers
        .after(&import)
        .after(&PriceChange::DropImport(PriceSource::Litellm));
    assert!(none.is_base_alone());
}

#[test]
fn a_difference_names_model_and_field() {
    let a = table(r#"rate = [{ input = "1", output = "1" }]"#);
    let b = table(
        "max_input_tokens = 5\nrate = [{ input = \"2\", output = \"1\" }, { service_tier = \"batch\", input = \"1\", output = \"1\" }]",
    );
    let found = diff(&a, &b);
    assert_eq!(found.len(), 1);
    let fields: Vec<&str> = found[0]
        .fields
        .iter()
        .map(|field| field.field.as_str())
        .collect();
    let batch = format!("{} from 0: input", ServiceTier::Batch);
    assert!(fields.contains(&"standard from 0: input") && fields.contains(&batch.as_str()));
    assert!(fields.contains(&"max_input_tokens"), "{fields:?}");
    assert!(diff(&a, &a).is_empty());
}

#[test]
fn hours_of_a_smaller_size_do_not_lower_a_larger_one() {
    // At night a small call is cheap; a large one costs the same all day.
    let first = table(
        r#"rate = [{ input = "2", output = "2" },
        { valid_hours_utc = "11:00-13:00", input = "1", output = "1" },
        { tier_start = 100, input = "9", output = "9" }]"#,
    );
    let usage = Usage::text(500, 500);
    let merged = first.merged(&first).unwrap();
    assert_eq!(merged.disagreements, Vec::new());
    assert_eq!(
        nano(&merged.table, "p/m", &usage),
        nano(&first, "p/m", &usage)
    );
}

#[test]
fn one_model_has_one_discount_whatever_it_is_called() {
    let table = table("aliases = [\"p/m-1\"]\nrate = [{ input = \"4\", output = \"4\" }]\n");
    let twice = "[[discount]]\nmodel = \"p/m\"\nfactor = \"1/2\"\n\
        [[discount]]\nmodel = \"p/m-1\"\nfactor = \"1/2\"\n";
    let refused = overridden(&table, twice).unwrap_err();
    assert!(refused.contains("/discount/1/model"), "{refused}");
    assert!(refused.contains("`p/m` has a discount"), "{refused}");
    let once = "[[discount]]\nmodel = \"p/m-1\"\nfactor = \"1/2\"\n";
    let half = overridden(&table, once).unwrap();
    let usage = Usage::text(1_000, 0);
    assert_eq!(nano(&half, "p/m", &usage) * 2, nano(&table, "p/m", &usage));
}
