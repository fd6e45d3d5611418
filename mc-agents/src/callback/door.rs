//! Taking later answers in: who may answer, how much, how often.
//!
//! A request is refused by its token before its body is read. An answer is taken where its step waits for
//! one, or is still on its way to waiting, and none has come that it has not taken: so each is taken once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use mc_core::engine::MissionControl;
use mc_core::error::{Error, ErrorKind};
use mc_core::event::step::WaitingFor;
use mc_core::id::RunId;
use mc_core::run::{Run, Step, Suspension};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

use super::{Callback, PATH, reply_signal};
use crate::exchange::Reply;

/// The largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The most connections at a time; the next one waits.
const MOST_CONNECTIONS: usize = 32;
/// How long a connection may last: it brings one answer.
const CONNECTION: Duration = Duration::from_secs(60);
/// How long nobody is let in after the operating system gave no connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Who signals in the log.
const OPERATOR: &str = "callback";

/// What the engine refuses by, on this way.
const STATUSES: &[(ErrorKind, StatusCode)] = &[
    (ErrorKind::NotFound, StatusCode::NOT_FOUND),
    (ErrorKind::InvalidTransition, StatusCode::CONFLICT),
    (ErrorKind::InvalidInput, StatusCode::UNPROCESSABLE_ENTITY),
    (ErrorKind::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
];

/// What connections share.
struct Door {
    callback: Callback,
    control: MissionControl,
    /// Answers are taken one after the other: the second of two sees the first.
    turn: Mutex<()>,
}

/// Takes answers in until it is told to stop; connections end with it.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    (callback, control): (Callback, MissionControl),
    mut stopped: oneshot::Receiver<()>,
) {
    let door = Arc::new(Door {
        callback,
        control,
        turn: Mutex::default(),
    });
    // The operating system gave it a moment ago.
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            _ = connections.join_next(), if !connections.is_empty() => {}
            stream = next(&listener), if connections.len() < MOST_CONNECTIONS => {
                connections.spawn(talk(Arc::clone(&door), stream));
            }
        }
    }
}

/// The next connection.
async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn talk(door: Arc<Door>, stream: TcpStream) {
    let service = service_fn(move |request| answer(Arc::clone(&door), request));
    let mut http = http1::Builder::new();
    let connection = http
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks, or takes too long, is the other side's to notice.
    let _ = tokio::time::timeout(CONNECTION, connection).await;
}

/// Why an answer is not taken.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let known = STATUSES.iter().find(|(kind, _)| *kind == error.kind());
        let status = known.map_or(StatusCode::INTERNAL_SERVER_ERROR, |(_, status)| *status);
        Self::new(status, error.code(), error.message())
    }
}

async fn answer(
    door: Arc<Door>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match door.take(request).await {
        Ok(()) => (StatusCode::OK, json!({"status": "accepted"})),
        Err(refused) => {
            let (code, message) = (refused.code, refused.message);
            let error = json!({"error": {"code": code, "message": message}});
            (refused.status, error)
        }
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

impl Door {
    async fn take(&self, request: Request<Incoming>) -> Result<(), Refused> {
        if request.method() != Method::POST {
            let message = "an answer is brought by POST";
            return Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                message,
            ));
        }
        let (run, key) = self.addressed(request.uri().path()).ok_or_else(|| {
            let message = "this is not the address of a step";
            Refused::new(StatusCode::FORBIDDEN, "foreign_token", message)
        })?;
        let whole = body(request).await?;
        self.signal((run, &key), whole).await
    }

    /// The run and the effect key of an address whose token is right.
    fn addressed(&self, path: &str) -> Option<(RunId, String)> {
        // What stands before may be a proxy's.
        let mut parts = path.rsplit('/');
        let (token, key, run) = (parts.next()?, parts.next()?, parts.next()?);
        let right = parts.next() == Some(PATH) && self.callback.is_token(run, key, token);
        let run = run.parse::<RunId>().ok().filter(|_| right)?;
        Some((run, key.to_owned()))
    }

    async fn signal(&self, (run, key): (RunId, &str), whole: Value) -> Result<(), Refused> {
        let turn = self.turn.lock().await;
        let handle = self.control.run(run);
        let state = handle.state().await?;
        let name = reply_signal(key);
        if !awaits(&state, key, &name) {
            let message = "no step waits for this answer: it came already, or is wanted no more";
            return Err(Refused::new(StatusCode::CONFLICT, "not_awaited", message));
        }
        handle.signal(OPERATOR, &name, whole).await?;
        drop(turn);
        Ok(())
    }
}

/// Whether a step waits for an answer that has not come, or is out and may still come to wait for it.
fn awaits(run: &Run, key: &str, name: &str) -> bool {
    let here = run
        .signals
        .iter()
        .any(|(signal, _)| signal.as_str() == name);
    let its = |step: &Step| step.effect_key.is_some_and(|its| its.to_string() == key);
    let wants = |step: &Step| match &step.suspension {
        None => step.live.is_some() && its(step),
        Some(Suspension {
            waiting_for: WaitingFor::Signal { name: its },
            signal: None,
            ..
        }) => its.as_str() == name,
        Some(_) => false,
    };
    !run.status.is_terminal() && !here && run.steps.values().any(wants)
}

/// The answer, if it is one.
async fn body(request: Request<Incoming>) -> Result<Value, Refused> {
    let too_large = || {
        let message = format!("an answer is at most {MAX_ANSWER_BYTES} bytes");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    let stated = request.body().size_hint().lower();
    if usize::try_from(stated).is_ok_and(|bytes| bytes > MAX_ANSWER_BYTES) {
        return Err(too_large());
    }
    let read = Limited::new(request.into_body(), MAX_ANSWER_BYTES);
    let bytes = read.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large()
        } else {
            Refused::new(StatusCode::BAD_REQUEST, "broken", "the answer broke off")
        }
    })?;
    let reply = Reply::parse(&bytes.to_bytes());
    let invalid = |rule| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_output", rule);
    reply.map(|reply| reply.whole).map_err(invalid)
}
