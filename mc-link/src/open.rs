//! Opening a store: as its owner where nobody has it, as one that joins the owner where somebody does.

use std::path::Path;
use std::sync::Arc;

use mc_core::engine::{Engine, MissionControl, Parts};
use mc_core::error::{Error, Result};
use mc_core::ports::EventLog;
use mc_store::RedbOptions;

use crate::client::{Connection, NotJoined, Wire, join};
use crate::keeper::{Keeper, is_taken};
use crate::linked_log::LinkedLog;
use crate::listener;
use crate::note::{self, Patience, Says};
use crate::opening::Opening;
use crate::place::Place;
use crate::retry::Retry;
use crate::server::Serving;
use crate::threads::LinkThread;

/// What was found at a path.
enum At {
    Owned(Arc<dyn EventLog>),
    Joined(Place, Arc<Connection>, Wire),
}

/// Opens a store: where another process owns it, this one joins it. `parts` makes the rest of the engine
/// for a log.
///
/// # Errors
/// As [`RedbOptions::open`]; `Unavailable` with `AlreadyOpen` where the owner does not answer, or the
/// reason that it gives where it refuses; as [`Engine::open_joinable`].
pub async fn open(
    opening: Opening,
    parts: impl FnOnce(Arc<dyn EventLog>) -> Result<Parts> + Send,
) -> Result<MissionControl> {
    let thread = LinkThread::start()?;
    let (path, redb) = (opening.path.clone(), opening.redb);
    match thread.run(async move { find(&path, redb).await }).await?? {
        At::Owned(log) => {
            // Whoever comes while the state is read back waits.
            if let Ok(place) = Place::of(&opening.path) {
                note::write(&place.file, &Says::Opening);
            }
            let control = Engine::open_joinable(parts(log)?).await?;
            serve(&control, &opening.path, &thread);
            Ok(control)
        }
        At::Joined(place, connection, wire) => {
            let log = Arc::new(LinkedLog::of(Arc::clone(&connection)));
            let parts = parts(Arc::<LinkedLog>::clone(&log))?;
            let port = Arc::<Connection>::clone(&connection);
            let (control, guest) = Engine::join(parts, port)?;
            let keeper = Keeper {
                guest: Arc::new(guest),
                log,
                place,
                redb: opening.redb,
                succession: opening.succession,
                thread: Arc::clone(&thread),
            };
            thread.spawn(keeper.keep(connection, wire));
            Ok(control)
        }
    }
}

/// Lets other processes join. Where there is no place for a socket, this process works alone.
fn serve(control: &MissionControl, path: &Path, thread: &Arc<LinkThread>) {
    let listening = Place::of(path).and_then(|place| {
        let owner = control.owner();
        let owner = owner.ok_or_else(|| Error::internal("an engine that owns its log has none"))?;
        let serving = Serving {
            owner,
            file: place.id,
            thread: Arc::clone(thread),
        };
        listener::listen(serving, &place)
    });
    if let Err(error) = listening {
        tracing::warn!(%error, "no other process can join this one");
    }
}

/// Opens the file, or finds who has it.
async fn find(path: &Path, redb: RedbOptions) -> Result<At> {
    let mut retry: Option<(Retry, Patience)> = None;
    loop {
        let taken = match redb.open(path) {
            Ok(log) => return Ok(At::Owned(Arc::new(log))),
            Err(error) if is_taken(&error) => error,
            Err(error) => return Err(error),
        };
        let place = Place::of(path)?;
        match join(&place, 0).await {
            Ok((connection, wire)) => return Ok(At::Joined(place, connection, wire)),
            Err(NotJoined::Refused(error)) => return Err(error),
            Err(NotJoined::Silent) => {}
        }
        let (retry, patience) =
            retry.get_or_insert_with(|| (Retry::beside(&place), Patience::from_now()));
        if patience.is_over(&place.file) {
            return Err(taken);
        }
        retry.wait().await;
    }
}
