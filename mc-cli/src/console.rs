//! Where a command writes: results, errors, and whether a person watches.

use std::fmt;
use std::io::{self, BufRead, Write};

use serde_json::Value;

use crate::interrupt::Asking;
use crate::text::{clean_json, clean_lines};

/// What is behind the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// A file, a pipe or a caller: one line after the other.
    Plain,
    /// A terminal: progress may be redrawn.
    Terminal,
}

/// What becomes of an interrupt (ctrl-c) while a run is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// Whatever the process does about it: nothing is changed.
    Left,
    /// The first lets the command stop in order, the second ends the process.
    Heard,
}

/// The streams of a command.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Errors.
    pub err: &'a mut dyn Write,
    /// What is behind them.
    pub screen: Screen,
    /// What becomes of an interrupt.
    pub signals: Signals,
    /// Whoever answers questions: the standard input, where that is a terminal; none where nobody is
    /// there.
    pub input: Option<&'a mut dyn BufRead>,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("screen", &self.screen)
            .finish_non_exhaustive()
    }
}

impl Console<'_> {
    /// Writes lines of results.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{}", clean_lines(&text.to_string()))
    }

    /// Asks for a line; none where nobody is there, or nothing more comes.
    pub(crate) fn question(&mut self, text: &str) -> io::Result<Option<String>> {
        let Some(input) = self.input.as_mut() else {
            return Ok(None);
        };
        write!(self.out, "{text}")?;
        self.out.flush()?;
        let asking = Asking::begin();
        let mut line = String::new();
        let read = input.read_line(&mut line)?;
        drop(asking);
        Ok((read > 0).then_some(line))
    }

    /// Writes a value on one line.
    pub(crate) fn json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{}", clean_json(&value.to_string()))
    }
}
