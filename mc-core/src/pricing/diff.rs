//! What differs between two price tables, model by model.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::model::ModelPrice;
use super::table::PriceTable;
use crate::id::ModelId;
use crate::time::Timestamp;

/// What differs in one model's prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceDifference {
    /// The model.
    pub model: ModelId,
    /// What it has in one table and not, or otherwise, in the other.
    pub fields: Vec<FieldDifference>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// The field: `standard from 0: input`, `max_input_tokens`, and the period where there are several.
    pub field: String,
    /// What the first table has; none where it has nothing.
    pub before: Option<String>,
    /// What the second table has.
    pub after: Option<String>,
}

/// Compares two tables; what a row is read from and when is no difference.
pub fn diff(before: &PriceTable, after: &PriceTable) -> Vec<PriceDifference> {
    let (before, after) = (by_model(before), by_model(after));
    let models: BTreeSet<&ModelId> = before.keys().chain(after.keys()).copied().collect();
    let none = BTreeMap::new();
    let mut differences = Vec::new();
    for model in models {
        let a = before.get(model).unwrap_or(&none);
        let b = after.get(model).unwrap_or(&none);
        let fields: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let fields: Vec<FieldDifference> = fields
            .into_iter()
            .filter(|field| a.get(*field) != b.get(*field))
            .map(|field| FieldDifference {
                field: field.clone(),
                before: a.get(field).cloned(),
                after: b.get(field).cloned(),
            })
            .collect();
        if !fields.is_empty() {
            differences.push(PriceDifference {
                model: model.clone(),
                fields,
            });
        }
    }
    differences
}

fn by_model(table: &PriceTable) -> BTreeMap<&ModelId, BTreeMap<String, String>> {
    let mut models: BTreeMap<&ModelId, BTreeMap<String, String>> = BTreeMap::new();
    for row in table.models() {
        models.entry(&row.model).or_default().extend(fields(row));
    }
    models
}

/// Every field of a row as text.
fn fields(row: &ModelPrice) -> Vec<(String, String)> {
    let day = |at: Option<Timestamp>| at.map_or(String::new(), |at| at.to_string());
    let period = match (row.effective_from, row.effective_until) {
        (None, None) => String::new(),
        (from, until) => format!(" [{}..{}]", day(from), day(until)),
    };
    let mut fields = Vec::new();
    let mut put = |field: String, value: String| fields.push((format!("{field}{period}"), value));
    for rate in &row.rates {
        let hours = rate
            .valid_hours_utc
            .map_or(String::new(), |hours| format!(" {hours}"));
        let place = format!("{} from {}{hours}", rate.service_tier, rate.tier_start);
        for (class, price) in &rate.prices {
            put(format!("{place}: {class}"), price.to_string());
        }
        for (class, price) in &rate.listed {
            put(format!("{place}: {class} as listed"), price.to_string());
        }
    }
    for (unit, price) in &row.units {
        put(
            unit.to_string(),
            format!("{} pico-USD each", price.as_pico()),
        );
    }
    for (region, factor) in &row.uplift {
        put(format!("uplift {region}"), factor.to_string());
    }
    for (class, from) in &row.inherits {
        put(format!("inherits {class}"), from.to_string());
    }
    let limits = [
        ("max_input_tokens", row.max_input_tokens),
        ("max_output_tokens", row.max_output_tokens),
    ];
    for (field, limit) in limits {
        if let Some(limit) = limit {
            put(field.to_owned(), limit.to_string());
        }
    }
    for alias in &row.aliases {
        put(format!("alias {alias}"), "yes".to_owned());
    }
    put(
        "tier_edge".to_owned(),
        format!("{:?}", row.tier_edge).to_lowercase(),
    );
    put("input_bound".to_owned(), format!("{:?}", row.input_bound));
    put(
        "reasoning_limit".to_owned(),
        format!("{:?}", row.reasoning_limit).to_lowercase(),
    );
    fields
}
