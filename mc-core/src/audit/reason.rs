//! Why a log does not verify: stable codes, for people and for scripts.
//!
//! A code names the check that failed, not the deed; `docs/event-log.md` says which deed each
//! check finds. What reads frames reports its own damage with these codes too.

use std::fmt;

use crate::error::{Detail, Error};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// The check that failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason of a code.
            pub fn parse(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == code)
            }

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// A frame does not begin with the mark of a known version.
    FrameVersion = "frame_version";
    /// A frame ends too early, or goes on behind its last event.
    FrameLength = "frame_length";
    /// A chunk of a frame is not what its checksum says.
    FrameCheck = "frame_check";
    /// A frame's tables are not in their one form.
    FrameTable = "frame_table";
    /// An event in a frame is not in its one form.
    FrameRecord = "frame_record";
    /// An export's line is not in its one form, or stands where it may not.
    Line = "line";
    /// A header is not in its one form.
    Header = "header";
    /// An event is of another workspace, or of another run than the one exported.
    Workspace = "workspace";
    /// Sequence numbers are not dense, or not ascending.
    DenseSeq = "dense_seq";
    /// A run's own numbers are not dense.
    RunSeq = "run_seq";
    /// Time goes back.
    TsOrder = "ts_order";
    /// The owner's epoch goes back.
    EpochOrder = "epoch_order";
    /// An event does not carry the hash of the event before it in its run.
    RunChain = "run_chain";
    /// The facts are not one JSON object.
    FactsJson = "facts_json";
    /// The facts are not those that the header names.
    FactsHash = "facts_hash";
    /// A part is not the one that was committed to.
    PartCommitment = "part_commitment";
    /// A part's bytes are gone without a tombstone.
    PartMissing = "part_missing";
    /// An event cannot have been hashed: a field is longer than the header allows.
    LeafHash = "leaf_hash";
    /// A run's seal does not fit the events before it, or events follow it.
    Seal = "seal";
    /// A tile of 256 events has another root than the one stored.
    TileRoot = "tile_root";
    /// The tree has other nodes than the frontier stored.
    Frontier = "frontier";
    /// The log ends before the events that the frontier counts.
    Truncated = "truncated";
    /// A run's last event is not the one that its row names.
    ChainHead = "chain_head";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in the log where a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first event that the fault may concern.
    pub seq: u64,
    /// The check.
    pub reason: Reason,
}

impl Fault {
    /// Puts a place and a reason together.
    pub const fn new(seq: u64, reason: Reason) -> Self {
        Self { seq, reason }
    }

    /// The place and reason that an error of a reader carries, if it tells of damage.
    pub fn from_error(error: &Error) -> Option<Self> {
        match error.detail() {
            Some(Detail::Damaged {
                seq: Some(seq),
                reason,
            }) => Reason::parse(reason).map(|reason| Self::new(*seq, reason)),
            _ => None,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::corrupt(fault.reason.as_str(), Some(fault.seq))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seq {}: {}", self.seq, self.reason)
    }
}
