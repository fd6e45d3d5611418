//! Acts: the tool calls of a run that cannot be undone, so that none of them is made twice.
//!
//! Kept beside the journals, since a step that completes has none any more.

use super::{Call, CallKind, CallState, Run};
use crate::id::{Digest, Opaque, StepKey};

/// A tool with its parameters.
fn act(tool: &Opaque, params: Digest) -> Digest {
    Digest::of(&[tool.as_str().as_bytes(), params.as_bytes()])
}

impl Run {
    /// A tool call was made, or may have been: one that cannot be undone is remembered.
    pub(super) fn note_act(&mut self, step: &StepKey, ordinal: u32) {
        let call = self.step(step).and_then(|step| step.calls.get(&ordinal));
        let lasting = call.filter(|call| call.risk.is_some_and(|risk| !risk.is_repeatable()));
        let made = lasting.and_then(|call| Some(act(call.tool.as_ref()?, call.request)));
        self.acts.extend(made);
    }

    /// A step ends with calls out that cannot be undone: somebody said that it happened, or gave up to
    /// find out. Either way they are not made again at another place.
    pub(super) fn note_acts_out(&mut self, step: &StepKey) {
        let calls = self.step(step).map(|step| step.calls.iter());
        let out = |(_, call): &(&u32, &Call)| matches!(call.state, CallState::Open { .. });
        let out: Vec<u32> = calls
            .into_iter()
            .flatten()
            .filter(out)
            .map(|(ordinal, _)| *ordinal)
            .collect();
        for ordinal in out {
            self.note_act(step, ordinal);
        }
    }

    /// Whether a tool call with these parameters was answered in this run, or is out at another place
    /// than this one. What is done again at the same place is one call.
    pub(crate) fn has_or_made(
        &self,
        tool: &Opaque,
        params: Digest,
        own: Option<(&StepKey, u32)>,
    ) -> bool {
        let same = |call: &Call| {
            let open = matches!(call.state, CallState::Open { .. });
            let tool = call.kind == CallKind::Tool && call.tool.as_ref() == Some(tool);
            open && tool && call.request == params
        };
        let mut steps = self.steps.iter();
        let out = steps.any(|(key, one)| {
            let mut calls = one.calls.iter();
            calls.any(|(at, call)| Some((key, *at)) != own && same(call))
        });
        out || self.acts.contains(&act(tool, params))
    }
}
