//! `export`: the log as verifiable lines for auditors, or as rows for spreadsheets.

use std::collections::BTreeMap;
use std::io::Write;

use mc_core::audit::{EventLine, Frontier, Line, Opening, RunFacts, Sealer, run_genesis};
use mc_core::budget::Amount;
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::event::Record;
use mc_core::id::{Digest, RunId};
use mc_core::ports::{EventLog, WorkspaceRow};
use serde_json::{Value, json};

use super::Done;
use super::csv_rows::{Csv, safe};
use super::verify::parts;
use crate::args::{Common, ExportArgs, Format};
use crate::console::Console;
use crate::draft::Draft;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Reader};

/// The columns of a CSV.
const COLUMNS: [&str; 16] = [
    "seq",
    "run_id",
    "run_seq",
    "ts",
    "type",
    "actor",
    "auth_method",
    "step",
    "attempt",
    "agent",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "code",
    "facts",
];

pub(super) async fn execute(common: &Common, args: &ExportArgs, console: &mut Console<'_>) -> Done {
    if common.json && args.out.is_none() && args.format == Format::Csv {
        let rule = "rows for a spreadsheet are no JSON: leave out `--format csv` or `--json`";
        return Err(Failure::usage(Error::invalid("--json", rule)));
    }
    let log = store::look(common).await?;
    let run = match &args.run {
        Some(text) => {
            let run_id = store::find_run(&*log, text).await?;
            store::run_row(&*log, run_id).await?;
            Some(run_id)
        }
        None => None,
    };
    match &args.out {
        None => write(&*log, run, args.format, &mut *console.out).await?,
        Some(path) => {
            let mut draft = Draft::begin(path).map_err(|error| Failure::output(&error, path))?;
            write(&*log, run, args.format, &mut draft).await?;
            draft
                .finish()
                .map_err(|error| Failure::output(&error, path))?;
            if common.json {
                console.json(&json!({ "out": path, "format": args.format.name() }))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn write(
    log: &dyn EventLog,
    run: Option<RunId>,
    format: Format,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    match format {
        Format::Jsonl => jsonl(log, run, out).await,
        Format::Csv => rows(log, run, out).await,
    }
}

/// What the lines of an export are hashed with.
struct Chains {
    sealer: Sealer,
    heads: BTreeMap<RunId, Digest>,
    frontier: Frontier,
}

impl Chains {
    fn new(row: &WorkspaceRow) -> Self {
        Self {
            sealer: Sealer::new(row.workspace_id),
            heads: BTreeMap::new(),
            frontier: Frontier::new(),
        }
    }

    /// The hash that a record links to.
    fn prev(&self, record: &Record) -> Result<Digest> {
        if let Some(head) = self.heads.get(&record.run_id) {
            return Ok(*head);
        }
        if record.run_id == RunId::ZERO {
            return Ok(Digest::ZERO);
        }
        let facts = RunFacts::read(&record.facts);
        let facts = facts.ok_or_else(|| Error::corrupt("facts_json", Some(record.seq)))?;
        Ok(run_genesis(record.run_id, facts.definition_hash.as_ref()))
    }

    fn line(&mut self, record: &Record, bytes: &super::verify::PartBytes) -> Result<Line> {
        let prev = self.prev(record)?;
        let blobs = |run: RunId, digest: &Digest| bytes.get(&(run, *digest)).cloned();
        let damaged = |fault| Error::corrupt("part_missing", Some(record.seq)).with_source(fault);
        let leaf = self.sealer.seal(record, &prev, &blobs).map_err(damaged)?;
        self.heads.insert(record.run_id, leaf);
        self.frontier.push(leaf);
        let line = EventLine::of(record, self.sealer.header(), &blobs).map_err(damaged)?;
        Ok(Line::Event(line))
    }
}

async fn jsonl(
    log: &dyn EventLog,
    run: Option<RunId>,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    let row = log.workspace_row().await?;
    let row = row.ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, "the store has no events yet");
        Failure::from(error).with_next("start a run first: `mission-control run`")
    })?;
    let mut chains = Chains::new(&row);
    let opening = Opening {
        workspace: row.workspace_id,
        run,
        public_key: None,
    };
    put(out, &Line::Opening(opening))?;
    let mut reader = Reader::until(log, run, row_end(&row)?);
    loop {
        let page = reader.page().await?;
        if page.is_empty() {
            break;
        }
        for record in &page {
            let bytes = parts(log, record).await?;
            put(out, &chains.line(record, &bytes)?)?;
        }
    }
    if run.is_none() {
        put(out, &Line::Tree(chains.frontier))?;
    }
    Ok(())
}

/// The number behind the last event that a workspace's row covers: where another process writes on,
/// the export ends there.
fn row_end(row: &WorkspaceRow) -> Result<u64> {
    Frontier::decode(&row.frontier).map(|frontier| frontier.size())
}

fn put(out: &mut dyn Write, line: &Line) -> std::io::Result<()> {
    let mut bytes = line.to_bytes();
    bytes.push(b'\n');
    out.write_all(&bytes)
}

async fn rows(
    log: &dyn EventLog,
    run: Option<RunId>,
    out: &mut dyn Write,
) -> std::result::Result<(), Failure> {
    let mut csv = Csv::new(out);
    csv.row(COLUMNS)?;
    let mut reader = Reader::new(log, run);
    loop {
        let page = reader.page().await?;
        if page.is_empty() {
            break;
        }
        for record in &page {
            csv.row(cells(record))?;
        }
    }
    csv.finish()?;
    Ok(())
}

fn cells(record: &Record) -> Vec<String> {
    let facts: Value = serde_json::from_str(&record.facts).unwrap_or_default();
    let text = |key: &str| match &facts[key] {
        Value::String(text) => safe(text),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let first = |keys: &[&str]| {
        let found = keys
            .iter()
            .map(|key| text(key))
            .find(|cell| !cell.is_empty());
        found.unwrap_or_default()
    };
    // Only what was spent: holds and releases are in the facts.
    let spent: Option<Amount> = serde_json::from_value(facts["actual"].clone()).ok();
    let of = |read: fn(&Amount) -> String| spent.as_ref().map(read).unwrap_or_default();
    vec![
        record.seq.to_string(),
        record.run_id.to_string(),
        record.run_seq.to_string(),
        record.ts.to_string(),
        safe(&record.kind),
        safe(&record.actor.to_string()),
        record.auth_method.as_str().to_owned(),
        text("step"),
        text("attempt"),
        text("agent"),
        text("model"),
        of(|amount| amount.input_tokens.to_string()),
        of(|amount| amount.output_tokens.to_string()),
        of(|amount| amount.money.to_string()),
        first(&["code", "reason", "outcome", "status"]),
        safe(&record.facts),
    ]
}
