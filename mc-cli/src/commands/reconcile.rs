//! `reconcile`: settles money in doubt in bulk, with evidence.

use std::time::Duration;

use mc_core::budget::AccountId;
use mc_core::error::Error;
use mission_control::{Billed, Settings};
use serde_json::json;

use super::{Done, operator};
use crate::args::{BilledArg, Common, ReconcileArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

pub(super) async fn execute(
    common: &Common,
    args: &ReconcileArgs,
    console: &mut Console<'_>,
) -> Done {
    let by = operator(common)?;
    let billed = match args.billed {
        BilledArg::Full => Billed::InFull,
        BilledArg::Nothing => Billed::Nothing,
    };
    let account = args.account.as_deref().map(str::parse::<AccountId>);
    let account = account.transpose();
    let account = account.map_err(|fault| Failure::usage(Error::invalid("--account", fault)))?;
    // A store that is not there is not made.
    let log = store::look(common).await?;
    let run = match &args.run {
        Some(run) => Some(store::find_run(&*log, run).await?),
        None => None,
    };
    drop(log);
    let opened = Opened::open(common, Settings::default()).await?;
    let control = &opened.control;
    let settled = match (run, &account) {
        (Some(run), _) => {
            control
                .run(run)
                .reconcile_all(&by, billed, &args.evidence)
                .await
        }
        (None, account) => {
            let account = account.clone().unwrap_or(AccountId::Workspace);
            let how = (billed, args.evidence.as_str());
            control.reconcile_account(&by, &account, how).await
        }
    };
    opened.close(Duration::ZERO).await?;
    let settled = settled?;
    let held = settled.held.money;
    if common.json {
        console.json(&json!({ "holds": settled.holds, "held_nano_usd": held.as_nano() }))?;
    } else {
        let holds = settled.holds;
        console.line(format_args!(
            "{holds} holds in doubt are settled; they held {held} USD"
        ))?;
    }
    Ok(Exit::Done)
}
