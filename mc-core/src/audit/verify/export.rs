//! Checking an export line by line.
//!
//! The first line says what the export is about; a workspace's export ends with the tree, a run's
//! with the run's seal. A line that cannot be read counts as one event. Records are checked in
//! `verify`; files are read by the caller.

use super::{Report, Scope, Verifier};
use crate::audit::export::{Line, Opening, parse_line};
use crate::audit::reason::{Fault, Reason};
use crate::error::{Error, Result};

/// Checks the lines of one export.
#[derive(Debug)]
pub struct ExportVerifier {
    opening: Opening,
    verifier: Verifier,
    ended: bool,
}

impl ExportVerifier {
    /// Begins with the first line, without its line feed.
    ///
    /// # Errors
    /// `Corrupt` with the reason `line` where it is no opening of this format.
    pub fn open(first_line: &[u8]) -> Result<Self> {
        let Line::Opening(opening) = parse_line(first_line)? else {
            return Err(Error::corrupt(Reason::Line.as_str(), None));
        };
        let scope = opening.run.map_or(Scope::Workspace, Scope::Run);
        Ok(Self {
            verifier: Verifier::new(opening.workspace, scope),
            opening,
            ended: false,
        })
    }

    /// What the first line said.
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Takes the next line, without its line feed.
    pub fn line(&mut self, bytes: &[u8]) {
        match parse_line(bytes) {
            Ok(Line::Event(event)) if !self.ended => self.verifier.line(&event),
            Ok(Line::Tree(frontier)) if !self.ended && self.opening.run.is_none() => {
                self.verifier.frontier(&frontier);
                self.ended = true;
            }
            Ok(Line::Event(_) | Line::Tree(_) | Line::Opening(_)) | Err(_) => self.unreadable(),
        }
    }

    fn unreadable(&mut self) {
        let seq = self.verifier.next_seq();
        self.verifier.damaged(Fault::new(seq, Reason::Line));
        self.verifier.skip(seq);
    }

    /// Ends the checks.
    pub fn finish(self) -> Report {
        self.verifier.finish()
    }
}
