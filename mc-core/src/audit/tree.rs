//! The Merkle tree over all events of a workspace, in order of `seq`.
//!
//! A log keeps only the frontier and the roots of whole tiles of 256 leaves; what a proof needs
//! inside a tile is computed again from its events. Read `frame` next.
//! **Source:** RFC 6962, section 2.1; the iterative checks are those of RFC 9162, section 2.1.3.

use super::wire::Reader;
use crate::error::{Error, Result};
use crate::id::Digest;

/// The leaves of a tile.
pub const TILE_LEAVES: u64 = 256;

/// The root of the tree without leaves: the SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// A tree of some size: what a checkpoint signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The number of leaves.
    pub size: u64,
    /// The root.
    pub root: Digest,
}

/// The right edge of a tree: the roots of its whole subtrees, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Digest>,
}

impl Frontier {
    /// A tree without leaves.
    pub const fn new() -> Self {
        Self {
            size: 0,
            nodes: Vec::new(),
        }
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the whole subtrees, largest first: one for each bit of the size.
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }

    /// Appends a leaf. Where it completes a tile, the result is the tile's index and root.
    pub fn push(&mut self, leaf: Digest) -> Option<(u64, Digest)> {
        let mut root = leaf;
        let mut tile = None;
        for level in 0..self.size.trailing_ones() {
            let Some(left) = self.nodes.pop() else { break };
            root = node(&left, &root);
            if level + 1 == TILE_LEAVES.trailing_zeros() {
                tile = Some((self.size / TILE_LEAVES, root));
            }
        }
        self.nodes.push(root);
        self.size += 1;
        tile
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        let smallest_first = self.nodes.iter().rev().copied();
        smallest_first
            .reduce(|right, left| node(&left, &right))
            .unwrap_or_else(empty_root)
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: self.root(),
        }
    }

    /// The size, 8 bytes big-endian, and the nodes, 32 bytes each.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 32 * self.nodes.len());
        out.extend_from_slice(&self.size.to_be_bytes());
        for node in &self.nodes {
            out.extend_from_slice(node.as_bytes());
        }
        out
    }

    /// Reads what [`Frontier::encode`] wrote.
    ///
    /// # Errors
    /// `Corrupt` with the reason `frontier` where the number of nodes does not fit the size.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).ok_or_else(|| Error::corrupt("frontier", None))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let size = reader.u64()?;
        let mut nodes = Vec::with_capacity(64.min(reader.len() / 32));
        for _ in 0..size.count_ones() {
            nodes.push(Digest::from_bytes(reader.array()?));
        }
        reader.is_empty().then_some(Self { size, nodes })
    }

    pub(super) fn from_nodes(size: u64, nodes: Vec<Digest>) -> Option<Self> {
        let fits = usize::try_from(size.count_ones()).is_ok_and(|count| count == nodes.len());
        fits.then_some(Self { size, nodes })
    }

    /// The leaves of the first whole subtree in which two trees of one size differ, as
    /// (first, behind the last).
    pub(super) fn first_difference(&self, other: &Self) -> Option<(u64, u64)> {
        let mut first = 0;
        for (bit, (ours, theirs)) in bits(self.size).zip(self.nodes.iter().zip(&other.nodes)) {
            if ours != theirs {
                return Some((first, first + bit));
            }
            first += bit;
        }
        None
    }
}

/// The powers of two in a number, largest first.
fn bits(number: u64) -> impl Iterator<Item = u64> {
    (0..64)
        .rev()
        .map(|shift| 1 << shift)
        .filter(move |bit| number & bit != 0)
}

/// Finds what a proof is made of.
pub trait TreeNodes {
    /// The leaf of the event `seq`.
    ///
    /// # Errors
    /// Those of the store.
    fn leaf(&self, seq: u64) -> Result<Digest>;

    /// The root of a whole tile: of the leaves from 256 x `tile` on.
    ///
    /// # Errors
    /// Those of the store.
    fn tile_root(&self, tile: u64) -> Result<Digest>;
}

/// Leaves `first..end` of a tree; never empty in here.
#[derive(Clone, Copy)]
struct Span {
    first: u64,
    end: u64,
}

impl Span {
    const fn len(self) -> u64 {
        self.end - self.first
    }

