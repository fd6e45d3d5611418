//! `reconcile`: lists money in doubt, or settles it with evidence: one hold, or many at once.
//!
//! What is in doubt is read in `doubts`.

use std::time::Duration;

use mc_core::budget::{AccountId, Amount};
use mc_core::error::{Error, ErrorKind};
use mc_core::id::RunId;
use mission_control::{Billed, HoldKey, MissionControl, Settings};
use serde_json::json;

use super::{Done, doubts, operator};
use crate::args::{BilledArg, Common, ReconcileArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

/// How what is meant was billed.
#[derive(Debug)]
enum How {
    /// All of it alike.
    Alike(Billed),
    /// One hold of a run.
    One(RunId, HoldKey, BilledArg),
}

pub(super) async fn execute(
    common: &Common,
    args: &ReconcileArgs,
    console: &mut Console<'_>,
) -> Done {
    let account = args.account.as_deref().map(str::parse::<AccountId>);
    let account = account.transpose();
    let account = account.map_err(|fault| Failure::usage(Error::invalid("--account", fault)))?;
    check(args)?;
    // A store that is not there is not made.
    let log = store::look(common).await?;
    let run = match args.of.as_ref().or(args.run.as_ref()) {
        Some(run) => Some(store::find_run(&*log, run).await?),
        None => None,
    };
    let (Some(billed), Some(evidence)) = (args.billed, &args.evidence) else {
        let found = doubts::read(&*log, run, account.as_ref()).await?;
        return doubts::show(common, &found, console);
    };
    let by = operator(common)?;
    drop(log);
    let how = match (run, &args.hold, billed) {
        (Some(run), Some(hold), billed) => How::One(run, hold.clone(), billed),
        (_, _, BilledArg::Nothing) => How::Alike(Billed::Nothing),
        (_, _, BilledArg::Full | BilledArg::Usd(_)) => How::Alike(Billed::InFull),
    };
    let opened = Opened::open(common, Settings::default()).await?;
    let whose = (run, account.unwrap_or(AccountId::Workspace));
    let settled = settle(&opened.control, whose, (how, &by, evidence)).await;
    opened.close(Duration::ZERO).await?;
    tell(common, &settled?, console)
}

/// What goes together.
fn check(args: &ReconcileArgs) -> Result<(), Failure> {
    let run = args.of.as_ref().or(args.run.as_ref());
    let wrong = |what: &str, rule: &str| Err(Failure::usage(Error::invalid(what, rule)));
    match (args.billed, &args.hold) {
        (_, Some(_)) if run.is_none() => wrong("--hold", "name the run of the hold"),
        (None, Some(_)) => wrong("--hold", "say with --billed what was billed of it"),
        (Some(BilledArg::Usd(_)), None) => wrong(
            "--billed",
            "an amount settles one hold: name it with --hold; all at once are `full` or `nothing`",
        ),
        (Some(_), None) if run.is_none() && args.account.is_none() => wrong(
            "--billed",
            "name the run or the account whose money in doubt is settled",
        ),
        (_, Some(_) | None) => Ok(()),
    }
}

/// What was settled.
#[derive(Debug, Default)]
struct Told {
    holds: u32,
    held: Amount,
    /// Of a single hold, what was billed.
    one: Option<(HoldKey, Amount)>,
}

async fn settle(
    control: &MissionControl,
    (run, account): (Option<RunId>, AccountId),
    (how, by, evidence): (How, &str, &str),
) -> Result<Told, Failure> {
    let billed = match how {
        How::One(run, hold, billed) => {
            return one(control, (run, hold), (billed, by, evidence)).await;
        }
        How::Alike(billed) => billed,
    };
    let settled = if let Some(run) = run {
        control.run(run).reconcile_all(by, billed, evidence).await?
    } else {
        let how = (billed, evidence);
        control.reconcile_account(by, &account, how).await?
    };
    Ok(Told {
        holds: settled.holds,
        held: settled.held,
        one: None,
    })
}

/// Settles one hold. Of an amount in money the calls and tokens count as they are held.
async fn one(
    control: &MissionControl,
    (run_id, key): (RunId, HoldKey),
    (billed, by, evidence): (BilledArg, &str, &str),
) -> Result<Told, Failure> {
    let run = control.run(run_id);
    let doubts = run.doubts().await?;
    let found = doubts.into_iter().find(|(hold, _)| *hold == key);
    let Some((_, held)) = found else {
        let message = format!("hold `{key}` of run {run_id} is not in doubt");
        let next = format!("`mission-control reconcile {run_id} --list` shows what is");
        let error = Error::new(ErrorKind::InvalidTransition, message);
        return Err(Failure::from(error).with_next(next));
    };
    let actual = match billed {
        BilledArg::Full => held,
        BilledArg::Nothing => Amount::ZERO,
        BilledArg::Usd(money) => Amount { money, ..held },
    };
    run.reconcile(by, &key, actual, evidence).await?;
    Ok(Told {
        holds: 1,
        held,
        one: Some((key, actual)),
    })
}

fn tell(common: &Common, told: &Told, console: &mut Console<'_>) -> Done {
    let held = told.held.money;
    let mut facts = json!({ "holds": told.holds, "held_nano_usd": held.as_nano() });
    let text = match &told.one {
        None => format!(
            "{} holds in doubt are settled; they held {held} USD",
            told.holds
        ),
        Some((key, actual)) => {
            facts["hold"] = json!(key);
            facts["billed_nano_usd"] = json!(actual.money.as_nano());
            let billed = actual.money;
            format!("{key} is settled with {billed} USD; it held {held} USD")
        }
    };
    if common.json {
        console.json(&facts)?;
    } else {
        console.line(text)?;
    }
    Ok(Exit::Done)
}
