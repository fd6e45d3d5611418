//! One file a command; each gets its arguments and a console and answers with an exit.

mod approvals;
mod ask;
mod budgets;
mod costs;
mod csv_rows;
mod demo;
mod demo_agents;
mod doubts;
mod export;
mod graph;
mod interrupted;
mod news;
mod plan;
mod policy;
mod price_changes;
mod prices;
mod reconcile;
mod rehearse;
mod replay;
mod replies;
mod redrive;
mod resolve;
mod run;
mod runs;
mod show;
mod signal;
mod steer;
mod top;
mod unblock;
mod verify;
mod watch;
mod watched;
mod why;
mod workflows;

use mc_core::error::Error;
use mc_core::id::OperatorName;

use approvals::Word;

use crate::args::{
    BudgetsCommand, Cli, Command, Common, LiveCommand, PeopleCommand, PolicyCommand, PricesCommand,
    ProofCommand, WorkflowsCommand,
};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::pipe::OnClose;

pub(crate) use rehearse::execute as rehearse;

/// What a command comes to.
pub(crate) type Done = Result<Exit, Failure>;

/// What lets a run go on that no process drives; said after "with".
const NEXT_RUN: &str =
    "the next `mission-control run` on this store whose agents file has its agents";

/// Does what was asked.
pub(crate) async fn execute(cli: &Cli, console: &mut Console<'_>) -> Done {
    let common = &cli.common;
    match &cli.command {
        Command::Run(args) => run::execute(common, args, console).await,
        // It needs no runtime: the library does it before there is one.
        Command::Rehearse(args) => rehearse(common, args, console),
        Command::Demo => demo::execute(common, console).await,
        Command::Runs(args) => runs::execute(common, args, console).await,
        Command::Show(args) => show::execute(common, args, console).await,
        Command::Replay(args) => replay::execute(common, args, console).await,
        Command::Costs(args) => costs::execute(common, args, console).await,
        Command::Live(command) => live(common, command, console).await,
        Command::Steer(command) => steer::execute(common, command, console).await,
        Command::People(command) => people(common, command, console).await,
        Command::Budgets(command) => budgets::execute(common, command, console).await,
        Command::Prices(command) => prices::execute(common, command, console).await,
        Command::Workflows(command) => workflows::execute(common, command, console).await,
        Command::Proof(command) => proof(common, command, console).await,
    }
}

async fn live(common: &Common, command: &LiveCommand, console: &mut Console<'_>) -> Done {
    match command {
        LiveCommand::Top => top::execute(common, console).await,
        LiveCommand::Watch(args) => news::execute(common, args, console).await,
    }
}

async fn proof(common: &Common, command: &ProofCommand, console: &mut Console<'_>) -> Done {
    match command {
        ProofCommand::Verify(args) => verify::execute(common, args, console).await,
        ProofCommand::Export(args) => export::execute(common, args, console).await,
    }
}

async fn people(common: &Common, command: &PeopleCommand, console: &mut Console<'_>) -> Done {
    match command {
        PeopleCommand::Policy(command) => policy::execute(common, command, console).await,
        PeopleCommand::Approvals(args) => approvals::list(common, args, console).await,
        PeopleCommand::Approve(args) => {
            approvals::say(common, (Word::Approve, args), console).await
        }
        PeopleCommand::Reject(args) => approvals::say(common, (Word::Reject, args), console).await,
        PeopleCommand::Revoke(args) => approvals::say(common, (Word::Revoke, args), console).await,
        PeopleCommand::Resolve(args) => resolve::execute(common, args, console).await,
        PeopleCommand::Redrive(args) => redrive::execute(common, args, console).await,
        PeopleCommand::Signal(args) => signal::execute(common, args, console).await,
        PeopleCommand::Unblock(args) => unblock::execute(common, args, console).await,
        PeopleCommand::Reconcile(args) => reconcile::execute(common, args, console).await,
    }
}

/// What a command does when nobody reads its results any more.
pub(crate) const fn on_close(command: &Command) -> OnClose {
    match command {
        Command::Run(_)
        | Command::Rehearse(_)
        | Command::Demo
        | Command::Steer(_)
        | Command::People(
            PeopleCommand::Approve(_)
            | PeopleCommand::Reject(_)
            | PeopleCommand::Revoke(_)
            | PeopleCommand::Resolve(_)
            | PeopleCommand::Redrive(_)
            | PeopleCommand::Signal(_)
            | PeopleCommand::Unblock(_)
            | PeopleCommand::Reconcile(_)
            | PeopleCommand::Policy(PolicyCommand::Publish { .. }),
        )
        | Command::Budgets(
            BudgetsCommand::Set { .. }
            | BudgetsCommand::TopUp { .. }
            | BudgetsCommand::Freeze { .. }
            | BudgetsCommand::Unfreeze { .. },
        )
        | Command::Prices(
            PricesCommand::Import(_) | PricesCommand::Override { .. } | PricesCommand::Drop { .. },
        )
        | Command::Workflows(
            WorkflowsCommand::Publish { .. } | WorkflowsCommand::Activate { .. },
        ) => OnClose::GoOn,
        Command::Runs(_)
        | Command::Live(LiveCommand::Top | LiveCommand::Watch(_))
        | Command::People(
            PeopleCommand::Approvals(_)
            | PeopleCommand::Policy(
                PolicyCommand::Show { .. } | PolicyCommand::Diff { .. } | PolicyCommand::History,
            ),
        )
        | Command::Show(_)
        | Command::Replay(_)
        | Command::Costs(_)
        | Command::Budgets(BudgetsCommand::List)
        | Command::Prices(
            PricesCommand::List { .. } | PricesCommand::Versions | PricesCommand::Diff { .. },
        )
        | Command::Workflows(
            WorkflowsCommand::List
            | WorkflowsCommand::Show { .. }
            | WorkflowsCommand::Diff { .. }
            | WorkflowsCommand::Graph { .. },
        )
        | Command::Proof(ProofCommand::Verify(_) | ProofCommand::Export(_)) => OnClose::Stop,
    }
}

/// Who acts: as given, or by the login name.
fn operator(common: &Common) -> Result<String, Failure> {
    let login = || {
        let names = ["USER", "LOGNAME"].into_iter();
        let mut names = names.filter_map(|name| std::env::var(name).ok());
        names.find(|name| !name.is_empty())
    };
    let name = common.operator.clone().or_else(login).unwrap_or_else(uid);
    match OperatorName::new(&name) {
        Ok(_) => Ok(name),
        Err(fault) => Err(Failure::usage(Error::invalid("--operator", fault))
            .with_next("name who acts with --operator NAME")),
    }
}

#[cfg(unix)]
fn uid() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let process = std::fs::metadata("/proc/self");
    process.map_or_else(|_| "unknown".to_owned(), |me| format!("uid-{}", me.uid()))
}

#[cfg(not(unix))]
fn uid() -> String {
    "unknown".to_owned()
}

/// `key=value`.
fn pair(text: &str, option: &'static str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(Error::invalid(
            option,
            "of the form KEY=VALUE",
        ))),
    }
}