    /// Splits at the largest power of two below the length, which is at least 2.
    const fn split(self) -> (Self, Self) {
        let middle = self.first + (1 << (self.len() - 1).ilog2());
        let left = Self {
            first: self.first,
            end: middle,
        };
        let right = Self {
            first: middle,
            end: self.end,
        };
        (left, right)
    }

    fn root(self, nodes: &dyn TreeNodes) -> Result<Digest> {
        if self.len() == 1 {
            return nodes.leaf(self.first);
        }
        if self.len() == TILE_LEAVES {
            return nodes.tile_root(self.first / TILE_LEAVES);
        }
        let (left, right) = self.split();
        Ok(node(&left.root(nodes)?, &right.root(nodes)?))
    }
}

/// Proves that leaf `index` is in the tree of `size` leaves: the roots beside its path, from the
/// leaf upwards.
///
/// # Errors
/// `InvalidInput` for a leaf that the tree does not have; those of `nodes`.
pub fn inclusion_proof(nodes: &dyn TreeNodes, index: u64, size: u64) -> Result<Vec<Digest>> {
    if index >= size {
        return Err(Error::invalid("index", "the tree has no such leaf"));
    }
    let mut proof = Vec::new();
    let mut span = Span {
        first: 0,
        end: size,
    };
    while span.len() > 1 {
        let (left, right) = span.split();
        let (inside, beside) = if index < left.end {
            (left, right)
        } else {
            (right, left)
        };
        proof.push(beside.root(nodes)?);
        span = inside;
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of `new_size` leaves begins with all leaves of the tree of `old_size`.
///
/// # Errors
/// `InvalidInput` where the old tree is empty or larger than the new one; those of `nodes`.
pub fn consistency_proof(
    nodes: &dyn TreeNodes,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Digest>> {
    if old_size == 0 || old_size > new_size {
        return Err(Error::invalid("old_size", "not a part of the new tree"));
    }
    let mut proof = Vec::new();
    let mut span = Span {
        first: 0,
        end: new_size,
    };
    while span.end != old_size {
        let (left, right) = span.split();
        let (inside, beside) = if old_size <= left.end {
            (left, right)
        } else {
            (right, left)
        };
        proof.push(beside.root(nodes)?);
        span = inside;
    }
    if span.first > 0 {
        // The old tree is not a subtree of the new one: what they share has to be told.
        proof.push(span.root(nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` shows that `leaf` is leaf `index` of the tree `head`.
#[must_use]
pub fn verify_inclusion(leaf: &Digest, index: u64, head: &TreeHead, proof: &[Digest]) -> bool {
    if index >= head.size {
        return false;
    }
    let mut place = index;
    let mut last = head.size - 1;
    let mut root = *leaf;
    for beside in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            root = node(beside, &root);
            let skip = if place & 1 == 0 {
                place.trailing_zeros()
            } else {
                0
            };
            // A last leaf without a neighbour moves up to the level where it has one.
            place >>= skip;
            last >>= skip;
        } else {
            root = node(&root, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && root == head.root
}

/// Whether `proof` shows that the tree `new` begins with all leaves of the tree `old`.
///
/// Every tree begins with the empty one; that needs no proof.
#[must_use]
pub fn verify_consistency(old: &TreeHead, new: &TreeHead, proof: &[Digest]) -> bool {
    if old.size == 0 || old.size == new.size {
        let same = if old.size == 0 {
            old.root == empty_root()
        } else {
            old.root == new.root
        };
        return proof.is_empty() && same;
    }
    if old.size > new.size {
        return false;
    }
    let (start, rest) = if old.size.is_power_of_two() {
        (old.root, proof)
    } else {
        match proof.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return false,
        }
    };
    climb(old, new, start, rest)
}

/// Computes both roots on one way up from the last whole subtree of the old tree.
fn climb(old: &TreeHead, new: &TreeHead, start: Digest, proof: &[Digest]) -> bool {
    let skip = (old.size - 1).trailing_ones();
    let mut place = (old.size - 1) >> skip;
    let mut last = (new.size - 1) >> skip;
    let (mut old_root, mut new_root) = (start, start);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old_root = node(beside, &old_root);
            new_root = node(beside, &new_root);
            let skip = if place == 0 || place & 1 == 1 {
                0
            } else {
                place.trailing_zeros()
            };
            place >>= skip;
            last >>= skip;
        } else {
            new_root = node(&new_root, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old_root == old.root && new_root == new.root
}

#[cfg(test)]
mod tests;
