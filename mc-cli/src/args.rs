//! What may be asked: every command and option, with its help.

mod standing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mc_core::event::run::PlanCheck;

pub(crate) use standing::{BilledArg, ReconcileArgs, SignalArgs, UnblockArgs};

const EXAMPLES: &str = "\
Examples:
  mission-control demo --db demo.redb
  mission-control run pipeline.yaml --agents agents.yaml --input '{\"topic\":\"tea\"}' --budget 1.50
  mission-control runs --status failed --since 24h
  mission-control costs --by model --json
  mission-control verify --db agents.redb

Exit: 0 done, 1 negative result, 3 cannot open, 64 wrong usage, 130 interrupted.";

/// Run agents under budgets, and see, replay, verify and export what they did.
#[derive(Debug, Parser)]
#[command(name = "mission-control", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The store
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MISSION_CONTROL_DB",
        default_value = "mission-control.redb"
    )]
    pub(crate) db: PathBuf,
    /// Who acts; the login name unless given
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) operator: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish a workflow, start it and watch it to its end
    Run(RunArgs),
    /// Re-enact recorded runs in simulated time, with budgets of your choice
    Rehearse(RehearseArgs),
    /// Run the bundled example, then show its costs, its replay and its log
    Demo,
    /// List runs, newest first
    Runs(RunsArgs),
    /// Show one run: its steps, accounts and what it waits for
    Show(RunArg),
    /// Rebuild a run's state from the log and compare it with the stored one
    Replay(ReplayArgs),
    /// Sum what was spent
    Costs(CostsArgs),
    #[command(flatten)]
    Steer(SteerCommand),
    #[command(flatten)]
    Live(LiveCommand),
    #[command(flatten)]
    People(PeopleCommand),
    /// What accounts may spend and have spent: list, set, top up, freeze
    #[command(subcommand)]
    Budgets(BudgetsCommand),
    /// Prices of models
    #[command(subcommand)]
    Prices(PricesCommand),
    /// Versions of workflows: store, look at, compare, draw, let new runs take
    #[command(subcommand)]
    Workflows(WorkflowsCommand),
    #[command(flatten)]
    Proof(ProofCommand),
}

/// Evidence.
#[derive(Debug, Subcommand)]
pub(crate) enum ProofCommand {
    /// Check the log: headers, facts, chains, tree and parts
    Verify(VerifyArgs),
    /// Write the log out for auditors (jsonl) or spreadsheets (csv)
    Export(ExportArgs),
}

/// What goes on, as it happens.
#[derive(Debug, Subcommand)]
pub(crate) enum LiveCommand {
    /// Show runs, spend and what is asked of people on this terminal, and take answers there
    Top,
    /// Write a line for each event that a person cares about, as it happens
    Watch(WatchArgs),
}

/// `watch`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mission-control watch --json | grep approval.requested")]
pub(crate) struct WatchArgs {
    /// Of this run alone, from its first event to its last
    #[arg(long, value_name = "RUN", conflicts_with = "since")]
    pub(crate) run: Option<String>,
    /// Also what happened since: a span (24h, 7d), a day or a time in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
}

/// What is asked of people, and what they say.
#[derive(Debug, Subcommand)]
pub(crate) enum PeopleCommand {
    /// List what is asked of people, with what it would do to each budget
    Approvals(ApprovalsArgs),
    /// Let what is asked be done, once
    Approve(WordArgs),
    /// Refuse what is asked: its step fails, or its agent is told
    Reject(WordArgs),
    /// Take an approval back that was not used yet; it is asked for anew
    Revoke(WordArgs),
    /// Say what became of a step in doubt
    Resolve(ResolveArgs),
    /// Let a failed run go on from a step
    Redrive(RedriveArgs),
    /// Bring a signal to a run: a step that waits for it goes on
    Signal(SignalArgs),
    /// Let a step that a rule or a budget blocked try afresh
    Unblock(UnblockArgs),
    /// List money in doubt, or settle it: one hold, or all of one run or account
    Reconcile(ReconcileArgs),
    /// The policy: put one into force, look at it, compare versions
    #[command(subcommand)]
    Policy(PolicyCommand),
}

