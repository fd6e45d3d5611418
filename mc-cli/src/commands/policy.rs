//! `policy`: what a store's policy is, was, and is to be.

use std::path::Path;
use std::time::Duration;

use mc_core::engine::{PolicyRecord, policy_history, policy_version};
use mc_core::error::Error;
use mc_core::policy::Policy;
use mission_control::Settings;
use serde_json::{Value, json};

use super::{Done, operator};
use crate::args::{Common, PolicyCommand};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};
use crate::table::{Align, Table};

pub(super) async fn execute(
    common: &Common,
    command: &PolicyCommand,
    console: &mut Console<'_>,
) -> Done {
    match command {
        PolicyCommand::Publish { file } => publish(common, file, console).await,
        PolicyCommand::Show { version } => show(common, *version, console).await,
        PolicyCommand::Diff { before, after } => compare(common, (before, after), console).await,
        PolicyCommand::History => history(common, console).await,
    }
}

/// Reads a policy file.
pub(super) fn read(path: &Path) -> Result<Policy, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file(&error, path))?;
    Policy::from_yaml(bytes).map_err(|error| Failure::content(error, path))
}

/// A version of the store, or a file.
async fn find(common: &Common, text: &str) -> Result<Policy, Failure> {
    if Path::new(text).extension().is_some() {
        return read(Path::new(text));
    }
    let rule = "a version is a number from 1 on; a file ends in .yaml";
    let version = text.parse().ok();
    let version = version.ok_or_else(|| Failure::usage(Error::invalid("version", rule)))?;
    Ok(policy_version(&*store::look(common).await?, version)
        .await?
        .policy)
}

async fn publish(common: &Common, file: &Path, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    // A file that is no policy makes no store.
    let policy = read(file)?;
    let opened = Opened::open(common, Settings::default()).await?;
    let published = opened.control.publish_policy(&operator, policy).await;
    opened.close(Duration::ZERO).await?;
    let published = published?;
    let (version, hash) = (published.version, published.policy.hash());
    if common.json {
        console.json(&json!({ "version": version, "policy_hash": hash }))?;
    } else {
        console.line(format_args!("policy {version} is in force"))?;
    }
    Ok(Exit::Done)
}

async fn show(common: &Common, version: Option<u32>, console: &mut Console<'_>) -> Done {
    let log = store::look(common).await?;
    let last = policy_history(&*log).await?.last().map(|last| last.version);
    let Some(version) = version.or(last) else {
        return none(common, console);
    };
    let policy = policy_version(&*log, version).await?.policy;
    let normal: Value = serde_json::from_slice(policy.to_canonical()).unwrap_or_default();
    if common.json {
        console.json(&json!({
            "version": version, "policy_hash": policy.hash(), "in_force": Some(version) == last,
            "policy": normal,
        }))?;
        return Ok(Exit::Done);
    }
    let force = if Some(version) == last {
        ", in force"
    } else {
        ""
    };
    console.line(format_args!("policy {version}{force}"))?;
    console.line(format_args!("hash {}\n", policy.hash()))?;
    let text = serde_json::to_string_pretty(&normal).unwrap_or_default();
    console.line(crate::text::clean_lines(&text))?;
    Ok(Exit::Done)
}

fn none(common: &Common, console: &mut Console<'_>) -> Done {
    if common.json {
        console.json(&json!({ "version": 0, "policy": {} }))?;
    } else {
        console.line("no policy is published; every default holds")?;
    }
    Ok(Exit::Done)
}

async fn compare(
    common: &Common,
    (before, after): (&str, &str),
    console: &mut Console<'_>,
) -> Done {
    let (one, two) = (find(common, before).await?, find(common, after).await?);
    let differ = one.diff(&two);
    if common.json {
        console.json(&json!({
            "before": before, "after": after, "same": differ.is_empty(), "fields": differ,
        }))?;
        return Ok(Exit::Done);
    }
    if differ.is_empty() {
        console.line(format_args!("{before} and {after} are the same"))?;
    }
    for field in differ {
        console.line(crate::text::clean(&format!("~ {field}")))?;
    }
    Ok(Exit::Done)
}

async fn history(common: &Common, console: &mut Console<'_>) -> Done {
    let all = policy_history(&*store::look(common).await?).await?;
    if common.json {
        let all: Vec<Value> = all.iter().map(facts).collect();
        console.json(&json!({ "policies": all }))?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        return none(common, console);
    }
    let mut table = Table::new(&[
        ("version", Align::Right),
        ("published", Align::Left),
        ("by", Align::Left),
        ("hash", Align::Left),
    ]);
    for record in &all {
        let hash = record.hash.to_string();
        table.row([
            record.version.to_string(),
            record.at.to_string(),
            record.by.to_string(),
            hash.get(..12).unwrap_or_default().to_owned(),
        ]);
    }
    console.line(table.render())?;
    Ok(Exit::Done)
}

fn facts(record: &PolicyRecord) -> Value {
    json!({
        "version": record.version, "published_at": record.at.to_string(),
        "by": record.by.to_string(), "policy_hash": record.hash,
    })
}
