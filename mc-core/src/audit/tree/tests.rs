//! The tree against another implementation, and its proofs against every small lie.

use proptest::prelude::*;
use tlog_tiles::tlog;

use super::*;

/// Every leaf and tile root of a tree, and the same tree in the other implementation.
struct Trees {
    leaves: Vec<Digest>,
    tiles: Vec<Digest>,
    stored: Vec<tlog::Hash>,
    heads: Vec<TreeHead>,
}

impl tlog::HashReader for Trees {
    fn read_hashes(&self, indexes: &[u64]) -> std::result::Result<Vec<tlog::Hash>, tlog::Error> {
        let at = |index: &u64| self.stored[usize::try_from(*index).unwrap()];
        Ok(indexes.iter().map(at).collect())
    }
}

impl TreeNodes for Trees {
    fn leaf(&self, seq: u64) -> Result<Digest> {
        Ok(self.leaves[usize::try_from(seq).unwrap()])
    }

    fn tile_root(&self, tile: u64) -> Result<Digest> {
        Ok(self.tiles[usize::try_from(tile).unwrap()])
    }
}

impl Trees {
    fn of(size: u64) -> Self {
        let mut trees = Self {
            leaves: Vec::new(),
            tiles: Vec::new(),
            stored: Vec::new(),
            heads: vec![Frontier::new().head()],
        };
        let mut frontier = Frontier::new();
        for index in 0..size {
            trees.push(&mut frontier, index);
        }
        trees
    }

    fn push(&mut self, frontier: &mut Frontier, index: u64) {
        let leaf = Digest::of(&[&[0], &index.to_be_bytes()]);
        let hashes = tlog::stored_hashes(index, &index.to_be_bytes(), self).unwrap();
        self.stored.extend(hashes);
        self.leaves.push(leaf);
        if let Some((tile, root)) = frontier.push(leaf) {
            assert_eq!(usize::try_from(tile).unwrap(), self.tiles.len());
            self.tiles.push(root);
        }
        self.heads.push(frontier.head());
    }

    fn head(&self, size: u64) -> TreeHead {
        self.heads[usize::try_from(size).unwrap()]
    }
}

fn theirs(digest: Digest) -> tlog::Hash {
    tlog::Hash(*digest.as_bytes())
}

fn as_ours(hashes: Vec<tlog::Hash>) -> Vec<Digest> {
    hashes
        .into_iter()
        .map(|hash| Digest::from_bytes(hash.0))
        .collect()
}

fn check_inclusion(trees: &Trees, index: u64, size: u64) {
    let proof = inclusion_proof(trees, index, size).unwrap();
    assert_eq!(
        proof,
        as_ours(tlog::prove_record(size, index, trees).unwrap())
    );
    let leaf = trees.leaf(index).unwrap();
    let head = trees.head(size);
    assert!(
        verify_inclusion(&leaf, index, &head, &proof),
        "{index} of {size}"
    );
    let hashes = proof.into_iter().map(theirs).collect();
    tlog::check_record(&hashes, size, theirs(head.root), index, theirs(leaf)).unwrap();
}

fn check_consistency(trees: &Trees, old: u64, new: u64) {
    let proof = consistency_proof(trees, old, new).unwrap();
    assert_eq!(proof, as_ours(tlog::prove_tree(new, old, trees).unwrap()));
    let (from, to) = (trees.head(old), trees.head(new));
    assert!(verify_consistency(&from, &to, &proof), "{old} in {new}");
    let hashes = proof.into_iter().map(theirs).collect();
    tlog::check_tree(&hashes, new, theirs(to.root), old, theirs(from.root)).unwrap();
}

#[test]
fn roots_and_tiles_are_those_of_the_other_implementation() {
    let trees = Trees::of(1030);
    for size in 0..=1030 {
        let root = tlog::tree_hash(size, &trees).unwrap();
        assert_eq!(theirs(trees.head(size).root), root, "{size}");
    }
    assert_eq!(trees.tiles.len(), 4);
    for (tile, root) in (0_u64..).zip(&trees.tiles) {
        let stored = trees.stored[usize::try_from(tlog::stored_hash_index(8, tile)).unwrap()];
        assert_eq!(theirs(*root), stored);
    }
}

#[test]
fn every_proof_of_small_trees_is_that_of_the_other_implementation() {
    let trees = Trees::of(70);
    for size in 1..=70 {
        for index in 0..size {
            check_inclusion(&trees, index, size);
            check_consistency(&trees, index + 1, size);
        }
    }
}

#[test]
fn proofs_around_the_borders_of_tiles_hold() {
    let trees = Trees::of(770);
    for size in [255, 256, 257, 511, 512, 513, 768, 769, 770] {
        for index in (0..size).filter(|index| index % 37 == 0 || size - index < 4) {
            check_inclusion(&trees, index, size);
            check_consistency(&trees, index + 1, size);
        }
    }
}

