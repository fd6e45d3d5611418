//! The audit log's bytes: what is hashed, how it is chained, and how anybody checks it.
//!
//! `header` has the hashed form of an event, `commit` the hashes over facts, content and events,
//! `tree` the Merkle tree, `frame` the packing of one commit, `export` the lines for auditors and
//! `verify` the checks. The whole format is in `docs/event-log.md`; these bytes never change.
//! What is *not* here: files, keys and checkpoints.

mod chain;
mod commit;
mod crc;
mod export;
pub mod frame;
mod header;
mod reason;
mod tree;
mod verify;
mod wire;

#[cfg(test)]
mod testing;

pub use chain::{RunFacts, SealFacts};
pub use commit::{
    Blobs, NoBlobs, SealFault, Sealer, content_commitment, event_hash, facts_hash, part_commitment,
    run_genesis,
};
pub use export::{EventLine, Line, LinePart, Opening, parse_line};
pub use header::{Header, decode_header};
pub use reason::{Fault, Reason};
pub use tree::{
    Frontier, TILE_LEAVES, TreeHead, TreeNodes, consistency_proof, empty_root, inclusion_proof,
    verify_consistency, verify_inclusion,
};
pub use verify::{ExportVerifier, Report, Scope, Verifier};
