//! Following a store: hearing that something moved in it, without ever being the process that owns it.
//!
//! Where another process owns the store, its notices come here. Where nobody does, nothing can move: it
//! is waited, without asking again and again, until somebody leaves a trace beside the file. A follower
//! never holds the file, so that whoever wants to own it can. What is *not* here: reading what moved
//! ([`Following::log`] gives the log for that), and changing anything (`open`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mc_core::error::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

use crate::client::{Connection, Ear, NotJoined, Wire, join};
use crate::linked_log::{LinkedLog, Source};
use crate::look::look;
use crate::news::News;
use crate::opening::{Looked, Moved};
use crate::outbox::lock;
use crate::place::Place;
use crate::retry::Retry;
use crate::threads::LinkThread;

/// A store that is followed.
#[derive(Debug)]
pub struct Following {
    path: PathBuf,
    ears: Arc<Ears>,
    listening: Option<JoinHandle<()>>,
}

/// What the listening task and the follower share.
#[derive(Debug, Default)]
struct Ears {
    news: News,
    /// The owner that is joined, and the log at it.
    joined: Mutex<Option<(u32, Arc<LinkedLog>)>>,
}

/// Follows the store in a file, from now on.
///
/// # Errors
/// As [`look`].
pub async fn follow(path: &Path) -> Result<Following> {
    // Whatever is wrong with the file is told now.
    drop(look(path).await?);
    let thread = LinkThread::start()?;
    let ears = Arc::new(Ears::default());
    // Whoever owns it is joined before this returns, so that nothing which moves then is missed.
    let place = Place::of(path)?;
    let greeted = {
        let place = place.clone();
        thread
            .run(async move { Ears::listen_at(&place).await })
            .await?
    };
    let greeted = greeted?;
    if let Some((connection, _)) = &greeted.1 {
        ears.joins(connection);
    }
    let hearing = Arc::clone(&ears);
    let listening = thread.spawn(async move {
        if let Err(error) = hearing.keep(place, greeted).await {
            hearing.news.end(error);
        }
    });
    Ok(Following {
        path: path.to_owned(),
        ears,
        listening,
    })
}

impl Following {
    /// Waits until something moved, and tells what. What moved while nobody waited is put together.
    ///
    /// # Errors
    /// `Unavailable` where the file is gone, or its owner does not let this process join.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn moved(&self) -> Result<Moved> {
        self.ears.news.next().await
    }

    /// The log, to read now: at its owner, or the file itself where nobody has it. It has to be dropped
    /// before it is waited again, so that others can open the file.
    ///
    /// # Errors
    /// As [`look`].
    pub async fn log(&self) -> Result<Looked> {
        let joined = lock(&self.ears.joined).clone();
        match joined {
            Some((owner, log)) => Ok(Looked {
                log,
                owner: Some(owner),
            }),
            None => look(&self.path).await,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

type Joined = (Retry, Option<(Arc<Connection>, Wire)>);

impl Ears {
    /// Watches what lies beside the file, then joins its owner, if there is one.
    async fn listen_at(place: &Place) -> Result<Joined> {
        let retry = Retry::beside(place);
        Ok((retry, Self::owner(place).await?))
    }

    async fn owner(place: &Place) -> Result<Option<(Arc<Connection>, Wire)>> {
        match join(place, 0).await {
            Ok(joined) => Ok(Some(joined)),
            Err(NotJoined::Silent) => Ok(None),
            Err(NotJoined::Refused(error)) => Err(error),
        }
    }

    async fn keep(&self, place: Place, (mut retry, mut joined): Joined) -> Result<()> {
        loop {
            match joined.take() {
                Some((connection, wire)) => self.serve(&connection, wire).await,
                None => retry.until_changed().await,
            }
            // Whoever came or went may have changed anything.
            if Place::of(&place.file)? != place {
                return Err(replaced(&place));
            }
            joined = Self::owner(&place).await?;
            if let Some((connection, _)) = &joined {
                self.joins(connection);
            }
            self.news.anything();
        }
    }

    fn joins(&self, connection: &Arc<Connection>) {
        let log = Arc::new(LinkedLog::of(Arc::clone(connection)));
        *lock(&self.joined) = Some((connection.owner(), log));
    }

    async fn serve(&self, connection: &Arc<Connection>, wire: Wire) {
        connection.serve(wire, Ear::Follower(&self.news)).await;
        if let Some((_, log)) = lock(&self.joined).take() {
            log.turn_to(Source::Refused(Arc::new(gone())));
        }
    }
}

/// What a read is told whose owner went away meanwhile.
fn gone() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the owner of the store went away while it was asked",
    )
}

fn replaced(place: &Place) -> Error {
    let message = "the store's file was moved, replaced or deleted while it was followed";
    Error::new(ErrorKind::Unavailable, message).with_context("path", place.file.display())
}