#[test]
fn a_proof_of_what_is_not_there_is_refused() {
    let trees = Trees::of(4);
    assert!(inclusion_proof(&trees, 4, 4).is_err());
    assert!(consistency_proof(&trees, 5, 4).is_err());
    assert!(consistency_proof(&trees, 0, 4).is_err());
}

#[test]
fn every_tree_begins_with_the_empty_one() {
    let trees = Trees::of(3);
    assert!(verify_consistency(&trees.head(0), &trees.head(3), &[]));
    assert!(verify_consistency(&trees.head(0), &trees.head(0), &[]));
    assert!(verify_consistency(&trees.head(3), &trees.head(3), &[]));
    let lie = TreeHead {
        size: 0,
        root: Digest::ZERO,
    };
    assert!(!verify_consistency(&lie, &trees.head(3), &[]));
}

#[test]
fn two_frontiers_differ_first_where_a_leaf_was_changed() {
    let mut ours = Frontier::new();
    let mut other = Frontier::new();
    for index in 0..13_u64 {
        ours.push(Digest::of(&[&index.to_be_bytes()]));
        let changed = if index == 9 { 99 } else { index };
        other.push(Digest::of(&[&changed.to_be_bytes()]));
    }
    assert_eq!(ours.first_difference(&other), Some((8, 12)));
    assert_eq!(ours.first_difference(&ours), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn proofs_of_larger_trees_hold(size in 1_u64..6000, picks in prop::collection::vec(any::<u64>(), 8)) {
        let trees = Trees::of(size);
        for pick in picks {
            check_inclusion(&trees, pick % size, size);
            check_consistency(&trees, pick % size + 1, size);
        }
    }

    #[test]
    fn a_frontier_comes_back_and_goes_on(size in 0_u64..700) {
        let mut frontier = Frontier::new();
        for index in 0..size {
            frontier.push(Digest::of(&[&index.to_be_bytes()]));
        }
        let bytes = frontier.encode();
        let mut again = Frontier::decode(&bytes).unwrap();
        prop_assert_eq!(&again, &frontier);
        prop_assert_eq!(again.push(Digest::ZERO), frontier.push(Digest::ZERO));
        prop_assert_eq!(again.root(), frontier.root());
        prop_assert!(Frontier::decode(&bytes[..bytes.len() - 1]).is_err());
        prop_assert!(Frontier::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn no_other_proof_place_or_root_is_accepted(size in 2_u64..300, pick: u64, bit in 0_usize..256) {
        let trees = Trees::of(size);
        let (index, head) = (pick % size, trees.head(size));
        let leaf = trees.leaf(index).unwrap();
        let proof = inclusion_proof(&trees, index, size).unwrap();
        let flip = |digest: Digest| {
            let mut bytes = *digest.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Digest::from_bytes(bytes)
        };
        for place in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[place] = flip(wrong[place]);
            prop_assert!(!verify_inclusion(&leaf, index, &head, &wrong));
        }
        let root = flip(head.root);
        prop_assert!(!verify_inclusion(&flip(leaf), index, &head, &proof));
        prop_assert!(!verify_inclusion(&leaf, (index + 1) % size, &head, &proof));
        let other = TreeHead { root, ..head };
        prop_assert!(!verify_inclusion(&leaf, index, &other, &proof));
        prop_assert!(!verify_inclusion(&leaf, index, &head, &proof[1..]));
        prop_assert!(!verify_inclusion(&leaf, index, &head, &[&proof[..], &[leaf]].concat()));
    }

    #[test]
    fn no_rewritten_tree_is_consistent(size in 2_u64..300, pick: u64, bit in 0_usize..256) {
        let trees = Trees::of(size);
        let old = trees.head(pick % (size - 1) + 1);
        let new = trees.head(size);
        let proof = consistency_proof(&trees, old.size, size).unwrap();
        for place in 0..proof.len() {
            let mut wrong = proof.clone();
            let mut bytes = *wrong[place].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            wrong[place] = Digest::from_bytes(bytes);
            prop_assert!(!verify_consistency(&old, &new, &wrong));
        }
        let root = Digest::of(&[old.root.as_bytes()]);
        let longer = [&proof[..], &[root]].concat();
        let (other_old, other_new) = (TreeHead { root, ..old }, TreeHead { root, ..new });
        prop_assert!(!verify_consistency(&other_old, &new, &proof));
        prop_assert!(!verify_consistency(&old, &other_new, &proof));
        prop_assert!(!verify_consistency(&old, &new, &longer));
    }
}
