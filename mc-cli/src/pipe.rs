//! The stream of results, which may be closed by whoever reads it: they want no more, and no error.

use std::io::{self, ErrorKind, Write};

/// What a command does when nobody reads its results any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnClose {
    /// It stops: there is nothing to do but to tell.
    Stop,
    /// It goes on in silence: what it does matters more than what it says.
    GoOn,
}

/// The stream, and whether it was closed.
pub(crate) struct Pipe<'a> {
    out: &'a mut dyn Write,
    on_close: OnClose,
    closed: bool,
}

impl<'a> Pipe<'a> {
    /// An open stream.
    pub(crate) fn new(out: &'a mut dyn Write, on_close: OnClose) -> Self {
        Self {
            out,
            on_close,
            closed: false,
        }
    }

    /// Whether its reader closed it.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    fn heard<T>(&mut self, done: io::Result<T>, silence: T) -> io::Result<T> {
        match done {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                match self.on_close {
                    OnClose::Stop => Err(error),
                    OnClose::GoOn => Ok(silence),
                }
            }
            done => done,
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed && self.on_close == OnClose::GoOn {
            return Ok(bytes.len());
        }
        let done = self.out.write(bytes);
        self.heard(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.heard(done, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that nobody reads.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_closed_stream_stops_what_only_tells_and_not_what_acts() {
        for (on_close, told) in [(OnClose::Stop, false), (OnClose::GoOn, true)] {
            let mut closed = Closed;
            let mut pipe = Pipe::new(&mut closed, on_close);
            assert!(!pipe.is_closed());
            assert_eq!(pipe.write_all(b"x").is_ok(), told);
            assert_eq!(pipe.flush().is_ok(), told);
            assert!(pipe.is_closed());
        }
    }
}
