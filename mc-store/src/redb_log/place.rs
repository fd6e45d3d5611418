//! The file's place: what lies beside it, and whether it is still there.
//!
//! Beside the file `F` lie `F.owner`, the owner's process id as a hint for whoever is refused, and
//! `F.reserve`, 4 MiB that are given back when the disk is full, so that the last events fit. Both
//! may be missing: neither is needed to read or write the file.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mc_core::error::{Error, Result};
use tracing::warn;

use super::fault;

/// The size of the reserve file.
pub(super) const RESERVE_BYTES: usize = 4 * 1024 * 1024;

/// Where a store lies and which file it was when it was opened.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    identity: Identity,
}

/// What tells one file from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
fn identity(meta: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    Identity {
        device: meta.dev(),
        inode: meta.ino(),
    }
}

/// Where files have no number, only a missing one is noticed.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    Identity {
        device: 0,
        inode: 0,
    }
}

/// The path of a file beside `path`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// The process that says that it has the file.
pub(super) fn owner(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(beside(path, ".owner")).ok()?;
    // What else it says of itself is for whoever talks to it.
    text.lines().next()?.trim().parse().ok()
}

impl Place {
    pub(super) fn of(path: &Path, file: &File) -> io::Result<Self> {
        // An absolute path still leads there when the process changes its directory.
        Ok(Self {
            path: std::path::absolute(path)?,
            identity: identity(&file.metadata()?),
        })
    }

    /// Whether the path still leads to the file that was opened.
    pub(super) fn is_kept(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| identity(&meta) == self.identity)
    }

    /// Refuses to go on with a file that was moved or deleted: what is written to it would be
    /// gone with the process.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_kept() {
            return Ok(());
        }
        Err(
            fault::unavailable("the file was moved, replaced or deleted while it was open")
                .with_context("path", self.path.display()),
        )
    }

    /// Says whose the file is. A hint: if it cannot be written, whoever is refused gets none.
    pub(super) fn claim(&self) {
        let text = format!("{}\n", std::process::id());
        if let Err(error) = fs::write(beside(&self.path, ".owner"), text) {
            warn!(%error, "the owner file cannot be written");
        }
    }

    /// Takes the owner's name away.
    pub(super) fn unclaim(&self) {
        if owner(&self.path) == Some(std::process::id()) {
            drop(fs::remove_file(beside(&self.path, ".owner")));
        }
    }

    /// Whether the reserve is there.
    pub(super) fn has_reserve(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|meta| meta.len() == RESERVE_BYTES as u64)
    }

    /// Gives the reserve's room back to the disk; tells whether there was one.
    pub(super) fn release_reserve(&self) -> bool {
        let there = self.has_reserve();
        there && fs::remove_file(self.reserve()).is_ok()
    }

    /// Takes the room of the reserve, if the disk has it.
    pub(super) fn keep_reserve(&self) {
        if self.has_reserve() {
            return;
        }
        if let Err(error) = write_reserve(&self.reserve()) {
            warn!(%error, "there is no room for the reserve file");
            drop(fs::remove_file(self.reserve()));
        }
    }

    fn reserve(&self) -> PathBuf {
        beside(&self.path, ".reserve")
    }
}

/// Writes real bytes: a file that is only long would hold no room.
fn write_reserve(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let block = vec![0x5a; 64 * 1024];
    for _ in 0..RESERVE_BYTES / block.len() {
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// Warns where the file lies on a disk that forgets or that others share.
pub(super) fn warn_of_disk(path: &Path) {
    let mounts = || fs::read_to_string("/proc/self/mounts").ok();
    let whole = fs::canonicalize(path).ok();
    let kind = whole
        .zip(mounts())
        .and_then(|(whole, all)| file_system(&whole, &all));
    if let Some(why) = kind.as_deref().and_then(unfit) {
        warn!(path = %path.display(), kind, "{why}");
    }
}

/// What is to be said of a kind of file system, where a store should not lie on it.
fn unfit(kind: &str) -> Option<&'static str> {
    let network = ["nfs", "cifs", "smb", "9p", "fuse.sshfs"];
    if matches!(kind, "tmpfs" | "ramfs") {
        Some("the store lies in memory and ends with the machine")
    } else if network.iter().any(|name| kind.starts_with(name)) {
        Some("file locks over a network may not hold")
    } else {
        None
    }
}

/// The type of the file system that has the longest mount point above a path, by the list of mounts
/// (Linux), which writes a space in a path as `\\040`.
fn file_system(path: &Path, mounts: &str) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?.replace("\\040", " "), fields.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}

/// The directory of a path has to be there.
pub(super) fn check_parent(path: &Path) -> Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => Err(Error::invalid(
            "path",
            format!("the directory `{}` does not exist", parent.display()),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb1 /tmp/kept xfs rw 0 0
server:/x /mnt/a\\040b nfs4 rw 0 0
host /mnt/share fuse.sshfs rw 0 0
";

    fn told(path: &str) -> Option<&'static str> {
        file_system(Path::new(path), MOUNTS)
            .as_deref()
            .and_then(unfit)
    }

    #[test]
    fn a_disk_that_forgets_or_that_others_share_is_warned_of() {
        assert!(
            told("/tmp/a.redb")
                .unwrap()
                .contains("ends with the machine")
        );
        assert!(told("/mnt/a b/a.redb").unwrap().contains("over a network"));
        assert!(
            told("/mnt/share/a.redb")
                .unwrap()
                .contains("over a network")
        );
    }

    #[test]
    fn a_disk_of_this_machine_is_not_warned_of() {
        for path in [
            "/home/a.redb",
            "/tmp/kept/a.redb",
            "/tmpfs/a.redb",
            "/mnt/a.redb",
        ] {
            assert_eq!(told(path), None, "{path}");
        }
        assert_eq!(file_system(Path::new("/x"), ""), None);
    }

    #[test]
    fn the_mounts_of_this_machine_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        warn_of_disk(&dir.path().join("a.redb"));
        if let Ok(mounts) = fs::read_to_string("/proc/self/mounts") {
            let path = fs::canonicalize(dir.path()).unwrap();
            assert!(file_system(&path, &mounts).is_some());
        }
    }
}
