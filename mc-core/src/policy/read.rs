//! Reads a policy file: every problem at once, each with its place; unknown keys are refused.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::approvals::ApprovalRules;
use super::file::{MAX_POLICY_BYTES, POLICY_SCHEMA_VERSION, Policy};
use super::sections::{Sections, ToolRule};
use super::tier::RiskTier;
use super::{guard, rates, read_budgets};
use crate::error::{Detail, Error, ErrorKind, Result, Violation, WorkflowProblem};
use crate::form::{
    At, Fields, Reader, Schema, Spelling, malformed, more, place, problem, schema_problem,
};
use crate::id::{ModelId, Opaque};
use crate::json::{self, Reading};
use crate::pricing::{PicoUsd, UnknownModels};

const FIELDS: &[&str] = &[
    "schema_version",
    "approvals",
    "unknown_models",
    "tools",
    "budgets",
    "guardrails",
    "rates",
    "no_progress",
];

/// The longest time that an approval may stay open.
const MAX_EXPIRES_IN: Duration = Duration::from_secs(365 * 86_400);

/// Reads a document that a person wrote.
pub(super) fn document(bytes: &[u8], read: fn(&[u8]) -> Result<Reading>) -> Result<Policy> {
    if bytes.len() > MAX_POLICY_BYTES {
        let rule = format!("a policy file has at most {MAX_POLICY_BYTES} bytes");
        return Err(Error::invalid("", rule));
    }
    let reading = read(bytes).map_err(|fault| invalid(malformed(&fault)).with_source(fault))?;
    let mut problems: Vec<WorkflowProblem> = reading.faults.into_iter().map(problem).collect();
    let (sections, mut found) = sections(&reading.value, Spelling::Document);
    // What stands for a wrong value is no second problem.
    found.retain(|problem| !place(problem).is_some_and(|at| reading.blanks.contains(at)));
    problems.extend(found);
    finish(sections, problems)
}

/// Reads canonical bytes.
pub(super) fn canonical(bytes: &[u8]) -> Result<Policy> {
    let (sections, problems) = sections(&json::parse(bytes)?, Spelling::Canonical);
    finish(sections, problems)
}

fn finish(sections: Sections, problems: Vec<WorkflowProblem>) -> Result<Policy> {
    if problems.is_empty() {
        Ok(Policy::assemble(sections))
    } else {
        Err(invalid(problems))
    }
}

/// One error of all problems; the message has the first.
fn invalid(problems: Vec<WorkflowProblem>) -> Error {
    let violation = |problem: WorkflowProblem| match problem {
        WorkflowProblem::Form { at, rule } => Violation::new(at, rule),
        WorkflowProblem::Schema { at, reason } => Violation::new(at, reason),
        WorkflowProblem::Limit { name, max, at } => {
            Violation::new(at, format!("more than {max} {name}"))
        }
        WorkflowProblem::NotAvailable { at, feature } => {
            Violation::new(at, format!("`{feature}` is not available in this version"))
        }
        WorkflowProblem::Cycle { .. }
        | WorkflowProblem::UnknownAgent { .. }
        | WorkflowProblem::UnknownStep { .. }
        | WorkflowProblem::UnknownInput { .. }
        | WorkflowProblem::Unreachable { .. }
        | WorkflowProblem::Expression { .. } => Violation::new("", problem),
    };
    let violations: Vec<Violation> = problems.into_iter().map(violation).collect();
    let first = violations.first();
    let first = first.map_or_else(String::new, |v| match v.path.as_str() {
        "" => v.rule.clone(),
        path => format!("{path}: {}", v.rule),
    });
    let message = format!("{first}{}", more(&violations));
    Error::new(ErrorKind::InvalidInput, message).with_detail(Detail::Violations(violations))
}

fn sections(document: &Value, spelling: Spelling) -> (Sections, Vec<WorkflowProblem>) {
    let mut reader = Reader {
        spelling,
        problems: Vec::new(),
    };
    let mut sections = Sections::default();
    let root = At::ROOT;
    if let Some(fields) = Fields::open(&mut reader, document, &root, FIELDS) {
        version(&mut reader, fields);
        sections.approvals = approvals(&mut reader, fields);
        sections.unknown_models = unknown_models(&mut reader, fields);
        sections.tools = tools(&mut reader, fields);
        sections.budgets = read_budgets::budgets(&mut reader, fields);
        sections.guardrails = guard::guardrails(&mut reader, fields);
        sections.rates = rates::rates(&mut reader, fields);
        sections.no_progress = guard::mode(&mut reader, fields, "no_progress");
    }
    (sections, reader.problems)
}

fn version(reader: &mut Reader, fields: Fields<'_>) {
    if let Some(version) = fields.get(reader, "schema_version")
        && version.as_u64() != Some(POLICY_SCHEMA_VERSION)
    {
        let rule = format!("this version reads policies of schema_version {POLICY_SCHEMA_VERSION}");
        reader.form(&fields.at("schema_version"), rule);
    }
}

