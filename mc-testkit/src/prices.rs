//! A price table with one model whose prices are easy to add up.

/// A token of the model `test/m` costs one thousandth of a dollar, in and out; it takes a thousand
/// tokens at most each way. What it means is found with `PriceTable::parse`.
pub const TEST_PRICES: &str = r#"
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
rate = [{ input = "1000", output = "1000" }]
"#;
