//! The ports between a process that owns the log and those that have joined it.
//!
//! [`OwnerPort`] is what a joined handle asks of the owner; [`Guest`](super::Guest) is what the owner's
//! answers and orders reach it by. [`AgentHost`] is what the owner asks of a joined process that
//! has agents; [`Owner`](super::Owner) is what that process' commands reach it by. What carries
//! them from one process to the other is an adapter's (`mc-link`).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::policy::PolicyVersion;
use super::status::Metrics;
use crate::budget::{Account, AccountId, Amount};
use crate::error::Result;
use crate::id::{Digest, RunId, StepKey};
use crate::policy::PriceAge;
use crate::pricing::{ModelPrice, UnknownModels};
use crate::run::HoldKey;
use crate::sequencer::{AttemptOrder, Command, HaltScope, ProbeOrder, Reply, Token};
use crate::time::Timestamp;

/// What finds an attempt.
pub type AttemptKey = (RunId, StepKey, u32);

/// Whether a command may have been handed over before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// It was not.
    First,
    /// It may have been, to this owner or to one before it, and no answer came.
    Again,
}

/// The owner cannot be reached any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// The command did not leave.
    NotSent,
    /// Whether the owner took it is not known.
    Unknown,
}

/// What a joined process may draw of a session's block, as the owner had it when it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The session.
    pub session: RunId,
    /// What no call that the owner knows of has drawn.
    pub free: Amount,
    /// The version of the prices in force: who has others has to ask.
    pub price_version: Digest,
    /// The call that was answered to, where what is left hangs on it.
    pub about: Option<About>,
}

/// A call that an owner has answered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// It was drawn from the block, and the owner has it in its books.
    Drawn(u32),
    /// The owner was asked for it.
    Asked(u32),
}

/// An owner's answer to a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// The reply.
    pub reply: Result<Reply>,
}

/// What a joined process has to know of its owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerTerms {
    /// The epoch in which it owns the log.
    pub epoch: u64,
    /// The name of its price table.
    pub price_label: String,
    /// The rows of its price table.
    pub prices: Vec<ModelPrice>,
    /// What it does about models without a price.
    pub unknown_models: UnknownModels,
    /// The largest age of its prices; none for any.
    pub price_age: Option<PriceAge>,
}

/// A question about what an owner has in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peek {
    /// A shared account.
    Account(AccountId),
    /// Money in doubt of a run, or of one step of it.
    Doubts(RunId, Option<StepKey>),
    /// The definition of a hash.
    Definition(Digest),
    /// The prices in force.
    Prices,
    /// Counts and sizes.
    Metrics,
    /// What is halted.
    Halts,
    /// The policy in force.
    Policy,
}

/// The answer to a [`Peek`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peeked {
    /// The account; none where nothing has moved in it.
    Account(Option<Box<Account>>),
    /// The money, by hold.
    Doubts(Option<Vec<(HoldKey, Amount)>>),
    /// The definition's canonical text; none where it is not known.
    Definition(Option<String>),
    /// The table's canonical text; none where it has no such form.
    Prices(Option<String>),
    /// The counts.
    Metrics(Box<Metrics>),
    /// The halts, each with its deadline.
    Halts(Vec<(HaltScope, Timestamp)>),
    /// The version and the policy; none while its state is taken over.
    Policy(Option<PolicyVersion>),
}

/// What a joined handle asks of the process that owns the log.
#[async_trait]
pub trait OwnerPort: Send + Sync + fmt::Debug + 'static {
    /// What is to be known of the owner.
    fn terms(&self) -> &OwnerTerms;

    /// Hands a command over and waits for its answer.
    ///
    /// Commands reach the owner in the order in which this is first polled, and in that of
    /// [`Self::tell`].
    async fn submit(
        &self,
        command: Arc<Command>,
        asked: Asked,
    ) -> std::result::Result<Told, Unreached>;

    /// Hands a command over and waits for nothing.
    fn tell(&self, command: Arc<Command>);

    /// Asks for what the owner has in memory.
    async fn ask(&self, question: Peek) -> std::result::Result<Peeked, Unreached>;

    /// As [`Self::ask`]; the caller's thread waits, for at most a second.
    fn peek(&self, question: Peek) -> Option<Peeked>;

    /// Says which handlers act in this process, of attempts that earlier owners had dispatched; before
    /// anything else is said.
    fn acting(&self, attempts: &[AttemptKey]);

    /// The handler of an attempt has gone.
    fn finished(&self, attempt: &AttemptKey);

    /// How many tokens an attempt has used so far, input and output.
    fn progress(&self, attempt: &AttemptKey, tokens: (u64, u64));

    /// Gives the agents of this process up: nothing more is dispatched to it.
    async fn leave(&self);

    /// Ends the connection; what it has out is lost.
    fn close(&self);
}

/// A joined process, as its owner sees it.
pub trait AgentHost: Send + Sync + fmt::Debug + 'static {
    /// What tells it from all others that this owner ever had.
    fn id(&self) -> u64;

    /// Whether it is still there.
    fn is_here(&self) -> bool;

    /// Sends it an attempt. False where it is gone.
    fn order(&self, order: AttemptOrder) -> bool;

    /// Tells it that an attempt is to stop.
    fn cancel(&self, token: &Token);

    /// Lets it ask its agent what became of a step in doubt. What the agent knows comes as a command.
    fn probe(&self, order: ProbeOrder);

    /// Tells it that a session of its has to ask for every call.
    fn recall(&self, session: RunId);
}
