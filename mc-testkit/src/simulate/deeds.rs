//! I4 of what cannot be undone: it went out with a person's word, used up in the same commit, and
//! never again without another.

use std::collections::{BTreeMap, BTreeSet};

use mc_core::event::call::{ModelCallReserved, ToolCallDispatched};
use mc_core::event::step::{DoubtEnd, StepDispatched};
use mc_core::event::{EventKind, PartContent, Record};
use mc_core::id::{Digest, RunId, StepKey};
use mc_core::policy::guard::{Guardrail, OnBreach, Rule};
use mc_core::policy::{Mode, OwnApproval, Policy, RiskTier};
use mc_core::run::{ApprovalState, CallState, Run};
use mc_core::workflow::Step;

/// What the log says of deeds so far.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    policy: Policy,
    /// The intents for which an approval was used up, and by which event.
    used: BTreeMap<(RunId, u32), (Digest, u64)>,
    /// Steps of which the last attempt may have acted, and nobody has said what became of it.
    open: BTreeSet<(RunId, StepKey)>,
}

/// A dispatch with its place.
pub(super) struct Seen<'a> {
    pub(super) record: &'a Record,
    /// The event before it.
    pub(super) before: Option<&'a Record>,
    /// Its run, before it.
    pub(super) run: Option<&'a Run>,
    /// The definition of its step.
    pub(super) step: Option<&'a Step>,
}

