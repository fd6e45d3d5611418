//! A model provider on this machine that answers as a script says: for tests, without a cent.
//!
//! It speaks the `OpenAI` formats for chat completions (`../chat/completions`) and responses
//! (`../responses`), and Anthropic messages (`../messages`), whole and as a stream, on a free port of the loopback. It
//! counts what reaches it and keeps the bodies. `script` says what is answered, `wire` how that
//! looks, `play` sends it. `cargo run --bin model_server` starts it for any language.

mod play;
mod script;
mod wire;
mod wishes;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use play::{Shared, lock};
pub use script::{Answer, Completion, Failure, Fault, Json, Script, Stop, ToolCall, UsageIn};

/// A request that reached the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body; null where that is no JSON.
    pub body: Value,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that came in whole.
    pub received: usize,
    /// Pieces of text that were sent.
    pub pieces: usize,
    /// Answers whose client went away before their end.
    pub hung_up: usize,
}

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Starts a server on a free port, with a thread of its own.
    ///
    /// # Errors
    /// Where the operating system gives no port or no thread.
    pub fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            received: Mutex::default(),
            counts: watch::channel(Counts::default()).0,
            held: watch::channel(false).0,
        });
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("model-server".to_owned());
        let thread = thread.spawn(move || runtime.block_on(serve(listener, of_thread, stopped)))?;
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT` with a path after it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Puts an answer at the end of the queue.
    pub fn push(&self, answer: impl Into<Answer>) {
        lock(&self.shared.script).answers.push_back(answer.into());
    }

    /// From now on each answer is this one, whatever was still in the queue.
    pub fn answer_always(&self, answer: impl Into<Answer>) {
        *lock(&self.shared.script) = Script::always(answer);
    }

    /// From now on requests are taken in, and answered only once it is told to [`go_on`](Self::go_on).
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Answers what waits, and what comes.
    pub fn go_on(&self) {
        self.shared.held.send_replace(false);
    }

    /// The requests that reached it, in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Returns once the counts are as is asked; from any runtime.
    pub async fn until(&self, reached: impl FnMut(&Counts) -> bool) {
        let mut news = self.shared.counts.subscribe();
        // The sender lives as long as this handle.
        let _ = news.wait_for(reached).await.map(drop);
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has ended or will, whatever it says.
            let _ = thread.join();
        }
    }
}

/// Takes connections until it is told to stop; the runtime ends what is open then.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answer = service_fn(move |request| play::answer(Arc::clone(&shared), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // A connection that breaks is the client's to notice.
            let _ = connection.await;
        });
    }
}

#[cfg(test)]
mod tests;
