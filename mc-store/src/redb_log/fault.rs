//! What can go wrong below, and which public error it becomes.

use std::io;

use mc_core::error::{Detail, Error, ErrorKind};
use redb::{
    CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError,
};

use crate::bytes::Malformed;

/// A result inside the adapter.
pub(super) type Outcome<T> = Result<T, Fault>;

/// A failure inside the adapter.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The database or the disk below it.
    #[error("the database failed")]
    Database(#[source] redb::Error),
    /// A refusal of our own; nothing was written.
    #[error("{0}")]
    Refused(Error),
    /// The database panicked, as it does on some damaged pages; what it said.
    #[error("the database panicked: {0}")]
    Panicked(String),
}

macro_rules! from_database {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
from_database!(
    CommitError,
    DatabaseError,
    SetDurabilityError,
    StorageError,
    TableError,
    TransactionError
);

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Database(redb::Error::Io(error))
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Refused(Error::corrupt("row", None))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => error,
            Fault::Database(error) => of_database(error),
            Fault::Panicked(said) => Self::corrupt("page", None).with_context("panic", said),
        }
    }
}

fn of_database(error: redb::Error) -> Error {
    if let redb::Error::Io(error) = error {
        return of_io(error);
    }
    if matches!(error, redb::Error::DatabaseAlreadyOpen) {
        return already_open(None);
    }
    let waits = matches!(
        error,
        redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            | redb::Error::LockPoisoned(_)
            | redb::Error::TransactionPoisoned
    );
    let refused = matches!(error, redb::Error::ValueTooLarge(_));
    match (waits, refused) {
        (true, _) => unavailable("the store failed before and has to be acquired again"),
        (_, true) => Error::new(ErrorKind::InvalidInput, "a row is too large for the store"),
        // What is left are tables that are not ours and pages that are not as written.
        (false, false) => Error::corrupt("page", None),
    }
    .with_source(error)
}

/// The error of a failed operation on the file.
pub(super) fn of_io(error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let is = |kinds: &[Io]| kinds.contains(&error.kind());
    if is(&[Io::StorageFull, Io::QuotaExceeded, Io::FileTooLarge]) {
        unavailable("the disk is full").with_detail(Detail::StorageFull)
    } else if is(&[Io::ReadOnlyFilesystem, Io::PermissionDenied]) {
        read_only()
    } else if is(&[Io::UnexpectedEof, Io::InvalidData]) {
        Error::corrupt("truncated", None)
    } else {
        unavailable("the disk failed")
    }
    .with_source(error)
}

/// The store cannot take it now.
pub(super) fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

/// The store takes no writes.
pub(super) fn read_only() -> Error {
    unavailable("the store takes no writes").with_detail(Detail::ReadOnly)
}

/// Another handle has the file.
pub(super) fn already_open(pid: Option<u32>) -> Error {
    unavailable("another process or handle has the file open")
        .with_detail(Detail::AlreadyOpen { pid })
}

/// The file is no store of ours.
pub(super) fn foreign(why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("this file is not a store: {why}"),
    )
    .with_detail(Detail::ForeignFile)
}

/// Whether the error says that the disk is full.
pub(super) fn is_full(error: &Error) -> bool {
    matches!(error.detail(), Some(Detail::StorageFull))
}
