//! A price table with one model, `test/m`, whose prices are easy to add up.

/// All of the row but its prices.
macro_rules! head {
    () => {
        r#"
schema = 1
currency = "USD"
version = "test"

[[model]]
provider = "test"
id = "m"
max_input_tokens = 1000
max_output_tokens = 1000
source = "test"
checked_at = "2026-01-01"
"#
    };
}

/// A token of the model `test/m` costs one thousandth of a dollar, in and out; it takes a thousand
/// tokens at most each way. What it means is found with `PriceTable::parse`.
pub const TEST_PRICES: &str = concat!(
    head!(),
    "rate = [{ input = \"1000\", output = \"1000\" }]\n"
);

/// The same model with other prices: the lines of its row behind `checked_at`, `rate` among them.
pub fn test_prices(lines: &str) -> String {
    format!("{}{lines}\n", head!())
}
