//! `costs`: what was spent, summed from the log.

use mc_core::budget::Amount;
use mc_core::insight::{CostBy, CostTable, Costs};
use mc_core::ports::EventLog;
use serde_json::{Value, json};

use super::Done;
use super::csv_rows::{Csv, safe};
use crate::args::{By, Common, CostsArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::store::{self, Reader};
use crate::table::{Align, Table};

pub(super) async fn execute(common: &Common, args: &CostsArgs, console: &mut Console<'_>) -> Done {
    let log = store::look(common).await?;
    let table = fold(&*log, args.by, args.run.as_deref()).await?;
    if common.json {
        console.json(&as_json(args.by, &table))?;
    } else if args.csv {
        csv(args.by, &table, console)?;
    } else {
        console.line(text(args.by, &table))?;
    }
    Ok(Exit::Done)
}

/// The costs of a run, or of all.
pub(super) async fn fold(
    log: &dyn EventLog,
    by: By,
    run: Option<&str>,
) -> mc_core::error::Result<CostTable> {
    let run = match run {
        Some(text) => {
            let run_id = store::find_run(log, text).await?;
            store::run_row(log, run_id).await?;
            Some(run_id)
        }
        None => None,
    };
    let mut costs = Costs::new(cost_by(by));
    let mut reader = Reader::new(log, run);
    loop {
        let page = reader.page().await?;
        if page.is_empty() {
            return Ok(costs.finish());
        }
        for record in &page {
            costs.take(record)?;
        }
    }
}

const fn cost_by(by: By) -> CostBy {
    match by {
        By::Agent => CostBy::Agent,
        By::Model => CostBy::Model,
        By::Workflow => CostBy::Workflow,
        By::Day => CostBy::Day,
        By::Step => CostBy::Step,
    }
}

const fn title(by: By) -> &'static str {
    match by {
        By::Agent => "agent",
        By::Model => "model",
        By::Workflow => "workflow",
        By::Day => "day",
        By::Step => "step",
    }
}

fn cells(key: &str, amount: &Amount) -> [String; 5] {
    [
        key.to_owned(),
        amount.calls.to_string(),
        amount.input_tokens.to_string(),
        amount.output_tokens.to_string(),
        amount.money.to_string(),
    ]
}

/// The table as text, with a total.
pub(super) fn text(by: By, costs: &CostTable) -> String {
    let mut table = Table::new(&[
        (title(by), Align::Left),
        ("calls", Align::Right),
        ("input", Align::Right),
        ("output", Align::Right),
        ("cost usd", Align::Right),
    ]);
    for row in &costs.rows {
        table.row(cells(&row.key, &row.amount));
    }
    table.row(cells("total", &costs.total));
    table.render()
}

fn as_json(by: By, costs: &CostTable) -> Value {
    let row = |amount: &Amount| {
        json!({
            "calls": amount.calls, "input_tokens": amount.input_tokens,
            "output_tokens": amount.output_tokens, "cost_usd": amount.money.to_string(),
            "cost_nano_usd": amount.money,
        })
    };
    let rows = costs.rows.iter().map(|cost| {
        let mut value = row(&cost.amount);
        value["key"] = cost.key.as_str().into();
        value
    });
    json!({"by": title(by), "rows": rows.collect::<Vec<_>>(), "total": row(&costs.total)})
}

fn csv(by: By, costs: &CostTable, console: &mut Console<'_>) -> std::io::Result<()> {
    let mut csv = Csv::new(&mut *console.out);
    csv.row([
        title(by),
        "calls",
        "input_tokens",
        "output_tokens",
        "cost_usd",
    ])?;
    for row in &costs.rows {
        csv.row(cells(&safe(&row.key), &row.amount))?;
    }
    csv.finish()
}
