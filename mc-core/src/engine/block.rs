//! A session's block in the hand of a joined process: calls inside it go out without asking.
//!
//! The block is a hold that the owner has made durable. It tells with each of its answers what no
//! call that it knows of has drawn; what was drawn here and not heard of there yet is taken off, and
//! while the owner is asked for a call, which may take of the block, nothing is drawn. So this side
//! never has more than the owner holds. What is *not* here: how a block grows, which is
//! asked for like any call (`sequencer::decide::call_reserve`).

use std::collections::{BTreeMap, BTreeSet};

use super::port::{About, OwnerTerms, Room};
use super::sync::{Mutex, lock};
use crate::budget::Amount;
use crate::error::Result;
use crate::id::Digest;
use crate::policy::Mode;
use crate::pricing::PriceTable;
use crate::sequencer::ReserveCall;
use crate::sequencer::decide::call_draw::worst_case;
use crate::time::Timestamp;

/// What may be drawn of a session's block.
#[derive(Debug, Default)]
pub(super) struct Block {
    drawn: Mutex<Drawn>,
}

impl Block {
    /// Takes an amount for a call and tells the owner so, before anything that it is asked for later;
    /// false where the block has not that much left. `tell` does not wait.
    pub(super) fn draw(
        &self,
        (ordinal, amount): (u32, Amount),
        prices: Digest,
        tell: impl FnOnce(),
    ) -> bool {
        let mut drawn = lock(&self.drawn);
        let fits = drawn.prices == Some(prices) && drawn.draw(ordinal, amount);
        if fits {
            tell();
        }
        drop(drawn);
        fits
    }

    /// The owner is asked for a call, which may take what is left: nothing is drawn until it has
    /// answered. What was drawn before has been told before.
    pub(super) fn ask(&self, ordinal: u32) {
        lock(&self.drawn).asked.insert(ordinal);
    }

    /// The owner answered.
    pub(super) fn told(&self, room: &Room) {
        lock(&self.drawn).told(room);
    }

    /// Nothing more may be drawn.
    pub(super) fn shut(&self) {
        lock(&self.drawn).free = Amount::ZERO;
    }
}

#[derive(Debug, Default)]
struct Drawn {
    /// What the owner said last.
    free: Amount,
    /// The prices that it had in force then.
    prices: Option<Digest>,
    /// What was drawn since, by call, and the owner has not answered to.
    unheard: BTreeMap<u32, Amount>,
    /// Calls that the owner was asked for and has not answered to.
    asked: BTreeSet<u32>,
}

impl Drawn {
    fn draw(&mut self, ordinal: u32, amount: Amount) -> bool {
        if !self.asked.is_empty() {
            return false;
        }
        let unheard = self.unheard.values();
        let out = unheard.fold(Amount::ZERO, |sum, one| sum.saturating_add(one));
        let fits = amount.saturating_add(&out).fits_in(&self.free);
        if fits {
            self.unheard.insert(ordinal, amount);
        }
        fits
    }

    fn told(&mut self, room: &Room) {
        self.free = room.free;
        self.prices = Some(room.price_version);
        match room.about {
            Some(About::Drawn(ordinal)) => drop(self.unheard.remove(&ordinal)),
            Some(About::Asked(ordinal)) => drop(self.asked.remove(&ordinal)),
            None => {}
        }
    }
}

/// The owner's prices, to bound calls by.
#[derive(Debug)]
pub(super) struct OwnersPrices {
    table: PriceTable,
    terms: OwnerTerms,
}

impl OwnersPrices {
    /// # Errors
    /// `InvalidInput` where the rows are no table.
    pub(super) fn of(terms: &OwnerTerms) -> Result<Self> {
        let mut terms = terms.clone();
        let rows = std::mem::take(&mut terms.prices);
        let table = PriceTable::of_rows(terms.price_label.clone(), rows)?;
        Ok(Self { table, terms })
    }

    /// The version of the owner's prices that are known here.
    pub(super) const fn version(&self) -> Digest {
        self.table.version()
    }

    /// The most that a call can cost, and the most output tokens to ask for; none where the owner has
    /// to be asked, because it would deny the call or has something to write about it.
    pub(super) fn bound(&self, call: &ReserveCall, at: Timestamp) -> Option<(Amount, u64)> {
        let unknown = &self.terms.unknown_models;
        let quote = self.table.quote(&call.model, at, unknown)?;
        let age = self.terms.price_age;
        if call.agent.is_some() || age.is_some_and(|age| age.judge(&quote, at) != Mode::Off) {
            return None;
        }
        worst_case(&quote, call).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;

    fn calls(calls: u64) -> Amount {
        Amount {
            calls,
            ..Amount::ZERO
        }
    }

    fn told(block: &mut Drawn, free: u64, about: Option<About>) {
        block.told(&Room {
            session: RunId::ZERO,
            free: calls(free),
            price_version: Digest::ZERO,
            about,
        });
    }

    #[test]
    fn no_more_is_drawn_than_the_owner_holds() {
        let mut block = Drawn::default();
        assert!(!block.draw(0, calls(1)));
        told(&mut block, 2, None);
        assert!(block.draw(0, calls(1)) && block.draw(1, calls(1)));
        assert!(!block.draw(2, calls(1)));
    }

    #[test]
    fn an_answer_from_before_a_draw_does_not_give_it_back() {
        let mut block = Drawn::default();
        told(&mut block, 2, None);
        assert!(block.draw(0, calls(2)));
        // The owner said so before it heard of the draw.
        told(&mut block, 2, None);
        assert!(!block.draw(1, calls(1)));
        told(&mut block, 0, Some(About::Drawn(0)));
        assert!(!block.draw(1, calls(1)));
        // The call was settled, and its rest came back.
        told(&mut block, 1, None);
        assert!(block.draw(1, calls(1)));
    }

    #[test]
    fn nothing_is_drawn_while_the_owner_is_asked() {
        let mut block = Drawn::default();
        told(&mut block, 2, None);
        block.asked.extend([0, 1]);
        assert!(!block.draw(2, calls(1)));
        told(&mut block, 2, Some(About::Asked(0)));
        assert!(!block.draw(2, calls(1)));
        told(&mut block, 1, Some(About::Asked(1)));
        assert!(block.draw(2, calls(1)) && !block.draw(3, calls(1)));
    }
}
