//! Frames: a length of four bytes, big-endian, and so many bytes of JSON.
//!
//! A frame that is longer than its limit, cut short, or not what is expected ends the connection; no
//! length is believed before it was held against the limit.

use std::io;

use mc_core::error::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest frame: a part of 64 MiB in base64, with room for what stands around it.
pub(crate) const MAX_FRAME: usize = 128 * 1024 * 1024;
/// The longest first frame: nobody is known yet.
pub(crate) const MAX_HELLO: usize = 64 * 1024;

/// What is read of a frame at a time, so that a length alone takes no memory.
const PIECE: usize = 64 * 1024;

/// A message as it goes over the socket.
///
/// # Errors
/// `InvalidInput` for a message longer than a frame.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)
        .map_err(|e| Error::internal("a message has no form as JSON").with_source(e))?;
    let length = bytes.len().saturating_sub(4);
    let known = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
    let Some(known) = known else {
        let rule = format!("a message to another process has at most {MAX_FRAME} bytes");
        return Err(Error::invalid("message", rule));
    };
    if let Some(head) = bytes.get_mut(..4) {
        head.copy_from_slice(&known.to_be_bytes());
    }
    Ok(bytes)
}

/// Reads a frame of at most `most` bytes; none at the end of the stream.
///
/// # Errors
/// `Corrupt` for a frame that is too long, cut short or not the message that is expected;
/// `Unavailable` where the socket fails.
pub(crate) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<Option<T>> {
    let mut head = [0; 4];
    match from.read(&mut head).await.map_err(|e| failed(&e))? {
        0 => return Ok(None),
        4 => {}
        n => {
            let rest = head.get_mut(n..).unwrap_or_default();
            from.read_exact(rest).await.map_err(|e| failed(&e))?;
        }
    }
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > most {
        return Err(rubbish(&format!("a frame of {length} bytes")));
    }
    let mut bytes = Vec::with_capacity(length.min(PIECE));
    while bytes.len() < length {
        let piece = (length - bytes.len()).min(PIECE);
        let start = bytes.len();
        bytes.resize(start + piece, 0);
        let part = bytes.get_mut(start..).unwrap_or_default();
        from.read_exact(part).await.map_err(|e| failed(&e))?;
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| rubbish("a message of another form").with_source(e))
}

fn rubbish(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the other end of the socket sent {what}"),
    )
}

fn failed(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return rubbish("a frame that is cut short");
    }
    let kind = error.kind();
    Error::new(ErrorKind::Unavailable, "the socket failed").with_source(io::Error::from(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn block<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    fn read_all(mut bytes: &[u8], most: usize) -> Result<Option<Value>> {
        block(read::<Value>(&mut bytes, most))
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let message = json!({"a": [1, "x"], "b": null});
        let bytes = encode(&message).unwrap();
        assert_eq!(read_all(&bytes, MAX_FRAME).unwrap(), Some(message));
    }

    #[test]
    fn the_end_of_the_stream_is_no_fault() {
        assert_eq!(read_all(&[], MAX_FRAME).unwrap(), None);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_it_is_read() {
        let bytes = encode(&json!("x".repeat(100))).unwrap();
        let error = read_all(&bytes, 50).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        // The length alone is enough to know.
        let error = read_all(&u32::MAX.to_be_bytes(), MAX_FRAME).unwrap_err();
        assert!(error.message().contains("4294967295 bytes"), "{error}");
    }

    #[test]
    fn a_frame_that_is_cut_short_is_refused_wherever_it_ends() {
        let bytes = encode(&json!({"a": 1})).unwrap();
        for end in 1..bytes.len() {
            let error = read_all(&bytes[..end], MAX_FRAME).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{end}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let text = "[".repeat(100_000);
        let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(text.as_bytes());
        assert_eq!(
            read_all(&bytes, MAX_FRAME).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }

    proptest! {
        #[test]
        fn rubbish_never_passes_for_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            // It is refused, or it happens to be JSON: nothing else.
            if let Ok(Some(value)) = read_all(&bytes, MAX_HELLO) {
                let length = usize::try_from(u32::from_be_bytes(bytes[..4].try_into().unwrap())).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes[4..4 + length]).unwrap(), value);
            }
        }
    }
}
