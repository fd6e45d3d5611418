//! How the process exits.

use std::process::ExitCode;

/// How a command ended, and with it the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// The answer is no: a run failed, a log was tampered with, a thing does not exist: 1.
    Negative,
    /// The store or another file cannot be opened: 3. (2 is left to `verify`: not verifiable.)
    CannotOpen,
    /// The command line is wrong: 64.
    Usage,
    /// Somebody ended it before it was done: 130, as a shell tells of a signal.
    Interrupted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Negative => 1,
            Self::CannotOpen => 3,
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
