//! Files of recorded runs: JSON lines, plain or gzip, read strictly.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use mc_core::error::{Error, ErrorKind, Result};

use super::form::RunForm;
use super::run::RecordedRun;

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The longest line, in bytes (64 MiB).
const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a file of recorded runs; what it is packed with is seen from its first bytes.
///
/// # Errors
/// `NotFound` without such a file, `Unavailable` with the cause where it cannot be read, as a
/// packed file that is cut short; `InvalidInput` with the line that is wrong. Each names the file.
pub fn read_runs(path: impl AsRef<Path>) -> Result<Vec<RecordedRun>> {
    let path = path.as_ref();
    if path.is_dir() {
        let message = format!("{} is a directory", path.display());
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    let file = File::open(path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Error::not_found("file of recorded runs", path.display()).with_source(e)
        } else {
            unreadable(e).with_context("file", path.display())
        }
    })?;
    read(file).map_err(|error| error.with_context("file", path.display()))
}

fn read(file: File) -> Result<Vec<RecordedRun>> {
    let mut file = BufReader::new(file);
    let packed = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP);
    if packed {
        parse_runs(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        parse_runs(file)
    }
}

fn unreadable(source: std::io::Error) -> Error {
    let cause = if source.kind() == std::io::ErrorKind::UnexpectedEof {
        "the packed file is cut short".to_owned()
    } else {
        source.to_string()
    };
    let message = format!("the recorded runs cannot be read: {cause}");
    Error::new(ErrorKind::Unavailable, message).with_source(source)
}

/// Reads recorded runs, one a line, in the order of the lines.
///
/// # Errors
/// `InvalidInput` with the line that is wrong: not of the format, longer than 64 MiB, or with the
/// id of a line before it.
pub fn parse_runs(mut lines: impl BufRead) -> Result<Vec<RecordedRun>> {
    let mut runs = Vec::new();
    let mut ids = BTreeSet::new();
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        let most = MAX_LINE_BYTES + 1;
        let read = (&mut lines).take(most).read_until(b'\n', &mut text);
        if read.map_err(unreadable)? == 0 {
            break;
        }
        let run =
            parse_line(&text).map_err(|rule| Error::invalid(format!("line {number}"), rule))?;
        if !ids.insert(run.id.clone()) {
            let rule = format!("the id `{}` stands in an earlier line", run.id);
            return Err(Error::invalid(format!("line {number}"), rule));
        }
        runs.push(run);
    }
    Ok(runs)
}

fn parse_line(text: &[u8]) -> std::result::Result<RecordedRun, String> {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_LINE_BYTES {
        return Err("a line is at most 64 MiB".to_owned());
    }
    let form: RunForm = serde_json::from_slice(text).map_err(|e| place(&e))?;
    form.check()
}

/// What is wrong, with the column: the line is the file's, not that of the parser.
fn place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let tail = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&tail) {
        Some(rule) => format!("{rule} at column {}", error.column()),
        None => text,
    }
}
