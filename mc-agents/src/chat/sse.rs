//! Server-sent events: bytes in, the data of each event out.

/// What has come of a stream that is no whole event yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    data: Vec<u8>,
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
        while let Some(length) = self.rest.iter().skip(from).position(|&byte| byte == b'\n') {
            let line = self.rest.get(from..from + length).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                let data = data.strip_prefix(b" ").unwrap_or(data);
                self.data.extend_from_slice(data);
            } else if line.is_empty() && !self.data.is_empty() {
                events.push(std::mem::take(&mut self.data));
            }
            from += length + 1;
        }
        self.rest.drain(..from);
        if self.rest.len() + self.data.len() > MAX_EVENT_BYTES {
            return Err("an event of the stream is larger than 16 MiB");
        }
        Ok(events)
    }
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
}
