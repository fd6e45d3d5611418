//! How a store stands, for `health()` of the host.

/// How a store stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether writes are taken.
    pub writes: WriteState,
    /// Whether the file is where it was.
    pub file: FileState,
    /// Whether there is room set aside for the last events on a full disk.
    pub reserve: ReserveState,
}

/// Whether a store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteState {
    /// It does.
    Accepting,
    /// A write failed; the store has to be acquired again.
    Failed,
    /// It was opened for reading.
    ReadOnly,
}

/// Whether the path still leads to the file that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It does.
    InPlace,
    /// The file was moved, replaced or deleted: nothing more is written.
    Gone,
    /// The store lies over a backend that has no path.
    NoFile,
}

/// Whether the reserve file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveState {
    /// It is: 4 MiB are given back when the disk is full.
    Kept,
    /// It is not: the disk has no room for it, or it was given back, or there is no file.
    Missing,
}
