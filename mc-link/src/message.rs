//! What is said: the first words of both sides, then questions with a number and their answers.
//!
//! A verb is not named here: commands are `mc_core::sequencer::Request`, reads are
//! [`Read`](crate::reads::Read), and both sides know them by their types. A change of any of these forms
//! is another [`PROTOCOL`].

use std::sync::Arc;

use mc_core::engine::{Asked, AttemptKey, OwnerTerms, Peek, Peeked, Room, Told};
use mc_core::error::Error;
use mc_core::id::RunId;
use mc_core::sequencer::{AttemptOrder, Command, ProbeOrder, Token};
use serde::{Deserialize, Serialize};

use crate::place::FileId;
use crate::reads::{Read, ReadAnswer};

/// The version of what is said. Both sides have to have the same.
pub const PROTOCOL: u32 = 7;

/// The first words of a process that wants to join. Every version begins like this.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// What it speaks.
    pub(crate) protocol: u32,
    /// The process.
    pub(crate) pid: u32,
    /// The file that it wants to open.
    #[serde(default)]
    pub(crate) file: FileId,
    /// The last epoch that it knows of; 0 for none.
    #[serde(default)]
    pub(crate) epoch: u64,
}

/// What the owner answers to them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Greeting {
    /// It has joined.
    Welcome(Box<Welcome>),
    /// It may not.
    Refused(Error),
}

/// What a process is told that has joined.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The owner.
    pub(crate) pid: u32,
    /// What it has to know of it.
    pub(crate) terms: OwnerTerms,
}

/// What a joined process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromGuest {
    /// A question that is to be answered under its number.
    Ask(u64, Ask),
    /// The handlers of these attempts, which earlier owners had dispatched, still act in it. Before all
    /// else, where it had joined one.
    Acting(Vec<AttemptKey>),
    /// The handler of an attempt has gone.
    Finished(AttemptKey),
    /// Tokens of an attempt so far, input and output.
    Progress(AttemptKey, (u64, u64)),
}

/// What a joined process asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Decide this.
    Submit(Arc<Command>, Asked),
    /// Read this.
    Read(Read),
    /// Look this up.
    Peek(Peek),
    /// Dispatch nothing more to me.
    Leave,
}

/// What an owner says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromOwner {
    /// The answer to a question, and what may be drawn of a session's block since.
    Answer(u64, Answer, Option<Room>),
    /// Run this attempt.
    Order(Box<AttemptOrder>),
    /// Ask your agent what became of this step.
    Probe(Box<ProbeOrder>),
    /// This attempt or session is to stop.
    Cancel(Token),
    /// A session has to ask for every call.
    Recall(RunId),
    /// These runs have moved.
    Moved(Vec<RunId>),
    /// So many notices were left out.
    Missed(u64),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To a command.
    Told(Told),
    /// To a read.
    Read(Result<ReadAnswer, Error>),
    /// To a peek.
    Peeked(Peeked),
    /// It is done.
    Done,
}
