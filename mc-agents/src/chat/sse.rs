//! Server-sent events: bytes in, the data of each event out.

/// What has come of a stream that is no whole event yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// How much of the rest is known to have no end of a line.
    scanned: usize,
    data: Vec<u8>,
    /// Whether the event under way has data: an empty line of it counts too.
    has_data: bool,
}

/// The most bytes of one event.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

impl Lines {
    /// Takes bytes and returns the data of every event that they complete.
    ///
    /// # Errors
    /// An event is larger than any that a provider sends.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut from = 0;
        // What was looked at before is not looked at again, however small the pieces are.
        while let Some(length) = position(self.rest.get(self.scanned..).unwrap_or_default()) {
            let end = self.scanned + length;
            let line = self.rest.get(from..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if self.has_data {
                    self.data.push(b'\n');
                }
                let data = data.strip_prefix(b" ").unwrap_or(data);
                self.data.extend_from_slice(data);
                self.has_data = true;
            } else if line.is_empty() && std::mem::take(&mut self.has_data) {
                let data = std::mem::take(&mut self.data);
                events.extend((!data.is_empty()).then_some(data));
            }
            from = end + 1;
            self.scanned = from;
        }
        self.rest.drain(..from);
        self.scanned = self.rest.len();
        if self.rest.len() + self.data.len() > MAX_EVENT_BYTES {
            return Err("an event of the stream is larger than 16 MiB");
        }
        Ok(events)
    }

    /// What the end of the stream completes: a last event whose line, or whose empty line, never came.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) fn end(&mut self) -> Result<Vec<Vec<u8>>, &'static str> {
        self.take(b"\n\n")
    }
}

fn position(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_however_its_bytes_are_cut() {
        let text = b": hi\n\nevent: a\r\ndata: {\"b\":1}\r\n\r\ndata:x\ndata: y\n\nid: 7\n\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let pieces = text.chunks(size).map(|piece| lines.take(piece).unwrap());
            let events: Vec<Vec<u8>> = pieces.flatten().collect();
            assert_eq!(events, [b"{\"b\":1}".to_vec(), b"x\ny".to_vec()], "{size}");
        }
    }

    #[test]
    fn the_end_of_a_stream_completes_its_last_event() {
        for (text, last) in [
            (&b"data: x"[..], 1),
            (b"data: x\n", 1),
            (b"data: x\r\n", 1),
            (b"data: x\n\n", 0),
            (b"", 0),
        ] {
            let mut lines = Lines::default();
            lines.take(text).unwrap();
            assert_eq!(lines.end().unwrap(), vec![b"x".to_vec(); last]);
        }
    }

    #[test]
    fn a_line_in_many_pieces_is_looked_through_once() {
        let mut lines = Lines::default();
        assert!(lines.take(b"data: ").unwrap().is_empty());
        for length in 1..=1_000 {
            assert!(lines.take(b"x").unwrap().is_empty());
            assert_eq!((lines.scanned, lines.rest.len()), (6 + length, 6 + length));
        }
        assert_eq!(lines.take(b"\n\n").unwrap(), [vec![b'x'; 1_000]]);
    }

    #[test]
    fn an_event_without_an_end_is_refused_once_it_is_too_large() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1024 * 1024];
        let taken = (0..17).map(|_| lines.take(&piece));
        assert!(taken.last().unwrap().is_err());
    }
}
