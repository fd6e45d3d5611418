//! What an owner says of itself beside its file: the second line of `F.owner`, whose first one is the
//! store's and names the process.
//!
//! It says that it is about to listen, or where it listens: whoever joins may have another environment,
//! in which it would look elsewhere. A hint, as the file itself: a socket that is named here is held
//! against the same rules as any other (`place`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tokio::time::Instant;

/// How long an owner that does not answer is waited for: it may be about to go.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long an owner is waited for that reads its state back before it listens.
const OPENING: Duration = Duration::from_secs(60);

/// The second line of an owner that does not listen yet.
const NOT_YET: &[u8] = b"opening";

/// What an owner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// Nothing: it does not listen.
    Nothing,
    /// It reads its state back, and listens then.
    Opening,
    /// It listens there.
    Listens(PathBuf),
}

fn place_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".owner");
    name.into()
}

/// Says something beside a file that this process owns.
pub(crate) fn write(file: &Path, says: &Says) {
    let mut text = format!("{}\n", std::process::id()).into_bytes();
    let line = match says {
        Says::Nothing => None,
        Says::Opening => Some(NOT_YET),
        Says::Listens(path) => Some(path.as_os_str().as_bytes()),
    };
    if let Some(line) = line.filter(|line| !line.contains(&b'\n')) {
        text.extend(line);
        text.push(b'\n');
    }
    if let Err(error) = fs::write(place_of(file), text) {
        tracing::warn!(%error, "whoever joins is not told where its owner listens");
    }
}

/// The process that says that it owns a file, and what else it says.
pub(crate) fn read(file: &Path) -> Option<(u32, Says)> {
    let text = fs::read(place_of(file)).ok()?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let pid = std::str::from_utf8(lines.next()?).ok()?;
    let says = match lines.next().filter(|line| !line.is_empty()) {
        None => Says::Nothing,
        Some(line) if line == NOT_YET => Says::Opening,
        Some(line) => Says::Listens(OsString::from_vec(line.to_vec()).into()),
    };
    Some((pid.trim().parse().ok()?, says))
}

/// Whether a file's owner is not up yet: it says so, or has not come to say anything.
fn is_coming_up(file: &Path) -> bool {
    match read(file) {
        Some((pid, says)) if is_there(pid) => says == Says::Opening,
        // Left by one that died before.
        Some(_) | None => true,
    }
}

fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// How long whoever finds a file taken waits for its owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    since: Instant,
}

impl Patience {
    pub(crate) fn from_now() -> Self {
        let since = Instant::now();
        Self { since }
    }

    /// Whether it has waited long enough.
    pub(crate) fn is_over(&self, file: &Path) -> bool {
        let most = if is_coming_up(file) {
            OPENING
        } else {
            PATIENCE
        };
        self.since.elapsed() >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_says_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.redb");
        assert_eq!(read(&file), None);
        assert!(is_coming_up(&file));
        let there = Says::Listens(dir.path().join("s.sock"));
        for says in [Says::Nothing, Says::Opening, there] {
            write(&file, &says);
            assert_eq!(read(&file), Some((std::process::id(), says.clone())));
            assert_eq!(is_coming_up(&file), says == Says::Opening);
        }
    }

    #[test]
    fn what_a_dead_owner_left_says_nothing_of_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.redb");
        fs::write(place_of(&file), "4294967295\n/tmp/s.sock\n").unwrap();
        assert!(is_coming_up(&file));
    }
}
