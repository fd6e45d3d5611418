//! `budgets`: what shared accounts may spend and have spent, and how an operator changes it.

use std::time::Duration;

use mc_core::budget::{Account, AccountId, Dimension, Limit, OnExceed};
use mc_core::engine::shared_accounts;
use mc_core::error::{Error, Result as CoreResult};
use mc_core::money::NanoUsd;
use mission_control::{Budget, MissionControl, Note, Settings};
use serde_json::{Value, json};

use super::why::reason;
use super::{Done, operator};
use crate::args::{AmountArgs, BudgetsCommand, Common, NoteArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::family::Family;
use crate::moment::in_future;
use crate::store::{self, Opened};
use crate::table::{Align, Table};

pub(super) async fn execute(
    common: &Common,
    command: &BudgetsCommand,
    console: &mut Console<'_>,
) -> Done {
    match command {
        BudgetsCommand::List => list(common, console).await,
        BudgetsCommand::Set {
            account,
            amount,
            on_exceed,
            window,
            observe,
            halt_inflight,
            note,
        } => {
            let window = window.as_deref().map(str::parse).transpose();
            let window = window.map_err(|fault| wrong("--window", &fault))?;
            let mut budget = Budget::of(self::account(account)?)
                .limit(limit(amount)?)
                .on_exceed((*on_exceed).into());
            if let Some(window) = window {
                budget = budget.window(window);
            }
            if *observe {
                budget = budget.observe();
            }
            if *halt_inflight {
                budget = budget.halt_in_flight();
            }
            let note = self::note(common, note, console)?;
            if let Some(until) = note.until {
                budget = budget.until(until);
            }
            let (by, reason) = (operator(common)?, note.reason);
            change(common, account, console, async |control| {
                control.set_budget((by.as_str(), &*reason), budget).await
            })
            .await
        }
        BudgetsCommand::TopUp {
            account,
            amount,
            note,
        } => {
            let (id, by) = (self::account(account)?, limit(amount)?);
            let (note, operator) = (self::note(common, note, console)?, operator(common)?);
            change(common, account, console, async |control| {
                control.top_up(&operator, id, by, note).await
            })
            .await
        }
        BudgetsCommand::Freeze { account, note } => {
            let (id, note, by) = (
                self::account(account)?,
                self::note(common, note, console)?,
                operator(common)?,
            );
            change(common, account, console, async |control| {
                control.freeze(&by, id, note).await
            })
            .await
        }
        BudgetsCommand::Unfreeze { account, reason } => {
            let (id, by) = (self::account(account)?, operator(common)?);
            let note = Note::because(&self::reason(common, reason.as_deref(), console)?);
            change(common, account, console, async |control| {
                control.unfreeze(&by, id, note).await
            })
            .await
        }
    }
}

/// Changes an account, and shows it as it is then.
async fn change(
    common: &Common,
    account: &str,
    console: &mut Console<'_>,
    act: impl AsyncFnOnce(&MissionControl) -> CoreResult<()>,
) -> Done {
    // A store that is not there is not made by a slip of the pen.
    drop(store::look(common).await?);
    let opened = Opened::open(common, Settings::default()).await?;
    let changed = act(&opened.control).await;
    opened.close(Duration::ZERO).await?;
    changed?;
    let changed = one(common, self::account(account)?).await?;
    show(common, &[changed], console)
}

fn wrong(option: &'static str, fault: &dyn std::fmt::Display) -> Failure {
    Failure::usage(Error::invalid(option, fault.to_string()))
}

fn account(text: &str) -> Result<AccountId, Failure> {
    text.parse().map_err(|fault| wrong("account", &fault))
}

fn limit(args: &AmountArgs) -> Result<Limit, Failure> {
    let money = args.usd.as_deref().map(str::parse::<NanoUsd>).transpose();
    let limit = Limit {
        money: money.map_err(|fault| wrong("--usd", &fault))?,
        input_tokens: args.input_tokens,
        output_tokens: args.output_tokens,
        calls: args.calls,
    };
    if limit.is_none() {
        let rule = "give at least one of --usd, --input-tokens, --output-tokens, --calls";
        return Err(wrong("amount", &rule));
    }
    Ok(limit)
}

fn note(common: &Common, args: &NoteArgs, console: &mut Console<'_>) -> Result<Note, Failure> {
    let until = args.until.as_deref().map(|text| in_future("--until", text));
    let until = until.transpose().map_err(Failure::usage)?;
    let note = Note::because(&reason(common, args.reason.as_deref(), console)?);
    Ok(match until {
        Some(until) => note.until(until),
        None => note,
    })
}

async fn list(common: &Common, console: &mut Console<'_>) -> Done {
    let all = accounts(common).await?;
    if all.is_empty() && !common.json {
        console.line("nothing was counted yet, and no limit is set")?;
        return Ok(Exit::Done);
    }
    show(common, &all, console)
}

/// An account as it stands; one in which nothing has moved is empty.
async fn one(common: &Common, id: AccountId) -> Result<(AccountId, Account), Failure> {
    let log = store::look(common).await?;
    let mut all = match &id {
        AccountId::Run(run) | AccountId::Step(run, _) => {
            let family = Family::read(&*log, *run).await?;
            let run = family.top().run();
            run.map(|run| family.accounts(run)).unwrap_or_default()
        }
        AccountId::Workspace | AccountId::Workflow(_) | AccountId::Agent(_) | AccountId::Tag(_) => {
            shared_accounts(&*log).await?
        }
    };
    let account = all.remove(&id).unwrap_or_default();
    Ok((id, account))
}

/// Every account that belongs to no run.
async fn accounts(common: &Common) -> Result<Vec<(AccountId, Account)>, Failure> {
    let log = store::look(common).await?;
    Ok(shared_accounts(&*log).await?.into_iter().collect())
}

fn show(common: &Common, all: &[(AccountId, Account)], console: &mut Console<'_>) -> Done {
    if common.json {
        let all: Vec<Value> = all
            .iter()
            .map(|(id, account)| as_json(id, account))
            .collect();
        console.json(&json!({ "accounts": all }))?;
    } else {
        console.line(text(all))?;
    }
    Ok(Exit::Done)
}

fn as_json(id: &AccountId, account: &Account) -> Value {
    json!({
        "account": id, "limit": account.limit(), "on_exceed": account.on_exceed(),
        "window": account.window().to_string(), "period": account.period(),
        "mode": account.mode(), "in_flight": account.in_flight(),
        "spent": account.spent(), "reserved": account.reserved(), "in_doubt": account.in_doubt(),
        "available": account.available(), "percent": account.percent(),
        "frozen": account.is_frozen(), "lapsing": account.lapsing(),
        "worst_case_overshoot": account.worst_case_overshoot(),
    })
}

fn text(all: &[(AccountId, Account)]) -> String {
    let mut table = Table::new(&[
        ("account", Align::Left),
        ("counts", Align::Left),
        ("limit", Align::Right),
        ("spent", Align::Right),
        ("reserved", Align::Right),
        ("in doubt", Align::Right),
        ("left", Align::Right),
        ("window", Align::Left),
        ("state", Align::Left),
    ]);
    for (id, account) in all {
        let limited = |one: &Dimension| account.limit().of(*one).is_some();
        let mut shown: Vec<Dimension> = Dimension::ALL.into_iter().filter(limited).collect();
        if shown.is_empty() {
            shown.push(Dimension::Money);
        }
        for dimension in shown {
            table.row(row(id, account, dimension));
        }
    }
    table.render()
}

fn row(id: &AccountId, account: &Account, dimension: Dimension) -> [String; 9] {
    let amount = |value: i128| match dimension {
        Dimension::Money => {
            NanoUsd::from_nano(i64::try_from(value).unwrap_or(i64::MAX)).to_string()
        }
        Dimension::InputTokens | Dimension::OutputTokens | Dimension::Calls => value.to_string(),
    };
    let counts = match dimension {
        Dimension::Money => "usd",
        Dimension::InputTokens | Dimension::OutputTokens | Dimension::Calls => dimension.name(),
    };
    let or_none = |value: Option<i128>| value.map_or_else(|| "-".to_owned(), amount);
    [
        id.to_string(),
        counts.replace('_', " "),
        or_none(account.limit().of(dimension)),
        amount(account.spent().of(dimension)),
        amount(account.reserved().of(dimension)),
        amount(account.in_doubt().of(dimension)),
        or_none(account.available().of(dimension)),
        account.window().to_string(),
        state(account),
    ]
}

/// `frozen until 2026-12-01T00:00:00Z`, `over its limit`, `80 %`.
fn state(account: &Account) -> String {
    let mut words = Vec::new();
    if account.is_frozen() {
        let frozen = |one: &&mc_core::budget::Lapsing| one.undo == mc_core::budget::Undo::Freeze;
        let until = account.lapsing().iter().find(frozen);
        words.push(match until {
            Some(lapsing) => format!("frozen until {}", lapsing.at),
            None => "frozen".to_owned(),
        });
    }
    if !account.mode().is_enforced() {
        words.push("observed".to_owned());
    }
    if account.is_over() {
        words.push("over its limit".to_owned());
    } else if !account.limit().is_none() {
        words.push(format!("{} %", account.percent()));
    }
    words.join(", ")
}

impl From<crate::args::OnExceedArg> for OnExceed {
    fn from(arg: crate::args::OnExceedArg) -> Self {
        match arg {
            crate::args::OnExceedArg::Abort => Self::Abort,
            crate::args::OnExceedArg::Pause => Self::Pause,
        }
    }
}