/// Stop and go.
#[derive(Debug, Subcommand)]
pub(crate) enum SteerCommand {
    /// End a run now
    Abort(AbortArgs),
    /// Dispatch nothing more in a run; what is out goes on
    Pause(AbortArgs),
    /// Stop everything, an agent or a run, with what is out, until it is resumed
    Halt(HaltArgs),
    /// Let go on what was halted, or a run that was paused
    Resume(ResumeArgs),
}

/// `abort` and `pause`.
#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
    /// Why; asked for at a terminal where it is not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `halt`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mission-control halt agent:writer --reason 'it posts nonsense'\n\nWithout this program: touch FILE.halt beside the store FILE."
)]
pub(crate) struct HaltArgs {
    /// What is halted: workspace, agent:NAME or run:ID
    #[arg(value_name = "SCOPE", default_value = "workspace")]
    pub(crate) scope: String,
    /// How long what is out has to end by itself
    #[arg(long, value_name = "SPAN", default_value = "5s")]
    pub(crate) drain: String,
    /// Why; asked for at a terminal where it is not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// What goes on: workspace, agent:NAME or run:ID
    #[arg(value_name = "SCOPE", default_value = "workspace")]
    pub(crate) scope: String,
    /// Why; asked for at a terminal where it is not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// A run.
#[derive(Debug, Args)]
pub(crate) struct RunArg {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
}

/// `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mission-control run pipeline.yaml --agents agents.yaml --input @input.json --budget 2.00"
)]
pub(crate) struct RunArgs {
    /// The workflow, in YAML
    pub(crate) workflow: PathBuf,
    /// The agents, in YAML
    #[arg(long, value_name = "FILE")]
    pub(crate) agents: PathBuf,
    /// The input: JSON, or @FILE
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    pub(crate) input: String,
    /// The run's limit in USD, instead of the workflow's own; its other limits stay
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) budget: Option<String>,
    /// A label, searchable later; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// A tag: the run's money counts in the account tag:NAME too; may be given again
    #[arg(long = "tag", value_name = "NAME")]
    pub(crate) tags: Vec<String>,
    /// What is done about a worst case that does not fit
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) plan_check: Option<PlanCheckArg>,
    /// The same key finds the same run instead of starting another
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// How fast recorded agents answer: `max` at once, 1 as recorded, 10 ten times as fast
    #[arg(long, value_name = "N|max", default_value = "max")]
    pub(crate) speed: String,
    /// Warn of prices that were read longer ago than this, e.g. 90d; calls by them are noted in the log
    #[arg(long, value_name = "SPAN")]
    pub(crate) price_age: Option<String>,
}

/// What is done about a run's worst case before any of it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanCheckArg {
    /// Not worked out
    Off,
    /// Written down only
    Advisory,
    /// What could never fit is refused
    Strict,
    /// As strict; and what it can cost is held for it from the start
    Reserving,
}

impl From<PlanCheckArg> for PlanCheck {
    fn from(check: PlanCheckArg) -> Self {
        match check {
            PlanCheckArg::Off => Self::Off,
            PlanCheckArg::Advisory => Self::Advisory,
            PlanCheckArg::Strict => Self::Strict,
            PlanCheckArg::Reserving => Self::Reserving,
        }
    }
}

/// `rehearse`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mission-control rehearse runs.jsonl.gz --db rehearsal.redb --budget-fraction 0.6"
)]
pub(crate) struct RehearseArgs {
    /// The recorded runs: JSON lines, plain or gzip
    pub(crate) file: PathBuf,
    /// Limit each run to this part of its cost at our prices
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) budget_fraction: Option<crate::rehearse::BudgetFraction>,
    /// Let models without a price answer, at no cost; they are denied otherwise
    #[arg(long)]
    pub(crate) allow_unknown_models: bool,
    /// Judge every recorded call by the rules of this policy, in YAML; what a rule in mode `observe`
    /// would have denied is told, and changes nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Draw order and jitter from this number, the same again and again
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// `runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Runs with a step of this agent
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Runs in this status: pending, running, completed, failed, aborted
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Runs with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Option<String>,
    /// Runs started since: a span (24h, 7d), a day or a time in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Also runs that are nested in others
    #[arg(long)]
    pub(crate) nested: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    pub(crate) limit: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "a whole number from 1 on".to_owned())
}

