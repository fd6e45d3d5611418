//! Where the owner of a file listens: beside it, or where the path is too long, in a directory of the
//! user's own under a name that follows from the file.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mc_core::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::note::{self, Says};

/// The longest path of a socket that every system takes, with room for the ending of a draft.
const LONGEST: usize = 84;

/// What tells one file from another of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// A store's file, and where its owner listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, by its real path.
    pub(crate) file: PathBuf,
    /// The file itself.
    pub(crate) id: FileId,
}

/// The user that this process runs as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

impl Place {
    /// The place of a file that is there.
    ///
    /// # Errors
    /// `Unavailable` where it is not, or cannot be looked at.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let look = || {
            let file = fs::canonicalize(path)?;
            let meta = fs::metadata(&file)?;
            let id = FileId {
                device: meta.dev(),
                inode: meta.ino(),
            };
            Ok(Self { file, id })
        };
        look().map_err(|error: io::Error| {
            Error::new(
                ErrorKind::Unavailable,
                "the store's file cannot be looked at",
            )
            .with_context("path", path.display())
            .with_source(error)
        })
    }

    /// Where whoever joins looks for its owner: where that says that it listens, then wherever it may.
    pub(crate) fn found_at(&self) -> Vec<PathBuf> {
        let said = match note::read(&self.file) {
            Some((_, Says::Listens(path))) => Some(path),
            Some((_, Says::Nothing | Says::Opening)) | None => None,
        };
        let said = said.filter(|path| path.is_absolute() && self.is_fit(path));
        let others = self.sockets().into_iter();
        let others = others.filter(|path| Some(path) != said.as_ref());
        said.iter().cloned().chain(others).collect()
    }

    /// Whether a socket is where nobody else can have put it.
    fn is_fit(&self, socket: &Path) -> bool {
        let dir = socket.parent().unwrap_or_else(|| Path::new("/"));
        Some(dir) == self.file.parent() || is_private(dir)
    }

    /// Where its owner may listen, the first choice first.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let mut beside = OsString::from(&self.file);
        beside.push(".sock");
        if beside.as_bytes().len() <= LONGEST {
            return vec![beside.into()];
        }
        let name = format!(
            "mission-control-{:x}-{:x}.sock",
            self.id.device, self.id.inode
        );
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|dir| dir.is_absolute() && is_private(dir));
        let places = runtime.into_iter().chain([temporary()]);
        let places = places.map(|dir| dir.join(&name));
        places
            .filter(|path| path.as_os_str().as_bytes().len() <= LONGEST)
            .collect()
    }

    /// Makes the directory of a socket where it is not the file's own.
    ///
    /// # Errors
    /// `Unavailable` where it belongs to somebody else, or is open to others.
    pub(crate) fn prepare(&self, socket: &Path) -> Result<()> {
        let dir = socket.parent().unwrap_or_else(|| Path::new("/"));
        if Some(dir) == self.file.parent() {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unfit(dir).with_source(error)),
        }
        if is_private(dir) {
            Ok(())
        } else {
            Err(unfit(dir))
        }
    }
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("mission-control-{}", own_uid()))
}

/// Whether a directory is this user's, and nobody else may change it.
fn is_private(dir: &Path) -> bool {
    let meta = fs::symlink_metadata(dir);
    meta.is_ok_and(|meta| {
        meta.is_dir() && meta.uid() == own_uid() && meta.permissions().mode() & 0o022 == 0
    })
}

fn unfit(dir: &Path) -> Error {
    let message = "the directory for the socket is not this user's alone";
    Error::new(ErrorKind::Unavailable, message).with_context("path", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_lies_beside_its_file_by_its_real_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.redb");
        fs::write(&file, b"x").unwrap();
        let link = dir.path().join("b.redb");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let place = Place::of(&link).unwrap();
        assert_eq!(place, Place::of(&file).unwrap());
        let real = fs::canonicalize(&file).unwrap();
        assert_eq!(place.sockets(), [real.with_extension("redb.sock")]);
    }

    #[test]
    fn a_path_that_is_too_long_moves_the_socket_to_a_directory_of_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        let file = deep.join("a.redb");
        fs::write(&file, b"x").unwrap();
        let place = Place::of(&file).unwrap();
        let sockets = place.sockets();
        assert!(!sockets.is_empty());
        for socket in sockets {
            assert!(socket.as_os_str().len() <= LONGEST, "{}", socket.display());
            place.prepare(&socket).unwrap();
            let mode = fs::metadata(socket.parent().unwrap()).unwrap().mode();
            assert_eq!(mode & 0o022, 0);
        }
    }

    #[test]
    fn an_owner_is_looked_for_where_it_says_and_only_where_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.redb");
        fs::write(&file, b"x").unwrap();
        let place = Place::of(&file).unwrap();
        let (private, open) = (dir.path().join("private"), dir.path().join("open"));
        for (dir, mode) in [(&private, 0o700), (&open, 0o777)] {
            fs::create_dir(dir).unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
        }
        let said = private.join("s.sock");
        note::write(&place.file, &Says::Listens(said.clone()));
        assert_eq!(place.found_at(), [vec![said], place.sockets()].concat());
        note::write(&place.file, &Says::Listens(open.join("s.sock")));
        assert_eq!(place.found_at(), place.sockets());
    }

    #[test]
    fn a_directory_that_others_may_change_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let file = dir.path().join("a.redb");
        fs::write(&file, b"x").unwrap();
        let place = Place::of(&file).unwrap();
        assert!(place.prepare(&open.join("s.sock")).is_err());
    }
}
