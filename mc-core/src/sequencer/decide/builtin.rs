//! Verdicts that need no rule of the policy: each is in the log like those of rules. Only what is denied
//! or asked of a person is told.
//!
//! Their ids begin with `builtin.`, which no rule of a policy can, and never change. The version is that
//! of the policy in force, whose words (tools, unknown models, approvals) most of them go by.

use super::View;
use super::guard::version;
use crate::event::call::GuardrailJudged;
use crate::id::{Digest, RunId, StepKey};
use crate::policy::Mode;
use crate::policy::guard::{Checkpoint, Verdict};
use crate::sequencer::decision::{NewEvent, NewPart};
use crate::sequencer::token::Token;

/// What is judged, and by which rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Builtin<'a> {
    /// The checkpoint.
    pub(super) at: Checkpoint,
    /// The kind of rule: `unknown_model` for `builtin.unknown_model`.
    pub(super) code: &'a str,
    /// The hash of what was judged.
    pub(super) inputs: Digest,
    /// Why, in words.
    pub(super) why: &'a str,
    /// What it says.
    pub(super) verdict: Verdict,
}

/// The id of a rule of ours.
pub(super) fn id(code: &str) -> String {
    format!("builtin.{code}")
}

impl Builtin<'_> {
    /// A call of an attempt is denied, or asked of a person.
    pub(super) fn of_call(&self, view: &View<'_>, (token, ordinal): (&Token, u32)) -> NewEvent {
        let facts = self.facts(view, (&token.step, token.attempt, Some(ordinal)));
        self.event(token.run_id, facts)
    }

    /// A step is not sent out: by a rule of ours, or by this one of the policy.
    pub(super) fn of_step(
        &self,
        view: &View<'_>,
        (run, step): (RunId, &StepKey),
        rule: Option<&str>,
    ) -> NewEvent {
        let mut facts = self.facts(view, (step, 0, None));
        if let Some(rule) = rule {
            rule.clone_into(&mut facts.rule);
        }
        self.event(run, facts)
    }

    fn facts(
        &self,
        view: &View<'_>,
        (step, attempt, ordinal): (&StepKey, u32, Option<u32>),
    ) -> GuardrailJudged {
        GuardrailJudged {
            step: step.clone(),
            attempt,
            ordinal,
            at: self.at,
            rule: id(self.code),
            policy_version: version(view),
            mode: Mode::Enforce,
            verdict: self.verdict.as_str().to_owned(),
            code: self.code.to_owned(),
            inputs_hash: self.inputs,
        }
    }

    fn event(&self, run: RunId, facts: GuardrailJudged) -> NewEvent {
        NewEvent::new(run, facts).with(NewPart::text(self.why))
    }
}