/// `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
    /// Up to and with this `run_seq`
    #[arg(long, value_name = "SEQ")]
    pub(crate) at: Option<u64>,
}

/// What costs are summed by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum By {
    /// The agent in whose name it was spent
    Agent,
    /// The model that answered
    Model,
    /// The workflow
    Workflow,
    /// The day in UTC
    Day,
    /// The step of a workflow
    Step,
}

/// `costs`.
#[derive(Debug, Args)]
pub(crate) struct CostsArgs {
    /// What to sum by
    #[arg(long, value_enum, default_value_t = By::Workflow)]
    pub(crate) by: By,
    /// Of this run alone
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Answer in CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// `budgets`. An account is `workspace`, `workflow:NAME`, `agent:NAME`, `run:ID` or `step:ID/KEY`.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetsCommand {
    /// List what every shared account may spend, has spent, holds and has in doubt
    List,
    /// Set what an account may spend
    #[command(
        after_help = "Example:\n  mission-control budgets set agent:researcher --usd 20.00 \
--window 'day Europe/Berlin' --on-exceed pause --reason 'agreed for December'"
    )]
    Set {
        /// The account
        account: String,
        #[command(flatten)]
        amount: AmountArgs,
        /// What becomes of a run that the account refuses for good
        #[arg(long, value_enum, default_value_t = OnExceedArg::Abort)]
        on_exceed: OnExceedArg,
        /// For each such stretch of time: `day ZONE`, `week:monday ZONE`, `month:1 ZONE`, `fixed SPAN`,
        /// `sliding SPAN BUCKETS`, or `lifetime`
        #[arg(long, value_name = "WINDOW")]
        window: Option<String>,
        /// Only look at the limit: what it has no room for goes out, and an event says so
        #[arg(long)]
        observe: bool,
        /// Cut what is out in the account where it is over this limit
        #[arg(long, conflicts_with = "observe")]
        halt_inflight: bool,
        #[command(flatten)]
        note: NoteArgs,
    },
    /// Put so much on top of an account's limit
    TopUp {
        /// The account
        account: String,
        #[command(flatten)]
        amount: AmountArgs,
        #[command(flatten)]
        note: NoteArgs,
    },
    /// Let an account admit nothing; what is out goes on
    Freeze {
        /// The account
        account: String,
        #[command(flatten)]
        note: NoteArgs,
    },
    /// Let a frozen account admit again
    Unfreeze {
        /// The account
        account: String,
        /// Why; asked for at a terminal where it is not given
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// How much.
#[derive(Debug, Args)]
pub(crate) struct AmountArgs {
    /// Money, in USD
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) usd: Option<String>,
    /// Input tokens
    #[arg(long, value_name = "N")]
    pub(crate) input_tokens: Option<u64>,
    /// Output tokens
    #[arg(long, value_name = "N")]
    pub(crate) output_tokens: Option<u64>,
    /// Model calls
    #[arg(long, value_name = "N")]
    pub(crate) calls: Option<u64>,
}

/// Why, and for how long.
#[derive(Debug, Args)]
pub(crate) struct NoteArgs {
    /// Why; asked for at a terminal where it is not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Until then, and as it was before from there on: a span (2h, 7d), a day or a time in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// What becomes of a run that an account refuses for good.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnExceedArg {
    /// It ends
    Abort,
    /// It waits until the account has room
    Pause,
}

/// `prices`.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// List the prices in force in the store, in USD per million tokens; without one, this version's
    List {
        /// Models whose id or alias contains this
        model: Option<String>,
        /// Another table: `embedded`, a version of the store, or a file in TOML
        #[arg(long, value_name = "TABLE")]
        table: Option<String>,
    },
    /// List the price tables that the store has had in force
    Versions,
    /// Compare two price tables model by model
    Diff {
        /// `embedded`, a version of the store, or a file in TOML
        before: String,
        /// `embedded`, a version of the store, or a file in TOML
        after: String,
    },
    /// Take the price list of another package into the store, and say what was left or changed
    Import(ImportArgs),
    /// Lay prices of your own over all others in the store: discounts and rows
    Override {
        /// The overrides, in TOML or YAML
        file: PathBuf,
    },
    /// Take an import or the overrides out of force
    Drop {
        /// litellm, genai-prices, overrides
        layer: String,
    },
}