impl Deeds {
    /// Looks at an event before it is folded.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other kinds are no deeds and end none"
    )]
    pub(super) fn look(&mut self, kind: &EventKind, seen: &Seen<'_>) -> Result<(), String> {
        let run_id = seen.record.run_id;
        match kind {
            EventKind::ApprovalConsumed(facts) => {
                let place = (facts.effect_key, seen.record.seq);
                if self.used.insert((run_id, facts.number), place).is_some() {
                    return Err(format!("approval {run_id}/{} is used twice", facts.number));
                }
            }
            EventKind::AttemptInterrupted(facts) => self.cut_off(seen, &facts.step),
            EventKind::AttemptAbandoned(facts) => self.cut_off(seen, &facts.step),
            EventKind::StepResolved(facts) if facts.resolution == DoubtEnd::DidNotHappen => {
                self.open.remove(&(run_id, facts.step.clone()));
            }
            EventKind::StepDispatched(facts) => return self.dispatched(facts, seen),
            EventKind::ToolCallDispatched(facts) => return self.called(facts, seen),
            EventKind::ModelCallReserved(facts) => return self.asked(facts, seen),
            _ => {}
        }
        Ok(())
    }

    /// Takes the policy that comes into force.
    pub(super) fn policy(&mut self, record: &Record) -> Result<(), String> {
        let bytes = record.parts.first().and_then(inline);
        let bytes = bytes.ok_or("a policy without its content")?;
        self.policy = Policy::from_canonical(&bytes).map_err(|e| format!("{e:?}"))?;
        Ok(())
    }

    fn cut_off(&mut self, seen: &Seen<'_>, key: &StepKey) {
        let step = seen.run.and_then(|run| run.step(key));
        if step.is_some_and(mc_core::run::Step::may_have_acted) {
            self.open.insert((seen.record.run_id, key.clone()));
        }
    }

    fn asks(&self, own: Option<&OwnApproval>, risk: RiskTier) -> bool {
        self.policy.approvals().asks(own, risk)
    }

    fn dispatched(&self, facts: &StepDispatched, seen: &Seen<'_>) -> Result<(), String> {
        let place = (seen.record.run_id, facts.step.clone());
        if self.open.contains(&place) {
            return Err(format!("`{}` is done again without a word", facts.step));
        }
        let Some(step) = seen.step else {
            return Ok(());
        };
        if facts.risk != step.tier(&self.policy) {
            return Err(format!("`{}` went out with another tier", facts.step));
        }
        if !self.asks(step.approval.as_ref(), facts.risk) {
            return Ok(());
        }
        let number = facts.approval;
        let number = number.ok_or_else(|| format!("`{}` went out unasked", facts.step))?;
        let approval = seen.run.and_then(|run| run.approvals.get(&number));
        let approval = approval.ok_or("an approval that does not exist")?;
        let input = seen.record.parts.first().and_then(inline);
        let shown = input.is_none_or(|bytes| Digest::of(&[&bytes]) == approval.params_digest);
        let bound = approval.step == facts.step
            && approval.ordinal.is_none()
            && approval.risk >= facts.risk
            && facts.hold.fits_in(&approval.maximum)
            && shown;
        let used = self.used.get(&(seen.record.run_id, number));
        let for_it = used.is_some_and(|(key, _)| *key == facts.effect_key);
        let current = seen.run.and_then(|run| run.step(&facts.step)?.approval) == Some(number);
        let now = self.used_just_before(seen, number);
        let before = approval.state == ApprovalState::Consumed && facts.attempt > 1;
        if bound && for_it && current && (now || before) {
            Ok(())
        } else {
            Err(format!(
                "`{}` went out with an approval that does not cover it",
                facts.step
            ))
        }
    }

    fn called(&self, facts: &ToolCallDispatched, seen: &Seen<'_>) -> Result<(), String> {
        let own = seen.step.and_then(|step| step.approval.as_ref());
        if facts.risk < self.policy.tier_of(facts.tool.as_str()) {
            return Err(format!("`{}` was called with a lower tier", facts.tool));
        }
        if !self.asks(own, facts.risk) {
            return Ok(());
        }
        let covered = facts.approval.is_some_and(|number| {
            let approval = seen.run.and_then(|run| run.approvals.get(&number));
            let bound = approval.is_some_and(|one| {
                one.params_digest == facts.params_digest
                    && one.ordinal == Some(facts.ordinal)
                    && one.tool.as_ref() == Some(&facts.tool)
                    && one.step == facts.step
            });
            bound && self.used_just_before(seen, number)
        });
        if covered {
            Ok(())
        } else {
            Err(format!("`{}` was called without its approval", facts.tool))
        }
    }

    /// A model call of which a rule asks goes out with its approval, which covers what was shown.
    fn asked(&self, facts: &ModelCallReserved, seen: &Seen<'_>) -> Result<(), String> {
        let asks = |rail: &Guardrail| matches!(&rail.rule, Rule::Models(names) if names.denies(|one| one.matches(&facts.model)));
        let obeyed = |rail: &&Guardrail| {
            rail.on_breach == OnBreach::NeedsApproval && rail.mode == Mode::Enforce
        };
        let Some(number) = facts.approval else {
            let mut rails = self.policy.guardrails().iter().filter(obeyed);
            return match rails.find(|rail| asks(rail)) {
                Some(rail) => Err(format!(
                    "`{}` was called unasked by `{}`",
                    facts.model, rail.id
                )),
                None => Ok(()),
            };
        };
        let approval = seen.run.and_then(|run| run.approvals.get(&number));
        let approval = approval.ok_or("an approval that does not exist")?;
        let bound = approval.params_digest == facts.request
            && approval.ordinal == Some(facts.ordinal)
            && approval.model.as_ref() == Some(&facts.model)
            && approval.step == facts.step
            && facts.amount.fits_in(&approval.maximum);
        let call = seen.run.and_then(|run| run.step(&facts.step));
        let call = call.and_then(|step| step.calls.get(&facts.ordinal));
        let unbilled = call.is_some_and(|call| {
            let again = matches!(
                call.state,
                CallState::Throttled { .. } | CallState::Released
            );
            again && call.request == facts.request
        });
        let again = unbilled && approval.state == ApprovalState::Consumed;
        if bound && (again || self.used_just_before(seen, number)) {
            Ok(())
        } else {
            Err(format!(
                "`{}` was called with an approval that does not cover it",
                facts.model
            ))
        }
    }

    /// Whether an approval was used up just before this event, in the same commit: at most what an
    /// observed limit says stands between.
    fn used_just_before(&self, seen: &Seen<'_>, number: u32) -> bool {
        let used = self.used.get(&(seen.record.run_id, number));
        let Some(before) = seen.before.filter(|one| one.run_id == seen.record.run_id) else {
            return false;
        };
        let between = u64::from(&*before.kind == "budget.judged");
        let near = used.is_some_and(|(_, seq)| seq + between == before.seq);
        near && before.cmd_id == seen.record.cmd_id
    }
}

fn inline(part: &mc_core::event::Part) -> Option<std::sync::Arc<[u8]>> {
    match &part.content {
        PartContent::Inline(bytes) => Some(std::sync::Arc::clone(bytes)),
        PartContent::Blob(_) | PartContent::Erased(_) => None,
    }
}
