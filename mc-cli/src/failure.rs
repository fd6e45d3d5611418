//! What an error tells the person at the command line: what happened, where, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use mc_core::error::{ApprovalFault, Detail, Error, ErrorKind, Violation};
use serde_json::json;

use crate::console::Console;
use crate::exit::Exit;
use crate::text::{clean, clean_json};

/// What to do where the message says all there is to say.
const MEND: &str = "mend what the message names, then try again";

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Error,
    next: Option<String>,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(error: Error) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// A store that cannot be opened; another owner is named.
    pub(crate) fn store(error: Error, path: &Path) -> Self {
        let file = path.display();
        let next = match (error.detail(), error.kind()) {
            (Some(Detail::AlreadyOpen { pid }), _) => return Self::taken(*pid, path),
            (Some(Detail::ReadOnly), _) => {
                format!("let this user write to {file} and its directory")
            }
            (Some(Detail::ForeignFile), _) => {
                format!("{file} is left as it is; name a store with --db FILE")
            }
            (Some(Detail::NewerFormat { .. }), _) => {
                format!("read {file} with the version of mission-control that wrote it")
            }
            (Some(Detail::StorageFull), _) => "make room on the disk, then try again".to_owned(),
            (_, ErrorKind::InvalidInput) => {
                "make the directory first, or name another store with --db FILE".to_owned()
            }
            (_, ErrorKind::NotFound) => {
                "name the store with --db FILE or MISSION_CONTROL_DB; `mission-control run` makes one"
                    .to_owned()
            }
            (_, ErrorKind::Corrupt) => format!("keep {file} as it is, and restore a backup"),
            _ => return Self::new(Exit::CannotOpen, error),
        };
        Self::new(Exit::CannotOpen, error).with_next(next)
    }

    fn taken(pid: Option<u32>, path: &Path) -> Self {
        let owner = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
        let message = format!("{} is open in {owner}", path.display());
        let error =
            Error::new(ErrorKind::Unavailable, message).with_detail(Detail::AlreadyOpen { pid });
        let next = format!("stop {owner}, or ask the program that runs there");
        Self::new(Exit::CannotOpen, error).with_next(next)
    }

    /// A file other than the store that cannot be read.
    pub(crate) fn file(error: &io::Error, path: &Path) -> Self {
        let file = path.display();
        let is = |kind| error.kind() == kind;
        let next = if is(io::ErrorKind::NotFound) {
            format!("check the path of {file}")
        } else if is(io::ErrorKind::PermissionDenied) {
            format!("let this user read {file}")
        } else if is(io::ErrorKind::IsADirectory) {
            format!("name a file instead of {file}")
        } else {
            MEND.to_owned()
        };
        Self::io(error, path).with_next(next)
    }

    /// Several files that cannot be read, or one.
    pub(crate) fn files(mut faults: Vec<(PathBuf, io::Error)>) -> Self {
        if faults.len() == 1
            && let Some((path, error)) = faults.pop()
        {
            return Self::file(&error, &path);
        }
        let message = format!("{} files cannot be read", faults.len());
        let all = faults.into_iter();
        let all = all.map(|(path, error)| Violation::new(path.display().to_string(), error));
        let error = Error::new(ErrorKind::Unavailable, message)
            .with_detail(Detail::Violations(all.collect()));
        Self::new(Exit::CannotOpen, error).with_next("check the paths of these files")
    }

    /// A new file that cannot be written.
    pub(crate) fn output(error: &io::Error, path: &Path) -> Self {
        let file = path.display();
        let is = |kind| error.kind() == kind;
        let next = if is(io::ErrorKind::AlreadyExists) {
            format!("{file} is left as it is; name a file that is not there yet, or move it away")
        } else if is(io::ErrorKind::NotFound) {
            format!("make the directory of {file} first")
        } else if is(io::ErrorKind::PermissionDenied) {
            format!("let this user write to the directory of {file}")
        } else {
            MEND.to_owned()
        };
        Self::io(error, path).with_next(next)
    }

    fn io(error: &io::Error, path: &Path) -> Self {
        let said = if error.kind() == io::ErrorKind::AlreadyExists {
            "there is something already".to_owned()
        } else {
            error.to_string()
        };
        let message = format!("{}: {said}", path.display());
        let kind = if error.kind() == io::ErrorKind::NotFound {
            ErrorKind::NotFound
        } else if error.kind() == io::ErrorKind::AlreadyExists {
            ErrorKind::AlreadyExists
        } else {
            ErrorKind::Unavailable
        };
        let error = Error::new(kind, message);
        let error = if kind == ErrorKind::AlreadyExists {
            let (what, id) = ("file", path.display().to_string());
            error.with_detail(Detail::Thing { what, id })
        } else {
            error
        };
        Self::new(Exit::CannotOpen, error)
    }

    /// A file of recorded runs: it cannot be read, or its content is refused.
    pub(crate) fn recorded(error: Error, path: &Path) -> Self {
        let file = path.display();
        let (exit, next) = if error.kind() == ErrorKind::InvalidInput {
            let next = format!("mend {file}; docs/recorded-runs.md has its form");
            (Exit::Negative, next)
        } else if error.kind() == ErrorKind::NotFound {
            (Exit::CannotOpen, format!("check the path of {file}"))
        } else {
            let next = format!("give a whole file of recorded runs instead of {file}");
            (Exit::CannotOpen, next)
        };
        Self::new(exit, of_file(error, path)).with_next(next)
    }

    /// A file that is no export.
    pub(crate) fn no_export(error: Error, path: &Path) -> Self {
        let message = format!("{} is no export: its first line is not one", path.display());
        let refused = Error::new(ErrorKind::Corrupt, message).with_source(error);
        Self::new(Exit::CannotOpen, refused)
            .with_next("give a file that `mission-control export` wrote")
    }

    /// A file whose content is refused.
    pub(crate) fn content(error: Error, path: &Path) -> Self {
        let next = format!("mend {} and try again", path.display());
        Self::new(Exit::Negative, of_file(error, path)).with_next(next)
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
        }
    }

    /// Says what to do next.
    pub(crate) fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// What is wrong, without what to do about it.
    pub(crate) fn into_error(self) -> Error {
        self.error
    }

    /// Writes it down and gives the exit.
    pub(crate) fn report(&self, console: &mut Console<'_>, json: bool) -> Exit {
        let text = if json {
            clean_json(&self.as_json())
        } else {
            self.as_text()
        };
        // Nobody is left to tell if this fails.
        drop(writeln!(console.err, "{text}"));
        self.exit
    }

    fn as_json(&self) -> String {
        let error = &self.error;
        let context: serde_json::Map<String, serde_json::Value> = error
            .context()
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect();
        json!({"error": {
            "code": error.code(), "message": error.message(), "next": self.advice(),
            "context": context, "cause": cause(error),
            "detail": error.detail().and_then(|detail| serde_json::to_value(detail).ok()),
        }})
        .to_string()
    }

    fn as_text(&self) -> String {
        let mut lines = vec![format!("error: {}", self.error)];
        lines.extend(cause(&self.error).map(|cause| format!("  cause: {cause}")));
        let places = details(&self.error).into_iter();
        lines.extend(places.map(|line| format!("  {line}")));
        lines.push(format!("next: {}", self.advice()));
        let lines: Vec<String> = lines.iter().map(|line| clean(line)).collect();
        lines.join("\n")
    }

    fn advice(&self) -> &str {
        let about = || match self.error.detail() {
            Some(Detail::Approval { reason }) => of_approval(*reason),
            _ => advice(self.error.kind()),
        };
        self.next.as_deref().unwrap_or_else(about)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = if error.kind() == ErrorKind::Unavailable {
            Exit::CannotOpen
        } else {
            Exit::Negative
        };
        Self::new(exit, error)
    }
}

