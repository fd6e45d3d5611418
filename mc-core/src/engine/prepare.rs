//! What is found out of a large output before its turn, so that nobody waits for it behind the mutex.
//!
//! What is *not* here: what is found out (`sequencer::Output`).

use super::inner::{Inner, lock};
use crate::sequencer::{AttemptRequest, Output, Request, Token};

/// Smaller ones cost less than looking for their definition.
const LARGE: usize = 16 * 1_024;

impl Inner {
    /// Writes an output, and holds it against its schema if it is large.
    pub(super) fn prepare(&self, request: &Request) {
        if let Request::Attempt(token, AttemptRequest::Complete(output)) = request
            && output.bytes().len() > LARGE
        {
            self.judge(token, output);
        }
    }

    fn judge(&self, token: &Token, output: &Output) {
        let workflow = {
            let live = lock(&self.live);
            let runs = live.sequencer.as_ref().map(|one| &one.workspace().runs);
            let resident = runs.and_then(|runs| runs.get(&token.run_id));
            resident.and_then(|resident| resident.workflow.clone())
        };
        if let Some(workflow) = workflow {
            output.judge(&workflow, token.step.name());
        }
    }
}
