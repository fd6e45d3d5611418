//! Room: what a joined process may draw of its session's block without asking.
//!
//! A block is an ordinary hold of the session's attempt. What is lent is not written: when the owner
//! dies, every open hold is in doubt whole anyway.

use super::core::Sequencer;
use super::decide;
use super::token::Token;
use crate::budget::{Amount, Hold};
use crate::id::RunId;
use crate::resilience::Admits;
use crate::run::HoldKey;

impl Sequencer {
    /// A joined process has the block of this session in hand, and may draw on it at any time.
    pub fn lend(&mut self, session: RunId) {
        self.workspace.lent.insert(session);
    }

    /// The session's block is no longer in another's hand.
    pub fn take_back(&mut self, session: RunId) {
        self.workspace.lent.remove(&session);
    }

    /// What no call has drawn of a lent block that is on disk; nothing while a breaker is open or a
    /// policy has rules or rates for calls, or a word on models without a price, or a threshold that was
    /// reached has something to say, because then every call has to be asked for.
    pub fn room(&self, token: &Token) -> Amount {
        let view = self.view();
        let policy = &self.workspace.policy;
        let rules = !policy.guardrails().is_empty() || !policy.rates().is_empty();
        let lent = !rules
            && policy.unknown_models().is_none()
            && self.workspace.lent.contains(&token.run_id);
        let Some((resident, step)) = view.live(token).filter(|_| lent) else {
            return Amount::ZERO;
        };
        if decide::halt::in_force(&view, &resident.run, step, None).is_some() {
            return Amount::ZERO;
        }
        // Of what a threshold says every call has to be told.
        let lasting = self.workspace.has_lasting_thresholds();
        let agent = step.agent.as_ref().filter(|_| lasting);
        let path = agent.map(|agent| resident.run.path(&token.step, agent));
        let standing = path.map(|path| self.workspace.standing(&path));
        if standing.is_some_and(|standing| standing != (None, None)) {
            return Amount::ZERO;
        }
        let key = HoldKey::escrow(token.step.clone(), token.attempt);
        let durable = |seq: &u64| *seq < self.durable;
        let settings = &self.workspace.settings.breaker;
        let circuits = &self.workspace.shared.circuits;
        let closed = circuits
            .all()
            .all(|one| one.admits(settings) == Admits::Yes);
        if !closed || !resident.hold_seq.get(&key).is_none_or(durable) {
            return Amount::ZERO;
        }
        resident
            .run
            .holds
            .get(&key)
            .map_or(Amount::ZERO, Hold::free)
    }
}
