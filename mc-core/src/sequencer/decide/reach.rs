//! Reach: the run that a rule about runs counts, and what everything nested in it comes to.
//!
//! A rule that concerns a run counts what is nested in it too. Of the run that asks and those around it,
//! the outermost that the rule concerns has the highest count, so it alone is asked.

use super::View;
use crate::budget::{AccountId, Amount, Books as _};
use crate::id::{Digest, Opaque, StepKey};
use crate::policy::guard::{Guardrail, Who};
use crate::sequencer::resident::Resident;

/// A run with everything that is nested in it and may still move.
pub(super) struct Reach<'a> {
    view: &'a View<'a>,
    outermost: &'a Resident,
    all: Vec<&'a Resident>,
}

impl<'a> Reach<'a> {
    /// What a rule counts for one who asks; none where it concerns neither its run nor any around it.
    pub(super) fn of(
        view: &'a View<'a>,
        asks: &'a Resident,
        (rail, who): (&Guardrail, &Who<'_>),
    ) -> Option<Self> {
        let around = asks.run.created.nested_in.iter().rev();
        let around = around.filter_map(|place| view.workspace.runs.get(&place.run));
        let outermost = around.chain([asks]).find(|one| {
            rail.scope.holds(&Who {
                workflow: one.run.workflow().map(|(name, _)| name),
                ..*who
            })
        })?;
        let mut all = Vec::new();
        let mut next = vec![outermost];
        while let Some(one) = next.pop() {
            let nested = one.run.unsealed();
            next.extend(nested.filter_map(|id| {
                let own = (id == asks.run.run_id).then_some(asks);
                own.or_else(|| view.workspace.runs.get(&id))
            }));
            all.push(one);
        }
        Some(Self {
            view,
            outermost,
            all,
        })
    }

    /// What is gone, and what open calls have drawn of what is held.
    pub(super) fn used(&self) -> Amount {
        let books = self.view.books(self.outermost);
        let account = books.account(&AccountId::Run(self.outermost.run.run_id));
        let gone = account.map_or(Amount::ZERO, |account| {
            account.spent().saturating_add(account.in_doubt())
        });
        let draws = self.all.iter().map(|one| drawn(one, |_| true));
        draws.fold(gone, |sum, one| sum.saturating_add(&one))
    }

    /// How often a tool was called.
    pub(super) fn uses(&self, tool: &Opaque) -> u64 {
        let all = self.all.iter();
        let uses = all.filter_map(|one| one.run.tool_uses.get(tool));
        uses.fold(0, |sum, one| sum.saturating_add(*one))
    }

    /// Whether a tool call that cannot be undone was made with these parameters, or is out, at another
    /// place than this one.
    pub(super) fn has_or_made(
        &self,
        (tool, params): (&Opaque, Digest),
        (asks, own): (&Resident, (&StepKey, u32)),
    ) -> bool {
        self.all.iter().any(|one| {
            let same = one.run.run_id == asks.run.run_id;
            one.run.has_or_made(tool, params, same.then_some(own))
        })
    }
}

/// What open calls of steps have drawn of what is held for these.
pub(super) fn drawn(resident: &Resident, counts: impl Fn(&StepKey) -> bool) -> Amount {
    let holds = resident.run.holds.iter();
    let open = holds.filter(|(key, hold)| counts(&key.step) && !hold.is_in_doubt());
    let drawn = open.flat_map(|(_, hold)| hold.draws().values());
    drawn.fold(Amount::ZERO, |sum, one| sum.saturating_add(one))
}
