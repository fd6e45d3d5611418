//! Where an agents file stands: its directory, and the environment of the process that reads it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a file's agents are looked up in.
#[derive(Clone)]
pub struct Place {
    dir: PathBuf,
    variable: fn(&str) -> Option<OsString>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// A directory, and the environment of this process.
    pub fn of(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let dir = if dir.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            dir
        };
        Self {
            dir,
            variable: |name| std::env::var_os(name),
        }
    }

    /// Another environment than that of this process.
    #[must_use]
    pub const fn with_environment(mut self, variable: fn(&str) -> Option<OsString>) -> Self {
        self.variable = variable;
        self
    }

    /// A path of the file: a relative one begins where the file lies.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// A variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Where the file lies, from wherever this process goes.
    pub(super) fn home(&self) -> PathBuf {
        std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone())
    }

    /// A program: by its path where it has a slash, from where the file lies; else in the directories
    /// of `PATH`, of which relative ones are not used: they would mean another place for whoever
    /// reads the file than for whoever runs it.
    pub(super) fn program(&self, name: &str) -> Result<PathBuf, String> {
        if name.contains('/') {
            let path = self.path(name);
            return match (path.is_file(), is_runnable(&path)) {
                (true, true) => Ok(std::path::absolute(&path).unwrap_or(path)),
                (true, false) => Err(format!("{} may not be run: chmod +x it", path.display())),
                (false, _) => Err(format!("there is no program {}", path.display())),
            };
        }
        let dirs = self.variable("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&dirs).filter(|dir| dir.is_absolute());
        let found = dirs
            .map(|dir| dir.join(name))
            .find(|path| path.is_file() && is_runnable(path));
        found.ok_or_else(|| format!("there is no program `{name}` in the directories of PATH"))
    }
}

#[cfg(unix)]
fn is_runnable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_runnable(_: &Path) -> bool {
    false
}
