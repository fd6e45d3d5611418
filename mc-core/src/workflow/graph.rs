//! The graph of needs: cycles, order and what comes before what, all in time linear in its size.
//!
//! Steps are numbers here; `needs[step]` lists the steps that it needs. Nothing recurses, so a long
//! chain cannot overflow the stack.

use std::collections::BTreeSet;

use super::limits::MAX_CYCLES_NAMED;

/// Cycles of the graph, each step needing the next, the first one repeated at the end.
///
/// One for each edge that closes a circle, up to [`MAX_CYCLES_NAMED`]: without those edges there is
/// no cycle. Empty exactly if the graph has none.
pub(super) fn cycles(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        needs,
        state: vec![State::New; needs.len()],
        found: Vec::new(),
    };
    for start in 0..needs.len() {
        if search.state[start] == State::New {
            search.from(start);
        }
    }
    search.found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    OnPath,
    Done,
}

struct Search<'a> {
    needs: &'a [Vec<usize>],
    state: Vec<State>,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn from(&mut self, start: usize) {
        // Each entry is a step on the path and how many of its needs were followed.
        let mut path = vec![(start, 0)];
        self.state[start] = State::OnPath;
        while let Some((step, followed)) = path.last_mut() {
            let step = *step;
            let Some(&need) = self.needs[step].get(*followed) else {
                self.state[step] = State::Done;
                path.pop();
                continue;
            };
            *followed += 1;
            match self.state[need] {
                State::New => {
                    self.state[need] = State::OnPath;
                    path.push((need, 0));
                }
                State::OnPath if self.found.len() < MAX_CYCLES_NAMED => {
                    let on_circle = path
                        .iter()
                        .map(|(step, _)| *step)
                        .skip_while(|s| *s != need);
                    let circle = on_circle.chain([need]).collect();
                    self.found.push(circle);
                }
                State::OnPath | State::Done => {}
            }
        }
    }
}

/// The steps in an order in which each comes after all its needs; those on a cycle, and those that
/// need one of them, are left out.
pub(super) fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut dependents = vec![Vec::new(); needs.len()];
    for (step, list) in needs.iter().enumerate() {
        for need in list {
            dependents[*need].push(step);
        }
    }
    let mut order: Vec<usize> = (0..needs.len())
        .filter(|step| missing[*step] == 0)
        .collect();
    let mut next = 0;
    while let Some(&step) = order.get(next) {
        next += 1;
        for &dependent in &dependents[step] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    order
}

/// For each step, the set of all steps before it, direct or not.
#[derive(Debug)]
pub(super) struct Before {
    words: usize,
    bits: Vec<u64>,
    known: BTreeSet<usize>,
}

impl Before {
    /// Computes the sets for the steps of `order`.
    pub(super) fn new(needs: &[Vec<usize>], order: &[usize]) -> Self {
        let words = needs.len().div_ceil(64);
        let mut bits = vec![0_u64; words * needs.len()];
        let mut row = vec![0_u64; words];
        for &step in order {
            row.fill(0);
            for &need in &needs[step] {
                row[need / 64] |= 1 << (need % 64);
                let theirs = &bits[need * words..(need + 1) * words];
                row.iter_mut()
                    .zip(theirs)
                    .for_each(|(word, their)| *word |= their);
            }
            bits[step * words..(step + 1) * words].copy_from_slice(&row);
        }
        Self {
            words,
            bits,
            known: order.iter().copied().collect(),
        }
    }

    /// Whether `earlier` comes before `step`; `None` where `step` lies on or behind a cycle.
    pub(super) fn contains(&self, step: usize, earlier: usize) -> Option<bool> {
        let word = self.bits.get(step * self.words + earlier / 64)?;
        self.known
            .contains(&step)
            .then_some(word >> (earlier % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Who reaches whom, by Warshall's algorithm.
    fn reach(needs: &[Vec<usize>]) -> Vec<Vec<bool>> {
        let n = needs.len();
        let mut reach: Vec<Vec<bool>> = needs
            .iter()
            .map(|list| (0..n).map(|to| list.contains(&to)).collect())
            .collect();
        for via in 0..n {
            for from in 0..n {
                for to in 0..n {
                    reach[from][to] |= reach[from][via] && reach[via][to];
                }
            }
        }
        reach
    }

    fn graphs() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1_usize..12).prop_flat_map(|n| {
            let list = proptest::collection::btree_set(0..n, 0..4.min(n));
            proptest::collection::vec(list.prop_map(|set| set.into_iter().collect()), n)
        })
    }

    proptest! {
        #[test]
        fn a_named_cycle_is_real_and_only_acyclic_graphs_have_none(needs in graphs()) {
            let reach = reach(&needs);
            let cyclic = (0..needs.len()).any(|step| reach[step][step]);
            let found = cycles(&needs);
            prop_assert_eq!(!found.is_empty(), cyclic);
            for circle in found {
                prop_assert_eq!(circle.first(), circle.last());
                prop_assert!(circle.windows(2).all(|pair| needs[pair[0]].contains(&pair[1])));
                let inner: BTreeSet<_> = circle[1..].iter().collect();
                prop_assert_eq!(inner.len(), circle.len() - 1);
            }
        }

        #[test]
        fn without_the_edges_that_close_the_named_cycles_there_is_none(needs in graphs()) {
            let mut needs = needs;
            for circle in cycles(&needs) {
                let closing = (circle[circle.len() - 2], circle[circle.len() - 1]);
                needs[closing.0].retain(|need| *need != closing.1);
            }
            prop_assert!(cycles(&needs).is_empty());
        }

        #[test]
        fn what_comes_before_a_step_is_what_it_reaches(needs in graphs()) {
            let reach = reach(&needs);
            let order = order(&needs);
            let before = Before::new(&needs, &order);
            for step in 0..needs.len() {
                let doomed = (0..needs.len()).any(|at| reach[at][at] && (at == step || reach[step][at]));
                prop_assert_eq!(order.contains(&step), !doomed);
                for (earlier, reached) in reach[step].iter().enumerate() {
                    let expected = (!doomed).then_some(*reached);
                    prop_assert_eq!(before.contains(step, earlier), expected);
                }
            }
        }
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_does_not_overflow_the_stack() {
        let n = 100_000;
        let mut needs: Vec<Vec<usize>> = (0..n).map(|step| vec![(step + 1) % n]).collect();
        assert_eq!(cycles(&needs)[0].len(), n + 1);
        needs[n - 1].clear();
        assert!(cycles(&needs).is_empty());
        assert_eq!(order(&needs).len(), n);
    }

    #[test]
    fn a_step_that_needs_itself_is_a_cycle_of_one() {
        assert_eq!(cycles(&[vec![0]]), [[0, 0]]);
    }
}
