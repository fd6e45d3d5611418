//! Which event is the first bad one, once all evidence is in.
//!
//! Some checks name their event by themselves. A tile root, a chain head or an order names several;
//! they are narrowed down by what the other checks say of the same events.

use std::collections::BTreeMap;

use crate::audit::reason::{Fault, Reason};
use crate::id::RunId;

/// An event and its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) run: RunId,
}

/// Two events whose order is wrong.
#[derive(Clone, Copy, Debug)]
struct Back {
    before: Place,
    at: Place,
    reason: Reason,
}

/// Leaves of which at least one is not as it was.
#[derive(Debug)]
struct Range {
    first: u64,
    end: u64,
    reason: Reason,
    trail: Vec<Place>,
}

/// All evidence so far.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    exact: Option<Fault>,
    back: Option<Back>,
    range: Option<Range>,
    // By run: an event and the next one, which does not link to it.
    doubts: BTreeMap<RunId, (u64, u64)>,
    // By run: where it showed that one of its events was changed.
    wrong_heads: BTreeMap<RunId, Fault>,
    ends: Vec<Place>,
    rows_known: bool,
    linked: bool,
}

impl Verdict {
    /// A check that names its event.
    pub(super) fn fail(&mut self, seq: u64, reason: Reason) {
        if self.exact.is_none_or(|known| seq < known.seq) {
            self.exact = Some(Fault::new(seq, reason));
        }
    }

    /// Time or epoch goes back between two events.
    pub(super) fn goes_back(&mut self, before: Place, at: Place, reason: Reason) {
        self.back.get_or_insert(Back { before, at, reason });
    }

    /// One of the leaves `first..end` was changed; `trail` has the events last seen.
    pub(super) fn within(&mut self, leaves: (u64, u64), reason: Reason, trail: &[Place]) {
        let (first, end) = leaves;
        let inside = |place: &&Place| place.seq >= first && place.seq < end;
        self.range.get_or_insert_with(|| Range {
            first,
            end,
            reason,
            trail: trail.iter().filter(inside).copied().collect(),
        });
    }

    /// The events carry their links, so a change shows unless it is at the end of a run.
    pub(super) const fn linked(&mut self) {
        self.linked = true;
    }

    /// The ends of all runs are stored.
    pub(super) const fn rows_known(&mut self) {
        self.rows_known = true;
    }

    /// Takes how an event links to the one before it in its run, where both are known.
    pub(super) fn link(&mut self, run: RunId, pair: (u64, u64), holds: bool) {
        let (before, at) = pair;
        match (self.doubts.remove(&run), holds) {
            (None, true) => {}
            (None, false) => {
                self.doubts.insert(run, (before, at));
            }
            // What the next event links to is as it was, so the one before it was changed.
            (Some((changed, _)), true) | (Some((_, changed)), false) => {
                self.fail(changed, Reason::RunChain);
            }
        }
    }

    /// A run's last event is not the one that its row or its seal names, so one of its events up
    /// to here was changed.
    pub(super) fn wrong_head(&mut self, at: Place, reason: Reason) {
        let fault = Fault::new(at.seq, reason);
        self.wrong_heads.entry(at.run).or_insert(fault);
    }

    /// Takes the end of a run.
    pub(super) fn run_ends(&mut self, end: Place, has_row: bool) {
        if self.rows_known && !has_row {
            self.fail(end.seq, Reason::ChainHead);
        }
        if self.range.is_some() {
            self.ends.push(end);
        }
    }

    /// The first place that a fault may concern.
    pub(super) fn finish(mut self) -> Option<Fault> {
        for (before, _) in std::mem::take(&mut self.doubts).into_values() {
            self.fail(before, Reason::RunChain);
        }
        if let Some(back) = self.back {
            let known = self.exact.is_some_and(|exact| exact.seq == back.at.seq);
            let seq = if !known && self.is_suspect(back.before) {
                back.before.seq
            } else {
                back.at.seq
            };
            self.fail(seq, back.reason);
        }
        let head = self
            .wrong_heads
            .values()
            .min_by_key(|fault| fault.seq)
            .copied();
        match (self.exact, &self.range) {
            (Some(exact), Some(range)) if exact.seq >= range.end => Some(self.narrowed(range)),
            (Some(exact), _) => Some(exact),
            (None, Some(range)) => Some(self.narrowed(range)),
            (None, None) => head,
        }
    }

    fn is_suspect(&self, place: Place) -> bool {
        self.wrong_heads.contains_key(&place.run) || self.linked && self.ends.contains(&place)
    }

    fn narrowed(&self, range: &Range) -> Fault {
        let events = if self.linked {
            &self.ends
        } else {
            &range.trail
        };
        let inside = |place: &&Place| place.seq >= range.first && place.seq < range.end;
        let suspects = events
            .iter()
            .filter(inside)
            .filter(|place| self.is_suspect(**place));
        let seq = suspects.map(|place| place.seq).min().unwrap_or(range.first);
        Fault::new(seq, range.reason)
    }
}
