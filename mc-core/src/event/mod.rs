//! Events: what they say (`kind`) and how they are kept (`record`).

mod record;

pub use record::{
    MAX_INLINE_PART_BYTES, MAX_PART_BYTES, MediaType, Part, PartContent, PartRef, Record,
};