/// `prices import`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mission-control prices import --from litellm model_prices_and_context_window_backup.json --provider openai --provider anthropic"
)]
pub(crate) struct ImportArgs {
    /// Whose file it is: litellm, genai-prices
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) from: String,
    /// The file, in JSON
    pub(crate) file: PathBuf,
    /// Models of this provider; may be given again
    #[arg(long = "provider", value_name = "NAME")]
    pub(crate) providers: Vec<String>,
    /// The day as of which the file is; today unless given
    #[arg(long, value_name = "DAY")]
    pub(crate) checked_at: Option<String>,
    /// Only report what an import would do
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `workflows`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// List every version, and which one new runs take
    List,
    /// Show a version: its hash, its steps, and with --json its whole definition
    Show {
        /// NAME, NAME@VERSION, or a file in YAML
        workflow: String,
    },
    /// Compare two versions step by step
    Diff {
        /// NAME, NAME@VERSION, or a file in YAML
        before: String,
        /// NAME, NAME@VERSION, or a file in YAML
        after: String,
    },
    /// Draw a version's steps as text, or as a picture
    Graph {
        /// NAME, NAME@VERSION, or a file in YAML
        workflow: String,
        /// Write the picture to this new file
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Store a version; new runs take it unless --later is given
    Publish {
        /// The workflow, in YAML
        file: PathBuf,
        /// Only store it
        #[arg(long)]
        later: bool,
    },
    /// Let new runs take a version; going back is activating an older one
    Activate {
        /// NAME@VERSION
        workflow: String,
    },
}

/// `approvals`.
#[derive(Debug, Args)]
pub(crate) struct ApprovalsArgs {
    /// Also those that are decided, used or over
    #[arg(long)]
    pub(crate) all: bool,
}

/// `approve`, `reject`, `revoke`.
#[derive(Debug, Args)]
pub(crate) struct WordArgs {
    /// The request, RUN/N; of the run's id as much as is unique
    pub(crate) approval: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `resolve`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("became").required(true))]
pub(crate) struct ResolveArgs {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
    /// The step
    pub(crate) step: String,
    /// The attempt that is meant, as it was shown; else the one that is in doubt now
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
    /// It happened, with this output: JSON, or @FILE
    #[arg(long, value_name = "JSON|@FILE", group = "became")]
    pub(crate) happened: Option<String>,
    /// It did not happen: it goes back to dispatch and is asked for anew
    #[arg(long, group = "became")]
    pub(crate) did_not_happen: bool,
    /// It is given up, and the run with it
    #[arg(long, group = "became")]
    pub(crate) abort: bool,
    /// How that is known
    #[arg(long, value_name = "TEXT", default_value = "told on the command line")]
    pub(crate) reason: String,
}

/// `redrive`.
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// The run's id, or as much of its beginning as is unique
    pub(crate) run: String,
    /// The step that it goes on from; the one that failed, if left out
    #[arg(long, value_name = "STEP")]
    pub(crate) from: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "asked on the command line")]
    pub(crate) reason: String,
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Put a policy into force, with the limits that it names
    Publish {
        /// The policy, in YAML
        file: PathBuf,
    },
    /// Show a version; the one in force unless given
    Show {
        /// The version, from 1
        version: Option<u32>,
    },
    /// Compare two versions, or a version and a file in YAML
    Diff {
        /// A version, or a file in YAML
        before: String,
        /// A version, or a file in YAML
        after: String,
    },
    /// List every version, when it came into force and by whom
    History,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Check an export instead of the store
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,
}

/// The forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Everything, verifiable, one event a line
    Jsonl,
    /// The main columns of every event
    Csv,
}

impl Format {
    /// As it is named on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// This run alone
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// The form
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub(crate) format: Format,
    /// Write to this new file instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
