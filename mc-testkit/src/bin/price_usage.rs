//! Prices usages by a table: one JSON object a line in, one out. For comparisons with other tools.
//!
//! `price_usage --from litellm|genai-prices FILE` reads an import, `price_usage` the embedded table.
//! A line has `model`, `usage`, and where they are not the usual ones `tier`, `region`, `at`; the
//! answer has `nano_usd` and `flags`, or `error`. A last line `report` has what the import changed.

use std::io::{BufRead as _, Write as _};

use clap::Parser;
use mc_core::id::{ModelId, Region};
use mc_core::pricing::{
    Answered, CallTerms, ImportOptions, ImportReport, PriceSource, PriceTable, TierChoice,
    UnknownModels, charge_on_terms, import,
};
use mc_core::time::Timestamp;
use mc_core::usage::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

/// What may be asked.
#[derive(Debug, Parser)]
struct Args {
    /// Whose file it is
    #[arg(long, requires = "file")]
    from: Option<PriceSource>,
    /// The file
    file: Option<std::path::PathBuf>,
}

/// One call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    model: ModelId,
    usage: Usage,
    #[serde(default)]
    tier: TierChoice,
    region: Option<Region>,
    #[serde(default)]
    at: i64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let (table, report) = table(&args)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = price(&table, &line?);
        writeln!(out, "{answer}")?;
    }
    writeln!(out, "{}", json!({ "report": report }))?;
    Ok(())
}

fn table(args: &Args) -> Result<(PriceTable, ImportReport), Box<dyn std::error::Error>> {
    let (Some(source), Some(file)) = (args.from, &args.file) else {
        return Ok((PriceTable::embedded().clone(), ImportReport::default()));
    };
    let options = ImportOptions {
        source,
        providers: std::collections::BTreeSet::new(),
        checked_at: Timestamp::EPOCH,
    };
    let read = import(&std::fs::read(file)?, &options)?;
    Ok((read.table, read.report))
}

fn price(table: &PriceTable, line: &str) -> Value {
    let call: Line = match serde_json::from_str(line) {
        Ok(call) => call,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let terms = CallTerms {
        service_tier: call.tier,
        region: call.region,
        ..CallTerms::default()
    };
    let answered = Answered {
        request: &call.model,
        response: None,
        usage: &call.usage,
        terms: &terms,
        served: None,
        at: Timestamp::from_unix_us(call.at),
        largest_input: None,
    };
    match charge_on_terms(table, &UnknownModels::Deny, &answered) {
        Ok(cost) => json!({ "nano_usd": cost.money, "flags": cost.flags }),
        Err(fault) => json!({ "error": fault.to_string() }),
    }
}
