//! What a joined process does for as long as it is one: serves its connection, and when the owner is
//! gone, takes its place or joins whoever did.
//!
//! Whoever gets the file's lock first is the owner; there is no other election. The others find its
//! socket. While nobody owns the file, commands wait; after a while they are refused by name, and it is
//! tried on.

use std::sync::Arc;
use std::time::Duration;

use mc_core::engine::{Guest, OwnerPort};
use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::ports::EventLog;
use mc_store::{RedbLog, RedbOptions};
use tokio::time::Instant;

use crate::client::{Connection, Ear, NotJoined, Wire, join};
use crate::linked_log::{LinkedLog, Source};
use crate::listener;
use crate::note::{self, Says};
use crate::opening::Succession;
use crate::place::Place;
use crate::retry::Retry;
use crate::server::Serving;
use crate::threads::LinkThread;

/// How long commands wait for an owner before they are refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an owner may take to read what a process said last.
const FAREWELL: Duration = Duration::from_millis(500);

/// A joined process.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) guest: Arc<Guest>,
    pub(crate) log: Arc<LinkedLog>,
    pub(crate) place: Place,
    pub(crate) redb: RedbOptions,
    pub(crate) succession: Succession,
    pub(crate) thread: Arc<LinkThread>,
}

/// What came of looking for an owner.
enum Found {
    /// Another process.
    Owner(Arc<Connection>, tokio::task::JoinHandle<()>),
    /// This one.
    Own,
    /// Nobody yet.
    Nobody(Error),
}

impl Keeper {
    /// Serves until the handle is shut down, or this process owns the file.
    pub(crate) async fn keep(self, connection: Arc<Connection>, wire: Wire) {
        let mut epoch = connection.terms().epoch;
        let Some(mut serving) = self.serve(&connection, wire) else {
            return;
        };
        loop {
            let guest = Arc::clone(&self.guest);
            tokio::select! {
                biased;
                () = guest.stopped() => {
                    // What it said last still goes out, to one that reads it.
                    connection.close();
                    if tokio::time::timeout(FAREWELL, &mut serving).await.is_err() {
                        serving.abort();
                    }
                    return self.left();
                }
                _ = &mut serving => {}
            }
            self.log.turn_to(Source::Nobody);
            self.guest.lost();
            let found = tokio::select! {
                biased;
                () = guest.stopped() => return self.left(),
                found = self.look_for_owner(&mut epoch) => found,
            };
            match found {
                Some(next) => serving = next,
                None => return,
            }
        }
    }

    /// Nobody is asked any more through a handle that was shut down.
    fn left(&self) {
        let message = "the engine was shut down; open the store again";
        let error = Error::new(ErrorKind::Unavailable, message);
        self.log.turn_to(Source::Refused(Arc::new(error)));
    }

    fn serve(
        &self,
        connection: &Arc<Connection>,
        wire: Wire,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let (connection, guest) = (Arc::clone(connection), Arc::clone(&self.guest));
        self.thread
            .spawn(async move { connection.serve(wire, Ear::Guest(&guest)).await })
    }

    /// Tries until somebody owns the file; none where it is this process.
    async fn look_for_owner(&self, epoch: &mut u64) -> Option<tokio::task::JoinHandle<()>> {
        let mut retry = Retry::beside(&self.place);
        let patience = Instant::now() + PATIENCE;
        // One that takes no commands of this process may answer its reads.
        let mut reads = Reading::default();
        loop {
            let found = self.try_once(*epoch).await;
            let waited = Instant::now() >= patience;
            let (error, found) = match found {
                Found::Own => return None,
                Found::Owner(connection, serving) => {
                    *epoch = connection.terms().epoch;
                    match self.rejoin(&connection).await {
                        Ok(()) => {
                            self.log.turn_to(Source::Owner(connection));
                            return Some(serving);
                        }
                        Err(error) => (error, Reading(Some(connection))),
                    }
                }
                Found::Nobody(error) => (error, Reading::default()),
            };
            if waited {
                let source = match &found.0 {
                    Some(connection) => Source::Owner(Arc::clone(connection)),
                    None => Source::Refused(Arc::new(again(&error))),
                };
                self.log.turn_to(source);
                self.guest.down(error);
                drop(std::mem::replace(&mut reads, found));
            }
            retry.wait().await;
        }
    }

    async fn rejoin(&self, connection: &Arc<Connection>) -> Result<()> {
        let joined = self.guest.rejoin(Arc::<Connection>::clone(connection));
        let joined = tokio::time::timeout(PATIENCE, joined).await;
        let joined = joined.unwrap_or_else(|_| {
            let message = "the owner of the store does not answer";
            Err(Error::new(ErrorKind::Unavailable, message))
        });
        joined.inspect_err(|error| {
            tracing::info!(%error, "an owner that was found does not take this process");
        })
    }

    async fn try_once(&self, epoch: u64) -> Found {
        if self.succession == Succession::Heir {
            match self.open_file() {
                Ok(log) => return self.take_over(Arc::new(log)).await,
                Err(error) if !is_taken(&error) => return Found::Nobody(error),
                Err(_) => {}
            }
        }
        match join(&self.place, epoch).await {
            Ok((connection, wire)) => match self.serve(&connection, wire) {
                Some(serving) => Found::Owner(connection, serving),
                None => Found::Nobody(gone()),
            },
            Err(NotJoined::Refused(error)) => Found::Nobody(error),
            Err(NotJoined::Silent) => Found::Nobody(gone()),
        }
    }

    /// Opens the file that was joined, and no other one that has come to its place: opening makes a file
    /// where there is none.
    fn open_file(&self) -> Result<RedbLog> {
        let is_it = || Place::of(&self.place.file).is_ok_and(|now| now == self.place);
        let other = || {
            let message = "the store's file was moved, replaced or deleted while it was joined";
            let path = self.place.file.display();
            Error::new(ErrorKind::Unavailable, message).with_context("path", path)
        };
        if !is_it() {
            return Err(other());
        }
        let log = self.redb.open(&self.place.file)?;
        if is_it() { Ok(log) } else { Err(other()) }
    }

    async fn take_over(&self, log: Arc<dyn EventLog>) -> Found {
        note::write(&self.place.file, &Says::Opening);
        self.log.turn_to(Source::Own(log));
        if let Err(error) = self.guest.take_over().await {
            tracing::warn!(%error, "the store cannot be taken over");
            self.log.turn_to(Source::Nobody);
            self.guest.lost();
            return Found::Nobody(error);
        }
        tracing::info!(path = %self.place.file.display(), "this process owns the store now");
        if let Some(owner) = self.guest.control().owner() {
            let serving = Serving {
                owner,
                file: self.place.id,
                thread: Arc::clone(&self.thread),
            };
            if let Err(error) = listener::listen(serving, &self.place) {
                tracing::warn!(%error, "no other process can join this one");
            }
        }
        Found::Own
    }
}

/// Whether an error says that another process has the file.
pub(crate) fn is_taken(error: &Error) -> bool {
    matches!(error.detail(), Some(Detail::AlreadyOpen { .. }))
}

/// A connection that is good for reads alone; it is closed with this.
#[derive(Debug, Default)]
struct Reading(Option<Arc<Connection>>);

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close();
        }
    }
}

fn gone() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the owner of the store is gone, and no other process has taken its place yet",
    )
}

/// The same error once more.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message());
    match error.detail() {
        Some(detail) => copy.with_detail(detail.clone()),
        None => copy,
    }
}
