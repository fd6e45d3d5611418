//! `approvals`, `approve`, `reject`, `revoke`: what is asked of people, and their word.

use std::time::Duration;

use mc_core::engine::{ApprovalFilter, approvals};
use mc_core::error::Error;
use mc_core::id::ApprovalId;
use mission_control::Settings;
use serde_json::{Value, json};

use super::{Done, operator};
use crate::args::{ApprovalsArgs, Common, WordArgs};
use crate::asked::{facts, lines};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

/// An operator's word.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Approve,
    Reject,
    Revoke,
}

impl Word {
    const fn done(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
            Self::Revoke => "revoked",
        }
    }
}

pub(super) async fn list(common: &Common, args: &ApprovalsArgs, console: &mut Console<'_>) -> Done {
    let log = store::look(common).await?;
    let filter = if args.all {
        ApprovalFilter::All
    } else {
        ApprovalFilter::Pending
    };
    let all = approvals(&*log, filter).await?;
    if common.json {
        let all: Vec<Value> = all.iter().map(facts).collect();
        console.json(&json!({ "approvals": all }))?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        console.line("nothing is asked of anybody")?;
    }
    for one in &all {
        for line in lines(one) {
            console.line(line)?;
        }
    }
    Ok(Exit::Done)
}

/// `RUN/N`, with as much of the run's id as is unique.
async fn find(common: &Common, text: &str) -> Result<ApprovalId, Failure> {
    let rule = "an approval is RUN/N, as `mission-control approvals` lists it";
    let wrong = || Failure::usage(Error::invalid("approval", rule));
    let (run, number) = text.split_once('/').ok_or_else(wrong)?;
    let number = number.parse().map_err(|_| wrong())?;
    let run_id = store::find_run(&*store::look(common).await?, run).await?;
    Ok(ApprovalId { run_id, number })
}

pub(super) async fn say(
    common: &Common,
    (word, args): (Word, &WordArgs),
    console: &mut Console<'_>,
) -> Done {
    let by = operator(common)?;
    let id = find(common, &args.approval).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let control = &opened.control;
    let said = match word {
        Word::Approve => control.approve(id, &by, &args.reason).await,
        Word::Reject => control.reject(id, &by, &args.reason).await,
        Word::Revoke => control.revoke(id, &by, &args.reason).await,
    };
    opened.close(Duration::ZERO).await?;
    said?;
    if common.json {
        console.json(&json!({ "approval": id, "decision": word.done() }))?;
    } else {
        console.line(format_args!("{id} is {}", word.done()))?;
    }
    Ok(Exit::Done)
}
