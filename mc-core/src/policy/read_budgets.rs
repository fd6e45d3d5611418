//! Reads the section `budgets`: limits of shared accounts, and their windows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::sections::BudgetRule;
use crate::budget::{AccountId, Limit, LimitMode, OnExceed, OnReach, Threshold, Window};
use crate::form::{At, Fields, Reader};

/// The largest count of tokens or calls: what a signed 64-bit integer holds.
const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// Reads the list; an account is given once.
pub(super) fn budgets(reader: &mut Reader, parent: Fields<'_>) -> BTreeMap<AccountId, BudgetRule> {
    let mut found = BTreeMap::new();
    let Some(value) = parent.get(reader, "budgets") else {
        return found;
    };
    let at = parent.at("budgets");
    let Value::Array(items) = value else {
        reader.form(&at, "a list of budgets is wanted");
        return found;
    };
    for (index, item) in items.iter().enumerate() {
        let index = index.to_string();
        let place = at.child(&index);
        if let Some((account, rule)) = budget(reader, item, &place)
            && found.insert(account, rule).is_some()
        {
            reader.form(&place, "this account is given twice");
        }
    }
    found
}

fn budget(reader: &mut Reader, value: &Value, at: &At<'_>) -> Option<(AccountId, BudgetRule)> {
    let known = [
        "account",
        "limit",
        "window",
        "on_exceed",
        "mode",
        "thresholds",
    ];
    let fields = Fields::open(reader, value, at, &known)?;
    fields.require(reader, "account");
    fields.require(reader, "limit");
    let before = reader.problems.len();
    let account = fields.parsed::<AccountId>(reader, "account");
    let shared = account.filter(|account| account.run().is_none());
    if fields.has("account") && shared.is_none() && reader.problems.len() == before {
        let rule = "a policy limits workspace, workflow:NAME and agent:NAME; a run's budget is \
                    given at its start";
        reader.form(&fields.at("account"), rule);
    }
    let limit = limit(reader, fields);
    let window = window(reader, fields);
    let choices = [("abort", OnExceed::Abort), ("pause", OnExceed::Pause)];
    let on_exceed = fields.choice(reader, "on_exceed", &choices);
    let modes = [
        ("enforce", LimitMode::Enforce),
        ("observe", LimitMode::Observe),
    ];
    let mode = fields.choice(reader, "mode", &modes);
    let rule = BudgetRule {
        limit: limit?,
        window,
        on_exceed: on_exceed.unwrap_or_default(),
        mode: mode.unwrap_or_default(),
        thresholds: thresholds(reader, fields),
    };
    Some((shared?, rule))
}

/// A list of shares: a number, or an object with `percent` and what is done besides.
fn thresholds(reader: &mut Reader, parent: Fields<'_>) -> Option<Vec<Threshold>> {
    let value = parent.get(reader, "thresholds")?;
    let at = parent.at("thresholds");
    let Value::Array(items) = value else {
        reader.form(&at, "a list of thresholds is wanted, e.g. [50, 80]");
        return None;
    };
    let mut found: Vec<Threshold> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let index = index.to_string();
        let place = at.child(&index);
        let Some(one) = threshold(reader, item, &place) else {
            continue;
        };
        if found.iter().any(|other| other.percent == one.percent) {
            reader.form(&place, "this share is given twice");
        }
        found.push(one);
    }
    found.sort_by_key(|one| one.percent);
    Some(found)
}

fn threshold(reader: &mut Reader, value: &Value, at: &At<'_>) -> Option<Threshold> {
    if let Value::Number(number) = value {
        let percent = number.as_u64().and_then(share);
        if percent.is_none() {
            reader.form(at, SHARE);
        }
        return percent.map(Threshold::told);
    }
    let fields = Fields::open(reader, value, at, &["percent", "then", "downgrade_to"])?;
    fields.require(reader, "percent");
    let percent = fields.count(reader, "percent", 1..=100).and_then(share);
    let choices: [(&str, Then); 3] = [
        ("tell", || OnReach::Tell),
        ("require_approval", || OnReach::RequireApproval),
        ("freeze", || OnReach::Freeze),
    ];
    if fields.has("then") && fields.has("downgrade_to") {
        reader.form(
            at,
            "either `then` or `downgrade_to` is wanted; write one entry each",
        );
    }
    let then = fields.choice(reader, "then", &choices);
    let model = fields
        .parsed(reader, "downgrade_to")
        .map(OnReach::Downgrade);
    Some(Threshold {
        percent: percent?,
        then: model
            .or_else(|| then.map(|then| then()))
            .unwrap_or_default(),
    })
}

