//! What an error tells the person at the command line: what happened, where, and what to do next.

use std::io;
use std::path::Path;

use mc_core::error::{Detail, Error, ErrorKind};
use serde_json::json;

use crate::console::Console;
use crate::exit::Exit;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Error,
    next: Option<String>,
    silent: bool,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(error: Error) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// A store that cannot be opened; another owner is named.
    pub(crate) fn store(error: Error, path: &Path) -> Self {
        let failure = match error.detail() {
            Some(Detail::AlreadyOpen { pid }) => return Self::taken(*pid, path),
            Some(Detail::ReadOnly) => {
                let next = format!(
                    "let this user write to {} and its directory",
                    path.display()
                );
                Self::new(Exit::CannotOpen, error).with_next(next)
            }
            _ => Self::new(Exit::CannotOpen, error),
        };
        if failure.error.kind() != ErrorKind::NotFound {
            return failure;
        }
        failure.with_next(
            "name the store with --db FILE or MISSION_CONTROL_DB; `mission-control run` makes one",
        )
    }

    fn taken(pid: Option<u32>, path: &Path) -> Self {
        let owner = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
        let message = format!("{} is open in {owner}", path.display());
        let error =
            Error::new(ErrorKind::Unavailable, message).with_detail(Detail::AlreadyOpen { pid });
        let next = format!("stop {owner}, or ask the program that runs there");
        Self::new(Exit::CannotOpen, error).with_next(next)
    }

    /// A file other than the store that cannot be read or written.
    pub(crate) fn file(error: io::Error, path: &Path) -> Self {
        let message = format!("{}: {error}", path.display());
        let missing = error.kind() == io::ErrorKind::NotFound;
        let kind = if missing {
            ErrorKind::NotFound
        } else {
            ErrorKind::Unavailable
        };
        Self::new(
            Exit::CannotOpen,
            Error::new(kind, message).with_source(error),
        )
    }

    /// A file whose content is refused.
    pub(crate) fn content(error: Error, path: &Path) -> Self {
        let next = format!("mend {} and try again", path.display());
        Self::new(Exit::Negative, error.with_context("file", path.display())).with_next(next)
    }

    /// The process cannot work at all.
    pub(crate) fn no_runtime(error: &io::Error) -> Self {
        let message = format!("no runtime: {error}");
        Self::new(
            Exit::CannotOpen,
            Error::new(ErrorKind::Unavailable, message),
        )
    }

    fn new(exit: Exit, error: Error) -> Self {
        Self {
            exit,
            error,
            next: None,
            silent: false,
        }
    }

    /// Says what to do next.
    pub(crate) fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Writes it down and gives the exit.
    pub(crate) fn report(&self, console: &mut Console<'_>, json: bool) -> Exit {
        if !self.silent {
            let text = if json { self.as_json() } else { self.as_text() };
            // Nobody is left to tell if this fails.
            drop(writeln!(console.err, "{text}"));
        }
        self.exit
    }

    fn as_json(&self) -> String {
        let error = &self.error;
        let next = self.next.as_deref().unwrap_or_else(|| advice(error.kind()));
        json!({"error": {
            "code": error.code(), "message": error.message(), "next": next,
            "detail": error.detail().and_then(|detail| serde_json::to_value(detail).ok()),
        }})
        .to_string()
    }

    fn as_text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        for line in details(&self.error) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
        let next = self
            .next
            .as_deref()
            .unwrap_or_else(|| advice(self.error.kind()));
        text.push_str("\nnext: ");
        text.push_str(next);
        text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::Negative, error)
    }
}

impl From<io::Error> for Failure {
    /// The results cannot be written. Who closed the pipe wants no more of them, and no error.
    fn from(error: io::Error) -> Self {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        let message = format!("the results cannot be written: {error}");
        Self {
            exit: if closed { Exit::Done } else { Exit::CannotOpen },
            error: Error::new(ErrorKind::Unavailable, message),
            next: None,
            silent: closed,
        }
    }
}

/// Every place that an error names beyond its message.
fn details(error: &Error) -> Vec<String> {
    match error.detail() {
        Some(Detail::Workflow(problems)) => problems.iter().map(ToString::to_string).collect(),
        Some(Detail::Violations(all) | Detail::InvalidOutput(all)) if all.len() > 1 => all
            .iter()
            .map(|violation| format!("{}: {}", violation.path, violation.rule))
            .collect(),
        Some(Detail::Accounts(accounts)) => accounts.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// What to do about a kind of error that has no better advice.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput => "change the value as told; `--help` shows an example",
        ErrorKind::InvalidWorkflow => "mend every problem that is listed; see docs/workflows.md",
        ErrorKind::NotFound => "see what there is: `mission-control runs`",
        ErrorKind::InvalidTransition => "look at its state first: `mission-control show RUN`",
        ErrorKind::Conflict => "read again and decide again",
        ErrorKind::PolicyDenied => "change the request or the policy",
        ErrorKind::BudgetExceeded => "ask for less, or give more with --budget USD",
        ErrorKind::Unavailable => "mend what the message names, then try again",
        ErrorKind::Corrupt => "keep the file, run `mission-control verify`, restore a backup",
        ErrorKind::Timeout | ErrorKind::RateLimited => "try again later",
        ErrorKind::ApprovalRequired | ErrorKind::ApprovalInvalid => "a person has to approve it",
        ErrorKind::AgentFailed => "see the agent's message",
        ErrorKind::Cancelled => "nothing: it was ended on purpose",
        ErrorKind::AlreadyExists => "choose another name, or use what there is",
        // The enum may grow; what it grows by has advice in its own message.
        ErrorKind::Internal | _ => "report it with the message",
    }
}
