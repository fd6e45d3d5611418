//! What money is in doubt: of a run, of an account, or of the whole store.

use mc_core::budget::{AccountId, Amount};
use mc_core::id::RunId;
use mc_core::ports::EventLog;
use mc_core::run::Run;
use mc_core::time::Timestamp;
use mission_control::HoldKey;
use serde_json::{Value, json};

use super::Done;
use crate::args::Common;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store;
use crate::table::{Align, Table};

/// Runs that are looked at, at most.
const MOST_RUNS: usize = 1_000_000;

/// A hold in doubt.
#[derive(Debug)]
pub(super) struct Doubt {
    run_id: RunId,
    hold: HoldKey,
    held: Amount,
    accounts: Vec<AccountId>,
    /// When it counts as spent, unless somebody settles it before.
    until: Option<Timestamp>,
}

impl Doubt {
    fn as_json(&self) -> Value {
        json!({
            "run_id": self.run_id, "hold": self.hold, "held": self.held,
            "held_usd": self.held.money.to_string(), "accounts": self.accounts,
            "until": self.until,
        })
    }
}

/// What is in doubt of a run, or of all runs, as far as it counts in an account.
pub(super) async fn read(
    log: &dyn EventLog,
    run: Option<RunId>,
    account: Option<&AccountId>,
) -> Result<Vec<Doubt>, Failure> {
    let runs = if let Some(run) = run {
        vec![run]
    } else {
        // Every doubt is a time at which its run is due.
        let ever = Timestamp::from_unix_us(i64::MAX);
        let due = log.runs_due(ever, MOST_RUNS).await?;
        due.into_iter().map(|(_, run)| run).collect()
    };
    let mut found = Vec::new();
    for run in runs {
        let row = store::run_row(log, run).await?;
        found.extend(of(&Run::decode(&row.state)?, account));
    }
    Ok(found)
}

fn of(run: &Run, account: Option<&AccountId>) -> Vec<Doubt> {
    let holds = run.holds.iter().filter(|(_, hold)| {
        let counts = |account| hold.path().iter().any(|id| id == account);
        hold.is_in_doubt() && account.is_none_or(counts)
    });
    holds
        .map(|(key, hold)| Doubt {
            run_id: run.run_id,
            hold: key.clone(),
            held: *hold.amount(),
            accounts: hold.path().iter().cloned().collect(),
            until: run
                .doubts_until()
                .find_map(|(doubted, until)| (doubted == key).then_some(until)),
        })
        .collect()
}

/// Shows them, with the command that settles one.
pub(super) fn show(common: &Common, found: &[Doubt], console: &mut Console<'_>) -> Done {
    if common.json {
        let all: Vec<Value> = found.iter().map(Doubt::as_json).collect();
        console.json(&json!({ "doubts": all }))?;
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        console.line("nothing is in doubt")?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("hold", Align::Left),
        ("held usd", Align::Right),
        ("input tokens", Align::Right),
        ("output tokens", Align::Right),
        ("counts as spent", Align::Left),
    ]);
    for one in found {
        table.row([
            one.run_id.to_string(),
            one.hold.to_string(),
            one.held.money.to_string(),
            one.held.input_tokens.to_string(),
            one.held.output_tokens.to_string(),
            one.until
                .map_or_else(String::new, |until| until.to_string()),
        ]);
    }
    console.line(table.render())?;
    console.line(
        "settle one with `mission-control reconcile RUN --hold HOLD --billed USD --reason TEXT`, \
         all of a run or account with `--billed full` or `nothing`",
    )?;
    Ok(Exit::Done)
}