fn approvals(reader: &mut Reader, parent: Fields<'_>) -> Option<ApprovalRules> {
    let value = parent.get(reader, "approvals")?;
    let at = parent.at("approvals");
    let known = ["from", "expires_in", "four_eyes", "operators"];
    let fields = Fields::open(reader, value, &at, &known)?;
    let default = ApprovalRules::default();
    let from = asking_tier(reader, fields).unwrap_or(default.from);
    let expires_in = expires_in(reader, fields).unwrap_or(default.expires_in);
    let four_eyes = match fields.get(reader, "four_eyes") {
        Some(_) => fields.set(reader, "four_eyes"),
        None => default.four_eyes,
    };
    Some(ApprovalRules {
        from,
        expires_in,
        four_eyes,
        operators: fields.set(reader, "operators"),
    })
}

/// Reads the field `from`: the first tier that asks.
pub(crate) fn asking_tier(reader: &mut Reader, fields: Fields<'_>) -> Option<RiskTier> {
    let tier = fields.parsed::<RiskTier>(reader, "from")?;
    if tier == RiskTier::Read {
        reader.form(&fields.at("from"), "`read` never asks; write `write`");
        return None;
    }
    Some(tier)
}

/// Reads the field `expires_in`.
pub(crate) fn expires_in(reader: &mut Reader, fields: Fields<'_>) -> Option<Duration> {
    let span = fields.duration(reader, "expires_in")?;
    if span.is_zero() || span > MAX_EXPIRES_IN {
        reader.form(&fields.at("expires_in"), "this is from 1ms to 365d");
        return None;
    }
    Some(span)
}

fn unknown_models(reader: &mut Reader, parent: Fields<'_>) -> Option<UnknownModels> {
    let value = parent.get(reader, "unknown_models")?;
    let at = parent.at("unknown_models");
    if value.as_str() == Some("deny") {
        return Some(UnknownModels::Deny);
    }
    if !value.is_object() {
        let rule = "this is `deny`, or one of price_as, assume, free";
        reader.form(&at, rule);
        return None;
    }
    let fields = Fields::open(reader, value, &at, &["price_as", "assume", "free"])?;
    let given: Vec<&str> = ["price_as", "assume", "free"]
        .into_iter()
        .filter(|field| fields.has(field))
        .collect();
    match given.as_slice() {
        ["price_as"] => fields
            .parsed::<ModelId>(reader, "price_as")
            .map(UnknownModels::PriceAs),
        ["free"] => Some(UnknownModels::Free(fields.set(reader, "free"))),
        ["assume"] => assume(reader, fields),
        _ => {
            reader.form(&at, "exactly one of price_as, assume, free is wanted");
            None
        }
    }
}

struct Price(PicoUsd);

impl FromStr for Price {
    type Err = crate::pricing::PriceFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        PicoUsd::per_million(text).map(Self)
    }
}

fn assume(reader: &mut Reader, parent: Fields<'_>) -> Option<UnknownModels> {
    let value = parent.get(reader, "assume")?;
    let at = parent.at("assume");
    let fields = Fields::open(reader, value, &at, &["input", "output"])?;
    fields.require(reader, "input");
    fields.require(reader, "output");
    let input = fields.parsed::<Price>(reader, "input");
    let output = fields.parsed::<Price>(reader, "output");
    Some(UnknownModels::Assume {
        input: input?.0,
        output: output?.0,
    })
}

fn tools(reader: &mut Reader, parent: Fields<'_>) -> BTreeMap<Opaque, ToolRule> {
    let mut found = BTreeMap::new();
    let Some(value) = parent.get(reader, "tools") else {
        return found;
    };
    let at = parent.at("tools");
    let Value::Object(map) = value else {
        reader.form(&at, "an object of tools by name is wanted");
        return found;
    };
    for (name, value) in map {
        let place = at.child(name);
        let rule = tool(reader, value, &place);
        match Opaque::new(name) {
            Ok(name) => found.extend(rule.map(|rule| (name, rule))),
            Err(fault) => reader.form(&place, fault),
        }
    }
    found
}

fn tool(reader: &mut Reader, value: &Value, at: &At<'_>) -> Option<ToolRule> {
    let fields = Fields::open(reader, value, at, &["risk", "schema", "price_usd"])?;
    let risk = fields
        .parsed::<RiskTier>(reader, "risk")
        .unwrap_or_default();
    let schema = fields.get(reader, "schema").cloned();
    let compiled = schema.as_ref().and_then(|schema| {
        let fault = match Schema::compile(schema) {
            Ok(compiled) => return Some(compiled),
            Err(fault) => fault,
        };
        let place = fields.at("schema").pointer();
        reader.problems.push(schema_problem(&fault, place));
        None
    });
    let price = fields.money(reader, "price_usd").unwrap_or_default();
    Some(ToolRule {
        risk,
        schema,
        price,
        compiled,
    })
}
