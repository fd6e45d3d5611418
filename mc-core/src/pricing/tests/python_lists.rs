//! The file of Python that a package has its list in: read as the JSON that says the same.

use std::collections::BTreeSet;

use super::super::{ImportOptions, Imported, PriceSource, import};
use super::{at, id};
use crate::error::Result;

fn read(text: &str) -> Result<Imported> {
    let options = ImportOptions {
        source: PriceSource::GenaiPrices,
        providers: BTreeSet::new(),
        checked_at: at("2026-11-21T00:00:00Z"),
    };
    import(text.as_bytes(), &options)
}

/// A file with one model of one provider, and what else the model has.
fn file(model: &str) -> String {
    format!(
        "\"\"\"Not a list: providers\"\"\"\n\nimport datetime\nfrom decimal import Decimal\n\n\
         __all__ = ('providers',)\n\nproviders: list[Provider] = [\n    \
         Provider(id='x-ai', models=[ModelInfo(id='g', {model})]),\n]\n"
    )
}

/// The message of what refuses a file.
fn refusal(text: &str) -> String {
    read(text).unwrap_err().message().to_owned()
}

const PRICES: &str = "prices=ModelPrice(input_mtok=Decimal('1.25'), output_mtok=Decimal('2'))";

#[test]
fn a_list_in_python_is_read_as_the_json_that_says_the_same() {
    let python = read(&file(
        r#"context_window=1_000, deprecated=None, name='it\'s "\u0067"' ' r',  # A comment.
        match=ClauseOr(or_=[ClauseEquals(equals="g-1"), ClauseRegex(regex=r'g-\d')]),
        prices=[ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1'), output_mtok=Decimal('2'))),
          ConditionalPrice(constraint=StartDateConstraint(start_date=datetime.date(2026, 11, 1)),
            prices=ModelPrice(input_mtok=TieredPrices(base=Decimal('3'), tiers=[Tier(start=50, price=Decimal('6'))]),
                              output_mtok=Decimal('4'))),
          ConditionalPrice(constraint=TimeOfDateConstraint(
              start_time=datetime.time(16, 30, tzinfo=datetime.timezone.utc),
              end_time=datetime.time(0, 30, tzinfo=datetime.UTC)),
            prices=ModelPrice(input_mtok=0.5, output_mtok=1))],
        price_variants=[PriceVariant(when={'processing': 'batch'}, prices=ModelPrice(input_mtok=1.5, output_mtok=2))],"#,
    ));
    let json = read(
        r#"[{"id":"x-ai","models":[{"id":"g","name":"it's \"g\" r","context_window":1000,
        "match":{"or":[{"equals":"g-1"},{"regex":"g-\\d"}]},
        "prices":[{"prices":{"input_mtok":1,"output_mtok":2}},
          {"constraint":{"start_date":"2026-11-01"},"prices":{"input_mtok":{"base":3,"tiers":[{"start":50,"price":6}]},"output_mtok":4}},
          {"constraint":{"start_time":"16:30:00Z","end_time":"00:30:00Z"},"prices":{"input_mtok":0.5,"output_mtok":1}}],
        "price_variants":[{"when":{"processing":"batch"},"prices":{"input_mtok":1.5,"output_mtok":2}}]}]}]"#,
    );
    let (python, json) = (python.unwrap(), json.unwrap());
    assert_eq!(python.report, json.report);
    assert!(python.table.has(&id("xai/g-1")));
    let rates = |read: &Imported| -> Vec<_> {
        let rows = read.table.models().iter();
        rows.map(|row| (row.effective_from, row.max_input_tokens, row.rates.clone()))
            .collect()
    };
    assert_eq!(rates(&python), rates(&json));
}

#[test]
fn code_is_refused_with_its_line() {
    assert!(read(&file(PRICES)).is_ok());
    for (bad, rule) in [
        (
            "prices=ModelPrice(input_mtok=1 + 1)",
            "line 9: a comma or `)` is wanted, not `+`",
        ),
        (
            "prices=[Price() for one in all]",
            "line 9: a comma or `]` is wanted, not `f`",
        ),
        ("prices=prices", "line 9: `prices` is no literal"),
        (
            "name=f'{x}', prices=[]",
            "line 9: `f` before a quote is not read",
        ),
        ("name='open, prices=[]", "line 9: a string does not end"),
        (
            "name='\\q', prices=[]",
            "line 9: the escape `\\q` is not read",
        ),
        ("context_window=0x10", "line 9: `0x10` is no decimal number"),
        (
            "context_window=10, context_window=11",
            "line 9: `context_window` is given twice",
        ),
        (
            "price_variants={'a': 1, 'a': 2}",
            "line 9: a key is given twice",
        ),
        ("prices=eval('1')", "line 9: `eval` has no such form here"),
        (
            "prices=Decimal([])",
            "line 9: `Decimal` takes text and numbers",
        ),
    ] {
        assert_eq!(refusal(&file(bad)), rule, "{bad}");
    }
}

#[test]
fn a_list_in_python_has_to_be_the_last_of_its_file_and_not_too_deep() {
    let more = format!("{}providers.clear()\n", file(PRICES));
    assert_eq!(refusal(&more), "line 11: something follows the list");
    let deep = file(&format!("name={}", "[".repeat(100_000)));
    assert!(refusal(&deep).contains("inside each other"), "{deep:.200}");
    assert!(refusal("providers = [").contains("a value is missing"));
}

#[test]
fn a_price_in_python_that_is_no_number_refuses_the_file_with_its_place() {
    let rule = refusal(&file(
        "prices=ModelPrice(input_mtok=Decimal('NaN'), output_mtok=Decimal('2'))",
    ));
    assert!(rule.starts_with("/0/models/0/input_mtok: "), "{rule}");
}
