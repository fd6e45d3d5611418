//! The queue of requests that wait for room: first in first out in every account.
//!
//! A waiter waits *on* the accounts that refused it, and bars later requests there until it is
//! admitted, so no stream of small requests can starve a large one. Other accounts of its path stay
//! open to others until one of them refuses it too. Two exceptions:
//! - A *stalled* waiter (frozen account, or money in doubt alone in the way) waits for a person. It
//!   keeps its ticket but bars nobody, or one freeze would stop the workspace.
//! - A waiter that holds something may pass earlier ones that could not go before it even if all
//!   others ended: they wait for its holds, so waiting behind them would be a circle.
//!
//! What is *not* here: movements. The sequencer asks [`Queue::judge`], pushes what must wait, and
//! after every movement, admissions included (a parent's hold that grows can shut out its own
//! children), asks [`Queue::next_after`] until it has no more. Read `circle` next.

use std::collections::{BTreeMap, BTreeSet};

use super::admission::{Verdict, check, fits, is_stalled, refusing, strictest};
use super::circle::{Applicant, Order, finishable, kept_by, last_in_circle, staying};
use super::waiting::{Holders, Ticket, Waiter};
use super::{AccountId, Books, Path};

#[derive(Clone, Debug)]
struct Place {
    waiter: Waiter,
    /// The accounts that refused it so far. It only grows, so that room once found in one account
    /// is not lost to others while the next one fills.
    waits_on: Path,
}

/// A waiter whose wait is over. It stays in the queue until it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Who.
    pub ticket: Ticket,
    /// `Fits`: reserve it now, in the same decision. `Exceeded`: it can never fit any more.
    /// `Contended`: only doubt is left in its way, and its step does not say so yet.
    pub verdict: Verdict,
}

