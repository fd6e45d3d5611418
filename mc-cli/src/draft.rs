//! A new file that appears whole or not at all, and never in the place of another.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is being written beside its place.
#[derive(Debug)]
pub(crate) struct Draft {
    out: BufWriter<File>,
    beside: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Begins a file for a place where nothing is yet.
    ///
    /// # Errors
    /// `AlreadyExists` where there is something, even a link to nothing.
    pub(crate) fn begin(place: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(place).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.draft", std::process::id()));
        let draft = place.with_file_name(hidden);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&draft)?;
        Ok(Self {
            out: BufWriter::new(file),
            beside: draft,
            place: place.to_owned(),
        })
    }

    /// Puts the file in its place, once every byte of it is on the disk.
    ///
    /// # Errors
    /// `AlreadyExists` where somebody else took the place meanwhile.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        match fs::hard_link(&self.beside, &self.place) {
            // A disk without links: renaming takes the place too.
            Err(error)
                if error.kind() != io::ErrorKind::AlreadyExists
                    && fs::symlink_metadata(&self.place).is_err() =>
            {
                fs::rename(&self.beside, &self.place)
            }
            linked => linked,
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // In its place it has another name; a draft that was renamed is not there any more.
        drop(fs::remove_file(&self.beside));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("log");
        let mut draft = Draft::begin(&place).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_is_taken_meanwhile_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("log");
        let mut draft = Draft::begin(&place).unwrap();
        draft.write_all(b"mine").unwrap();
        fs::write(&place, "theirs").unwrap();
        let refused = draft.finish().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&place).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