impl From<io::Error> for Failure {
    /// The results cannot be written.
    fn from(error: io::Error) -> Self {
        let message = format!("the results cannot be written: {error}");
        Self::new(
            Exit::CannotOpen,
            Error::new(ErrorKind::Unavailable, message),
        )
    }
}

/// The error with the file that it is about, once.
fn of_file(error: Error, path: &Path) -> Error {
    if error.context().iter().any(|(name, _)| *name == "file") {
        error
    } else {
        error.with_context("file", path.display())
    }
}

/// What lies under an error, where its message does not have it already.
fn cause(error: &Error) -> Option<String> {
    let cause = std::error::Error::source(error)?.to_string();
    (!error.message().contains(&cause)).then_some(cause)
}

/// Every place that an error names beyond its message.
fn details(error: &Error) -> Vec<String> {
    match error.detail() {
        Some(Detail::Workflow(problems)) => problems.iter().map(ToString::to_string).collect(),
        Some(Detail::Violations(all) | Detail::InvalidOutput(all)) if all.len() > 1 => all
            .iter()
            .map(|violation| match violation.path.as_str() {
                "" => violation.rule.clone(),
                path => format!("{path}: {}", violation.rule),
            })
            .collect(),
        Some(Detail::Accounts(accounts)) => accounts.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// What to do about a word on an approval that does not count.
const fn of_approval(fault: ApprovalFault) -> &'static str {
    match fault {
        ApprovalFault::FourEyes | ApprovalFault::Requester | ApprovalFault::NotAnOperator => {
            "another operator has to decide it: `--operator NAME`"
        }
        ApprovalFault::ParamsChanged
        | ApprovalFault::PolicyChanged
        | ApprovalFault::OverMaximumCost
        | ApprovalFault::Pending => "see what is asked now: `mission-control approvals`",
        ApprovalFault::Decided
        | ApprovalFault::Used
        | ApprovalFault::Expired
        | ApprovalFault::Revoked
        | ApprovalFault::Rejected
        | ApprovalFault::StepEnded => "nothing: `mission-control approvals --all` shows it",
    }
}

/// What to do about a kind of error that has no better advice.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput => "change the value as told; `--help` shows an example",
        ErrorKind::InvalidWorkflow => "mend every problem that is listed; see docs/workflows.md",
        ErrorKind::NotFound => "see what runs there are: `mission-control runs`",
        ErrorKind::InvalidTransition => "look at its state first: `mission-control show RUN`",
        ErrorKind::Conflict => "read again and decide again",
        ErrorKind::PolicyDenied => "change the request or the policy",
        ErrorKind::BudgetExceeded => "ask for less, or give more with --budget USD",
        ErrorKind::Unavailable => MEND,
        ErrorKind::Corrupt => {
            "keep the file as it is, see where with `mission-control verify`, restore a backup"
        }
        ErrorKind::Timeout | ErrorKind::RateLimited => "try again later",
        ErrorKind::ApprovalRequired | ErrorKind::ApprovalInvalid => "a person has to approve it",
        ErrorKind::AgentFailed => "see the agent's message",
        ErrorKind::Cancelled => "nothing: it was ended on purpose",
        ErrorKind::AlreadyExists => "choose another name, or use what there is",
        // The enum may grow; what it grows by has advice in its own message.
        ErrorKind::Internal | _ => "report it with the message",
    }
}
