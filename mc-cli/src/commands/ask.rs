//! `run` at a terminal: asks whoever sits there what is asked of people.

use mc_core::engine::{ApprovalFilter, ApprovalRequest, RunHandle};
use mission_control::MissionControl;

use super::operator;
use crate::args::Common;
use crate::asked::lines;
use crate::console::Console;
use crate::failure::Failure;

/// Whether anything was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Decided,
    Nothing,
}

/// Shows what a run asks, and those nested in it, and takes the answers; without a terminal nobody is asked.
pub(super) async fn ask(
    control: &MissionControl,
    run: &RunHandle,
    (console, common): (&mut Console<'_>, &Common),
) -> Result<Asked, Failure> {
    let mut decided = Asked::Nothing;
    if console.input.is_none() {
        return Ok(decided);
    }
    let by = operator(common)?;
    let all = control.approvals(ApprovalFilter::Pending).await?;
    let of_run = |one: &&ApprovalRequest| {
        let outermost = one.outermost.unwrap_or(one.id.run_id);
        outermost == run.id()
    };
    for request in all.iter().filter(of_run) {
        let Some((yes, reason)) = answer(request, console)? else {
            continue;
        };
        let said = match yes {
            Answer::Yes => control.approve(request.id, &by, &reason).await,
            Answer::No => control.reject(request.id, &by, &reason).await,
        };
        match said {
            Ok(()) => decided = Asked::Decided,
            Err(error) => console.line(format_args!("it does not count: {}", error.message()))?,
        }
    }
    Ok(decided)
}

enum Answer {
    Yes,
    No,
}

fn answer(
    request: &ApprovalRequest,
    console: &mut Console<'_>,
) -> std::io::Result<Option<(Answer, String)>> {
    for line in lines(request) {
        console.line(line)?;
    }
    let said = console.question("approve it? (yes, no, or empty to leave it) ")?;
    let answer = match said.as_deref().map(str::trim) {
        Some("y" | "yes") => Answer::Yes,
        Some("n" | "no") => Answer::No,
        Some(_) | None => return Ok(None),
    };
    let reason = console.question("why? ")?;
    let reason = reason.filter(|text| !text.trim().is_empty());
    // Without a reason it is no decision.
    Ok(reason.map(|reason| (answer, reason.trim().to_owned())))
}
