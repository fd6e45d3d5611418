//! CSV that a spreadsheet does not take for formulas.

use std::io::{self, Write};

/// A CSV that is being written.
pub(super) struct Csv<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> Csv<W> {
    /// Begins with nothing.
    pub(super) fn new(out: W) -> Self {
        Self {
            writer: csv::Writer::from_writer(out),
        }
    }

    /// Writes a row.
    pub(super) fn row<T: AsRef<[u8]>>(
        &mut self,
        cells: impl IntoIterator<Item = T>,
    ) -> io::Result<()> {
        self.writer.write_record(cells).map_err(unwrapped)
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The fault as it was before it was wrapped: whoever asks has to see a closed pipe as one.
fn unwrapped(error: csv::Error) -> io::Error {
    let text = error.to_string();
    if let csv::ErrorKind::Io(error) = error.into_kind() {
        error
    } else {
        io::Error::other(text)
    }
}

/// Text that begins like a formula gets an apostrophe in front, as spreadsheets show text.
pub(super) fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that nobody reads.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_told_as_one() {
        let mut csv = Csv::new(Closed);
        let refused = (0..10_000).find_map(|_| csv.row(["a long enough cell"]).err());
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_looks_like_a_formula_is_text() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(safe(bad), format!("'{bad}"));
        }
        assert_eq!(safe("step.dispatched"), "step.dispatched");
    }
}