/// All requests that wait.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    places: BTreeMap<Ticket, Place>,
    by_account: BTreeMap<AccountId, BTreeSet<Ticket>>,
    /// Those with an owner, who may hold something while they wait.
    owned: BTreeSet<Ticket>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A waiter, by its ticket.
    pub fn waiter(&self, ticket: Ticket) -> Option<&Waiter> {
        self.places.get(&ticket).map(|place| &place.waiter)
    }

    /// The waiters in the order of their tickets.
    pub fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.places.values().map(|place| &place.waiter)
    }

    /// Whether a new request on this path stands behind an earlier waiter.
    pub fn must_wait(&self, books: &dyn Books, path: &Path) -> bool {
        path.iter().any(|id| self.bars(books, id, Ticket::MAX))
    }

    /// Judges a request that is not in the queue: whether it may be reserved at once, must be
    /// pushed, or is refused. Its own and its ancestors' holds count as staying, and a request that
    /// would close a circle is exceeded.
    ///
    /// A request that has room but stands behind others is contended with nothing failing.
    pub fn judge(&self, world: &dyn Holders, waiter: &Waiter) -> Verdict {
        let verdict = check_alone(world, waiter);
        match verdict {
            Verdict::Fits if self.must_wait(world, &waiter.path) => Verdict::Contended {
                failing: Vec::new(),
                only_doubt: false,
            },
            Verdict::Contended { failing, .. } | Verdict::Frozen { failing, .. }
                if self.circle(world, waiter) =>
            {
                let on_exceed = strictest(world, &refusing(world, &waiter.path, &waiter.amount));
                Verdict::Exceeded { failing, on_exceed }
            }
            Verdict::Fits
            | Verdict::Contended { .. }
            | Verdict::Frozen { .. }
            | Verdict::Exceeded { .. } => verdict,
        }
    }

    /// Judges a request whose turn has come: as [`Self::judge`], but nobody behind it stands in its
    /// way. Ask with the ticket that [`Self::next_after`] named, once that is removed.
    pub fn judge_in_turn(&self, world: &dyn Holders, waiter: &Waiter) -> Verdict {
        check_alone(world, waiter)
    }

    /// Whether a request could never be admitted if it waited, because those it would wait for
    /// would wait for it. Only a request whose step holds something can close a circle.
    ///
    /// Waiters that are stuck without it are left out: the next wake refuses one of them.
    pub fn circle(&self, world: &dyn Holders, candidate: &Waiter) -> bool {
        let none = Path::default();
        let candidate = Applicant::new(world, candidate, &none);
        if !candidate.holds_something() {
            return false;
        }
        let ticket = candidate.ticket();
        let mut applicants = self.owned(world);
        applicants.retain(|one| one.ticket() != ticket);
        let able = finishable(world, &applicants, Order::Any);
        applicants.retain(|one| able.contains(&one.ticket()));
        applicants.push(candidate);
        !finishable(world, &applicants, Order::Any).contains(&ticket)
    }

    /// Puts a request into the queue; the same ticket again replaces it.
    ///
    /// Ask [`Self::next_after`] for its path next: it may pass those that wait for its holds.
    pub fn push(&mut self, books: &dyn Books, waiter: Waiter) {
        self.remove(waiter.ticket);
        let ticket = waiter.ticket;
        let behind = self.barred(books, &waiter.path, ticket);
        let mut waits_on = refusing(books, &waiter.path, &waiter.amount).union(&behind);
        if waits_on.is_empty() {
            waits_on = waiter.path.clone();
        }
        if waiter.owner.is_some() {
            self.owned.insert(ticket);
        }
        self.places.insert(
            ticket,
            Place {
                waiter,
                waits_on: Path::default(),
            },
        );
        self.wait_on(ticket, &waits_on);
    }

    /// Takes a request out: it was admitted, refused, or its run ended.
    ///
    /// Ask [`Self::next_after`] for its path next: others may have stood behind it.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let place = self.places.remove(&ticket)?;
        self.owned.remove(&ticket);
        for id in &place.waits_on {
            if let Some(tickets) = self.by_account.get_mut(id) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.by_account.remove(id);
                }
            }
        }
        Some(place.waiter)
    }

    /// The first waiter, of all, whose wait is over.
    pub fn next(&mut self, world: &dyn Holders) -> Option<Wake> {
        let all: Path = self.by_account.keys().cloned().collect();
        self.next_after(world, &all)
    }

    /// The first waiter whose wait is over after something moved in the `touched` accounts.
    ///
    /// The cost grows with the waiters at the head of these accounts and with those that hold
    /// something, not with all waiters. Ask again, with the woken one's path, until it is `None`.
    /// After a freeze, a doubt or a change of limits ask [`Self::next`]: these can stop a waiter
    /// from barring accounts that they do not touch.
    pub fn next_after(&mut self, world: &dyn Holders, touched: &Path) -> Option<Wake> {
        for ticket in self.reached(world, touched) {
            let Some(waiter) = self.waiter(ticket) else {
                continue;
            };
            let barred = self.barred(world, &waiter.path, ticket);
            if barred.is_empty() {
                let verdict = check_alone(world, waiter);
                if is_news(waiter, &verdict) {
                    return Some(Wake { ticket, verdict });
                }
            }
            // Whatever holds it back now must wake it later.
            let refused = refusing(world, &waiter.path, &waiter.amount);
            self.wait_on(ticket, &refused.union(&barred));
        }
        if self.owned.is_empty() {
            return None;
        }
        self.next_to_pass(world)
            .or_else(|| self.next_of_circle(world))
            .or_else(|| self.next_to_tell(world))
    }

    /// The waiters of these accounts up to the first that is not stalled.
    fn reached(&self, books: &dyn Books, touched: &Path) -> BTreeSet<Ticket> {
        let mut reached = BTreeSet::new();
        let mut seen: BTreeSet<&AccountId> = touched.iter().collect();
        let mut accounts: Vec<&AccountId> = touched.iter().collect();
        while let Some(tickets) = accounts.pop().map(|id| self.by_account.get(id)) {
            for ticket in tickets.into_iter().flatten() {
                reached.insert(*ticket);
                let Some(place) = self.places.get(ticket).filter(|one| one.is_stalled(books))
                else {
                    break;
                };
                // It bars nobody any more, in any account: those behind it there may go on.
                accounts.extend(place.waits_on.iter().filter(|id| seen.insert(id)));
            }
        }
        reached
    }

    /// The first holder with room whose every earlier waiter waits for holders behind it.
    fn next_to_pass(&self, world: &dyn Holders) -> Option<Wake> {
        let with_room = |ticket: &&Ticket| {
            self.waiter(**ticket).is_some_and(|one| {
                fits(world, &one.path, &one.amount)
                    && kept_by(world, one)
                        .iter()
                        .any(|kept| !kept.amount.is_zero())
            })
        };
        let candidates: Vec<_> = self.owned.iter().filter(with_room).collect();
        if candidates.is_empty() {
            return None;
        }
        let in_turn = finishable(world, &self.applicants(world), Order::InTurn);
        let passes = |ticket: &&&Ticket| {
            self.places.range(..**ticket).all(|(earlier, place)| {
                !in_turn.contains(earlier)
                    || place.is_stalled(world)
                    || !self
                        .waiter(***ticket)
                        .is_some_and(|one| one.path.shares_with(&place.waits_on))
            })
        };
        let ticket = candidates.iter().find(passes).map(|ticket| **ticket)?;
        Some(Wake {
            ticket,
            verdict: Verdict::Fits,
        })
    }

    /// The one to refuse where money was spent or a limit lowered so that a circle arose later.
    fn next_of_circle(&self, world: &dyn Holders) -> Option<Wake> {
        let ticket = last_in_circle(world, self.owned(world))?;
        let waiter = self.waiter(ticket)?;
        let verdict = match check_alone(world, waiter) {
            Verdict::Contended { failing, .. } | Verdict::Frozen { failing, .. } => {
                let on_exceed = strictest(world, &refusing(world, &waiter.path, &waiter.amount));
                Verdict::Exceeded { failing, on_exceed }
            }
            verdict @ (Verdict::Fits | Verdict::Exceeded { .. }) => verdict,
        };
        Some(Wake { ticket, verdict })
    }

    /// The next one that doubt keeps from ever getting its turn, by itself or by what it does to those
    /// that it waits for, and whose step does not say so yet.
    fn next_to_tell(&self, world: &dyn Holders) -> Option<Wake> {
        let in_doubt = |id: &AccountId| {
            let account = world.account(id);
            account.is_some_and(|account| !account.in_doubt().is_zero())
        };
        let untold = |place: &&Place| {
            let told = |owner| world.is_blocked(owner);
            !place.waiter.owner.as_ref().is_some_and(told) && place.waiter.path.iter().any(in_doubt)
        };
        let owned = self.owned.iter().filter_map(|id| self.places.get(id));
        let untold: Vec<&Place> = owned.filter(untold).collect();
        if untold.is_empty() {
            return None;
        }
        let in_turn = finishable(world, &self.applicants(world), Order::InTurn);
        let mut stuck = untold
            .iter()
            .map(|place| &place.waiter)
            .filter(|waiter| !in_turn.contains(&waiter.ticket));
        stuck.find_map(|waiter| match check_alone(world, waiter) {
            Verdict::Contended { failing, .. } => Some(Wake {
                ticket: waiter.ticket,
                verdict: Verdict::Contended {
                    failing,
                    only_doubt: true,
                },
            }),
            Verdict::Fits | Verdict::Frozen { .. } | Verdict::Exceeded { .. } => None,
        })
    }

    fn applicants(&self, world: &dyn Holders) -> Vec<Applicant<'_>> {
        self.places
            .values()
            .map(|place| Applicant::new(world, &place.waiter, &place.waits_on))
            .collect()
    }

    fn owned(&self, world: &dyn Holders) -> Vec<Applicant<'_>> {
        let places = self
            .owned
            .iter()
            .filter_map(|ticket| self.places.get(ticket));
        places
            .map(|place| Applicant::new(world, &place.waiter, &place.waits_on))
            .collect()
    }

    fn wait_on(&mut self, ticket: Ticket, refused: &Path) {
        let Some(place) = self.places.get_mut(&ticket) else {
            return;
        };
        if refused.iter().all(|id| place.waits_on.contains(id)) {
            return;
        }
        place.waits_on = place.waits_on.union(refused);
        for id in &place.waits_on {
            self.by_account
                .entry(id.clone())
                .or_default()
                .insert(ticket);
        }
    }

    /// The accounts of the path in which an earlier waiter bars it.
    fn barred(&self, books: &dyn Books, path: &Path, before: Ticket) -> Path {
        path.iter()
            .filter(|id| self.bars(books, id, before))
            .cloned()
            .collect()
    }

    /// Whether a waiter with an earlier ticket waits on the account, and for its turn.
    fn bars(&self, books: &dyn Books, id: &AccountId, before: Ticket) -> bool {
        let Some(tickets) = self.by_account.get(id) else {
            return false;
        };
        let mut earlier = tickets
            .range(..before)
            .filter_map(|ticket| self.places.get(ticket));
        earlier.any(|place| !place.is_stalled(books))
    }
}

impl Place {
    fn is_stalled(&self, books: &dyn Books) -> bool {
        is_stalled(books, &self.waiter.path, &self.waiter.amount)
    }
}

/// Whether this verdict ends the wait: for a step that has not gone out, doubt does too.
fn is_news(waiter: &Waiter, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Fits | Verdict::Exceeded { .. } => true,
        Verdict::Contended { only_doubt, .. } => *only_doubt && waiter.owner.is_none(),
        Verdict::Frozen { .. } => false,
    }
}

fn check_alone(world: &dyn Holders, waiter: &Waiter) -> Verdict {
    let kept = kept_by(world, waiter);
    check(
        world,
        &waiter.path,
        &waiter.amount,
        &staying(std::iter::once(&kept)),
    )
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
