//! The owner's socket: made by whoever holds the file's lock, and by nobody else.
//!
//! A socket that a dead owner left behind is replaced by renaming a new one over it: there is no moment
//! without a socket, and none at which it is open to other users.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mc_core::error::{Error, ErrorKind, Result};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::note::{self, Says};
use crate::place::Place;
use crate::server::{Serving, serve};

/// A socket in the file system, taken away when its owner goes in peace.
#[derive(Debug)]
struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The lock is still held: whoever comes next makes its own.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode);
        if ours {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn bind(place: &Place) -> Result<(UnixListener, Socket)> {
    let unfit = |path: &Path| {
        let message = "other processes cannot join this one: there is no place for the socket";
        Error::new(ErrorKind::Unavailable, message).with_context("path", path.display())
    };
    let mut last = unfit(&place.file);
    for path in place.sockets() {
        match place.prepare(&path).and_then(|()| bind_at(&path)) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = unfit(&path).with_source(error),
        }
    }
    Err(last)
}

fn bind_at(path: &Path) -> Result<(UnixListener, Socket)> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Unavailable, "the socket cannot be made").with_source(error)
    };
    // Short: a socket's path has few bytes.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    // A draft of this name is left by a dead process that had our id.
    drop(fs::remove_file(&draft));
    let listener = UnixListener::bind(&draft).map_err(failed)?;
    let finish = || {
        fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(&draft)?.ino();
        fs::rename(&draft, path)?;
        Ok(inode)
    };
    match finish() {
        Ok(inode) => {
            let path = path.to_owned();
            Ok((listener, Socket { path, inode }))
        }
        Err(error) => {
            drop(fs::remove_file(&draft));
            Err(failed(error))
        }
    }
}

/// Listens until the engine is shut down. The caller holds the file's lock.
///
/// # Errors
/// `Unavailable` where there is no place for the socket.
pub(crate) fn listen(serving: Serving, place: &Place) -> Result<()> {
    let thread = serving.thread.clone();
    let place = place.clone();
    let bound = {
        // A listener belongs to the runtime that it is made on.
        let _inside = thread.enter();
        bind(&place)
    };
    let bound = bound.inspect_err(|_| note::write(&place.file, &Says::Nothing))?;
    note::write(&place.file, &Says::Listens(bound.1.path.clone()));
    thread.spawn(accept(serving, bound));
    Ok(())
}

async fn accept(serving: Serving, (listener, socket): (UnixListener, Socket)) {
    let owner = serving.owner.clone();
    let stopped = owner.stopped();
    let mut stopped = std::pin::pin!(stopped);
    let mut joined = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    joined.spawn(serve(serving.clone(), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a process that wants to join cannot be heard");
                    // Too many open files, say: the next one may fare better.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(_) = joined.join_next(), if !joined.is_empty() => {}
        }
    }
    drop(socket);
    // Whoever has joined sees the end of the stream and looks for the next owner.
    joined.shutdown().await;
}
