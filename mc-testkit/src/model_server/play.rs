//! Answering: what came in is kept, and the next answer of the script is played.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, Stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::watch;

use super::script::{Answer, Completion, Fault, Script};
use super::wire::{Api, Event};
use super::{Counts, Received};

/// What the server's thread and its handle share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) script: Mutex<Script>,
    pub(super) received: Mutex<Vec<Received>>,
    pub(super) counts: watch::Sender<Counts>,
    /// Whether answers are held back.
    pub(super) held: watch::Sender<bool>,
}

/// The connection is to break.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script cuts the connection here")
    }
}

impl std::error::Error for Cut {}

type Body = UnsyncBoxBody<Bytes, Cut>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers a request.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    // A client that goes away while it asks has not asked.
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let text =
        |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let api = Api::of(head.uri.path());
    lock(&shared.received).push(Received {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: headers.collect(),
        body: asked.clone(),
    });
    let next = lock(&shared.script).next();
    shared.counts.send_modify(|counts| counts.received += 1);
    // The sender lives as long as what it is shared with.
    let _ = { shared.held.subscribe() }
        .wait_for(|held| !held)
        .await
        .map(drop);
    match (next, api) {
        (Answer::Completion(answer), Some(api)) => Ok(complete(shared, api, *answer, &asked).await),
        (Answer::Completion(_), None) => {
            let body = Api::error(None, 404, "no model answers on this path");
            Ok(json(404, None, &body))
        }
        (Answer::Failure(failure), api) => {
            let body = Api::error(api, failure.status, &failure.message);
            Ok(json(failure.status, failure.retry_after.as_deref(), &body))
        }
        (Answer::Json(scripted), _) => Ok(json(scripted.status, None, &scripted.body)),
    }
}

async fn complete(
    shared: Arc<Shared>,
    api: Api,
    answer: Completion,
    asked: &Value,
) -> Response<Body> {
    tokio::time::sleep(Duration::from_millis(answer.delay_ms)).await;
    let streamed = asked["stream"] == true;
    let events = if streamed {
        api.stream(&answer, asked)
    } else {
        // A whole body breaks off like a stream of two pieces.
        halves(&api.whole(&answer, asked).to_string())
    };
    let play = Play {
        events: events.into(),
        pieces: 0,
        fault: answer.fault,
        pause: Duration::from_millis(answer.piece_delay_ms),
        shared,
    };
    let kind = if streamed {
        "text/event-stream"
    } else {
        "application/json"
    };
    respond(
        200,
        kind,
        None,
        StreamBody::new(play.frames()).boxed_unsync(),
    )
}

fn halves(text: &str) -> Vec<Event> {
    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle += 1;
    }
    let (first, second) = text.split_at(middle);
    let piece = |text: &str| Event {
        text: text.to_owned(),
        is_piece: true,
    };
    vec![piece(first), piece(second)]
}

/// An answer on its way; dropped before its end, its client has hung up.
struct Play {
    events: VecDeque<Event>,
    pieces: usize,
    fault: Fault,
    pause: Duration,
    shared: Arc<Shared>,
}

impl Play {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Cut>> + Send {
        stream::unfold(self, |mut play| async move {
            let frame = play.step().await?;
            Some((frame, play))
        })
    }

    async fn step(&mut self) -> Option<Result<Frame<Bytes>, Cut>> {
        match self.fault {
            Fault::CutAfter(pieces) if self.pieces >= pieces => {
                self.events.clear();
                return Some(Err(Cut));
            }
            Fault::StallAfter(pieces) if self.pieces >= pieces => std::future::pending().await,
            Fault::None | Fault::CutAfter(_) | Fault::StallAfter(_) | Fault::ErrorAfter(_) => {}
        }
        let event = self.events.pop_front()?;
        if event.is_piece {
            if self.pieces > 0 {
                tokio::time::sleep(self.pause).await;
            }
            self.pieces += 1;
            self.shared.counts.send_modify(|counts| counts.pieces += 1);
        }
        Some(Ok(Frame::data(event.text.into())))
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        if !self.events.is_empty() {
            self.shared.counts.send_modify(|counts| counts.hung_up += 1);
        }
    }
}

fn json(status: u16, retry_after: Option<&str>, body: &Value) -> Response<Body> {
    let whole = Full::new(Bytes::from(body.to_string()));
    let whole = whole.map_err(|never: Infallible| match never {});
    respond(
        status,
        "application/json",
        retry_after,
        whole.boxed_unsync(),
    )
}

fn respond(
    status: u16,
    kind: &'static str,
    retry_after: Option<&str>,
    body: Body,
) -> Response<Body> {
    use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(wait) = retry_after.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(RETRY_AFTER, wait);
    }
    response
}
