//! What may be said to what stands still: signals, blocked steps, money in doubt.

use std::str::FromStr;

use clap::Args;
use mc_core::money::NanoUsd;
use mission_control::HoldKey;

/// `signal`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mission-control signal 01a1fd reply-5f0c '{\"output\": {\"text\": \"done\"}}'"
)]
pub(crate) struct SignalArgs {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
    /// The signal's name, as `show` has it beside the step that waits
    pub(crate) name: String,
    /// What it brings: JSON, or @FILE
    #[arg(value_name = "JSON|@FILE", default_value = "null")]
    pub(crate) value: String,
}

/// `unblock`.
#[derive(Debug, Args)]
pub(crate) struct UnblockArgs {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
    /// The step
    pub(crate) step: String,
    /// Why; asked for at a terminal where it is not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// What was billed of money in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BilledArg {
    /// All that was held.
    Full,
    /// Nothing.
    Nothing,
    /// So much, of one hold.
    Usd(NanoUsd),
}

impl FromStr for BilledArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "nothing" => Ok(Self::Nothing),
            amount => amount
                .parse()
                .map(Self::Usd)
                .map_err(|fault| format!("`full`, `nothing` or an amount in USD: {fault}")),
        }
    }
}

/// `reconcile`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("whose"),
    after_help = "Examples:\n  mission-control reconcile --list\n  \
                  mission-control reconcile 01a1fd --hold draft#1/0 --billed 0.0042 --reason 'invoice 11, line 17'\n  \
                  mission-control reconcile --account agent:writer --billed full --reason 'invoice 11'"
)]
pub(crate) struct ReconcileArgs {
    /// Of this run: its id, or as much of its beginning as is unique
    #[arg(value_name = "RUN", group = "whose")]
    pub(crate) of: Option<String>,
    /// Of this run
    #[arg(long, value_name = "RUN", group = "whose")]
    pub(crate) run: Option<String>,
    /// Of this account, in whichever run: workspace, workflow:NAME, agent:NAME, tag:NAME
    #[arg(long, value_name = "ACCOUNT", group = "whose")]
    pub(crate) account: Option<String>,
    /// This hold of the run alone, STEP#ATTEMPT or STEP#ATTEMPT/CALL, as the list has it
    #[arg(long, value_name = "HOLD", conflicts_with = "account")]
    pub(crate) hold: Option<HoldKey>,
    /// What was billed: full, nothing, or of one hold an amount in USD; without it, what is in doubt is listed
    #[arg(
        long,
        value_name = "HOW|USD",
        requires = "evidence",
        allow_negative_numbers = true
    )]
    pub(crate) billed: Option<BilledArg>,
    /// The evidence, in words
    #[arg(
        long,
        visible_alias = "reason",
        value_name = "TEXT",
        requires = "billed"
    )]
    pub(crate) evidence: Option<String>,
    /// Only list what is in doubt
    #[arg(long, conflicts_with_all = ["billed", "hold"])]
    pub(crate) list: bool,
}
