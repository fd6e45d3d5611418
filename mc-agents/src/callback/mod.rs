//! Where a remote agent answers later: an address of this process, one for every step that is asked.
//!
//! The address of a step is made of its run, its effect key and a token, the HMAC-SHA256 of both under
//! a secret of the host's. So nothing is kept: whoever has the secret knows the addresses that were
//! given out before a restart. What is *not* here: taking an answer in (`door`), asking (`http`).

mod door;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mc_core::engine::MissionControl;
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::id::{Digest, Opaque, RunId};
use reqwest::Url;
use ring::hmac;
use tokio::sync::oneshot;

use crate::endpoint::Secret;

/// The shortest secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// What every name begins with of a signal that a remote agent answers by.
const REPLY: &str = "reply:";

/// Where this process listens, and by which address others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackSpec {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// What stands before the path for others; none for `http://` and where it listens.
    pub url: Option<Url>,
    /// What tokens are made with: as long as it stays, addresses given out stay good.
    pub secret: Secret,
}

/// A place to answer later. Clones are the same place.
#[derive(Clone)]
pub struct Callback(Arc<Shared>);

struct Shared {
    spec: CallbackSpec,
    key: hmac::Key,
    /// What addresses begin with; none while nobody listens.
    base: Mutex<Option<String>>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("spec", &self.0.spec)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Callback {
    fn eq(&self, other: &Self) -> bool {
        self.0.spec == other.0.spec
    }
}

impl Eq for Callback {}

/// Answers are taken in as long as this lives, on a thread of its own.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    callback: Callback,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens no more; nothing of it holds the store once this returns.
    pub fn close(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It was told to end: that is all it can say.
            let _ = thread.join();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.callback.set_base(None);
    }
}

impl Callback {
    /// A place to answer later, at which nobody listens yet.
    ///
    /// # Errors
    /// `InvalidInput` for a secret of less than 32 bytes.
    pub fn new(spec: CallbackSpec) -> Result<Self> {
        if spec.secret.bytes().len() < MIN_SECRET_BYTES {
            let rule = format!("a secret has at least {MIN_SECRET_BYTES} characters");
            return Err(Error::invalid("secret", rule));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, spec.secret.bytes());
        let base = Mutex::default();
        Ok(Self(Arc::new(Shared { spec, key, base })))
    }

    /// Listens: what is answered at a step's address signals its run. From now on http agents that
    /// have this place are given it.
    ///
    /// # Errors
    /// `Unavailable` where nobody can listen there.
    pub fn listen(&self, control: &MissionControl) -> Result<Listening> {
        let wanted = self.0.spec.listen;
        let cannot = |error: std::io::Error| {
            let message = format!("nobody can listen for callbacks at {wanted}");
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        let listener = TcpListener::bind(wanted).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        // Whatever runtime the host has, if any: it may do without sockets or without time.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(cannot)?;
        let (stop, stopped) = oneshot::channel();
        let serving = door::serve(listener, (self.clone(), control.clone()), stopped);
        let thread = std::thread::Builder::new().name("callbacks".to_owned());
        let thread = thread.spawn(move || runtime.block_on(serving));
        let thread = thread.map_err(cannot)?;
        self.set_base(Some(match &self.0.spec.url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        }));
        Ok(Listening {
            address,
            callback: self.clone(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The address of a step, while somebody listens.
    pub(crate) fn url(&self, run: RunId, effect_key: Digest) -> Option<String> {
        let (run, key) = (run.to_string(), effect_key.to_string());
        let token = self.token(&run, &key)?;
        let base = self.0.base.lock().unwrap_or_else(PoisonError::into_inner);
        let base = base.as_deref()?;
        Some(format!("{base}/{PATH}/{run}/{key}/{token}"))
    }

    /// The token of a step, written as a digest is.
    fn token(&self, run: &str, effect_key: &str) -> Option<Digest> {
        let tag = hmac::sign(&self.0.key, &signed(run, effect_key));
        tag.as_ref().try_into().ok().map(Digest::from_bytes)
    }

    /// Whether a token is the one of a step; takes as long whatever it is.
    fn is_token(&self, run: &str, effect_key: &str, token: &str) -> bool {
        let Ok(token) = token.parse::<Digest>() else {
            return false;
        };
        let signed = signed(run, effect_key);
        hmac::verify(&self.0.key, &signed, token.as_bytes()).is_ok()
    }

    fn set_base(&self, base: Option<String>) {
        *self.0.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
    }
}

/// What stands between what an address begins with and its run.
const PATH: &str = "reply";

/// What a token is made of.
fn signed(run: &str, effect_key: &str) -> Vec<u8> {
    format!("mission-control callback 1\0{run}\0{effect_key}").into_bytes()
}

/// The signal that a step's later answer comes by.
pub(crate) fn reply_signal(effect_key: impl fmt::Display) -> String {
    format!("{REPLY}{effect_key}")
}

/// Whether a signal of this name is a remote agent's later answer.
pub fn is_reply(signal: &Opaque) -> bool {
    signal.as_str().starts_with(REPLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(secret: &str) -> Callback {
        let spec = CallbackSpec {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            url: None,
            secret: Secret::new(secret.repeat(32)),
        };
        Callback::new(spec).unwrap()
    }

    #[test]
    fn a_token_is_that_of_its_run_its_key_and_its_secret() {
        let (one, other) = (callback("a"), callback("b"));
        let token = one.token("r", "k").unwrap().to_string();
        assert!(one.is_token("r", "k", &token));
        assert!(!one.is_token("s", "k", &token));
        assert!(!one.is_token("r", "l", &token));
        assert!(!other.is_token("r", "k", &token));
        for bad in ["", "0", "zz", &token[2..], &format!("{token}00")] {
            assert!(!one.is_token("r", "k", bad), "{bad}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_nobody_is_given_a_place_where_nobody_listens() {
        let short = CallbackSpec {
            secret: Secret::new("short".to_owned()),
            ..callback("a").0.spec.clone()
        };
        assert!(Callback::new(short).is_err());
        let run = RunId::from_bytes([1; 16]);
        assert_eq!(callback("a").url(run, Digest::of(&[b"k"])), None);
    }
}
