//! Looking at a store without the engine: the file itself where nobody has it, its owner's answers
//! where somebody does.

use std::path::Path;
use std::sync::Arc;

use mc_core::error::{Error, Result};
use mc_store::RedbLog;

use crate::client::{Ear, NotJoined, join};
use crate::keeper::is_taken;
use crate::linked_log::{LinkedLog, Source};
use crate::note::Patience;
use crate::opening::Looked;
use crate::place::Place;
use crate::retry::Retry;
use crate::threads::LinkThread;

/// Opens a store to read; nothing in the file changes.
///
/// # Errors
/// As [`RedbLog::open_read_only`]; `Unavailable` with `AlreadyOpen` where another process owns it and
/// does not answer, or the reason that it gives where it refuses.
pub async fn look(path: &Path) -> Result<Looked> {
    let taken = match RedbLog::open_read_only(path) {
        Ok(log) => {
            let log = Arc::new(log);
            return Ok(Looked { log, owner: None });
        }
        Err(error) if is_taken(&error) => error,
        Err(error) => return Err(error),
    };
    let thread = LinkThread::start()?;
    let (asking, path) = (Arc::clone(&thread), path.to_owned());
    thread
        .run(async move { ask(&asking, &path, taken).await })
        .await?
}

async fn ask(thread: &Arc<LinkThread>, path: &Path, mut taken: Error) -> Result<Looked> {
    let place = Place::of(path)?;
    let mut retry = Retry::beside(&place);
    let patience = Patience::from_now();
    loop {
        match join(&place, 0).await {
            Ok((connection, wire)) => {
                let owner = Some(connection.owner());
                let log = Arc::new(LinkedLog::of(Arc::clone(&connection)));
                let asked = Arc::clone(&log);
                thread.spawn(async move {
                    connection.serve(wire, Ear::Nobody).await;
                    asked.turn_to(Source::Refused(Arc::new(taken)));
                });
                return Ok(Looked { log, owner });
            }
            Err(NotJoined::Refused(error)) => return Err(error),
            Err(NotJoined::Silent) => {}
        }
        // Its owner may have gone meanwhile.
        match RedbLog::open_read_only(path) {
            Ok(log) => {
                let log = Arc::new(log);
                return Ok(Looked { log, owner: None });
            }
            Err(error) if !is_taken(&error) || patience.is_over(&place.file) => return Err(error),
            Err(error) => taken = error,
        }
        retry.wait().await;
    }
}