/// What a word of the file stands for.
type Then = fn() -> OnReach;

const SHARE: &str = "a share of the limit is a number from 1 to 100";

fn share(percent: u64) -> Option<u8> {
    let percent = u8::try_from(percent).ok()?;
    (1..=100).contains(&percent).then_some(percent)
}

fn limit(reader: &mut Reader, parent: Fields<'_>) -> Option<Limit> {
    let value = parent.get(reader, "limit")?;
    let at = parent.at("limit");
    let known = ["usd", "input_tokens", "output_tokens", "calls"];
    let fields = Fields::open(reader, value, &at, &known)?;
    let before = reader.problems.len();
    let limit = Limit {
        money: fields.money(reader, "usd"),
        input_tokens: fields.count(reader, "input_tokens", 0..=MAX_COUNT),
        output_tokens: fields.count(reader, "output_tokens", 0..=MAX_COUNT),
        calls: fields.count(reader, "calls", 0..=MAX_COUNT),
    };
    if limit.is_none() && reader.problems.len() == before {
        reader.form(&at, "a limit has usd, input_tokens, output_tokens or calls");
    }
    Some(limit)
}

/// A window as text (`day Europe/Berlin`), or as an object of its parts.
fn window(reader: &mut Reader, parent: Fields<'_>) -> Option<Window> {
    let value = parent.get(reader, "window")?;
    let at = parent.at("window");
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(map) if map.contains_key("calendar") => calendar(reader, value, &at)?,
        Value::Object(map) if map.contains_key("fixed") => {
            let fields = Fields::open(reader, value, &at, &["fixed", "anchor"])?;
            let anchor = optional(reader, fields, "anchor");
            format!("fixed {} {anchor}", fields.text(reader, "fixed")?)
        }
        Value::Object(map) if map.contains_key("sliding") => {
            let fields = Fields::open(reader, value, &at, &["sliding", "buckets"])?;
            let buckets = fields.count(reader, "buckets", 1..=60);
            let buckets = buckets.map(|n| n.to_string()).unwrap_or_default();
            format!("sliding {} {buckets}", fields.text(reader, "sliding")?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let rule = "a window is text, e.g. `day Europe/Berlin`, or an object with calendar, \
                        fixed or sliding";
            reader.form(&at, rule);
            return None;
        }
    };
    let window = text.parse::<Window>();
    window.map_err(|fault| reader.form(&at, fault)).ok()
}

fn optional<'a>(reader: &mut Reader, fields: Fields<'a>, field: &'static str) -> &'a str {
    fields.text(reader, field).unwrap_or_default()
}

fn calendar(reader: &mut Reader, value: &Value, at: &At<'_>) -> Option<String> {
    let known = ["calendar", "tz", "start", "anchor", "offset"];
    let fields = Fields::open(reader, value, at, &known)?;
    fields.require(reader, "tz");
    let units = [("day", "day"), ("week", "week"), ("month", "month")];
    let unit = fields.choice(reader, "calendar", &units)?;
    let place = match unit {
        "week" => fields.text(reader, "start").map(|day| format!(":{day}")),
        "month" => {
            let day = fields.count(reader, "anchor", 1..=31);
            day.map(|day| format!(":{day}"))
        }
        _ => None,
    };
    for (field, of) in [("start", "week"), ("anchor", "month")] {
        if fields.has(field) && unit != of {
            reader.form(
                &fields.at(field),
                format!("this goes only with `calendar: {of}`"),
            );
        }
    }
    let zone = fields.text(reader, "tz")?;
    let offset = fields.text(reader, "offset").map(|time| format!("+{time}"));
    let (place, offset) = (place.unwrap_or_default(), offset.unwrap_or_default());
    Some(format!("{unit}{place} {zone} {offset}"))
}
