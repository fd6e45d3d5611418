//! A connection to the owner, as the process that has joined it sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use mc_core::engine::{
    Asked, AttemptKey, Guest, OwnerPort, OwnerTerms, Peek, Peeked, Told, Unreached,
};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::sequencer::Command;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use crate::frame::{self, MAX_FRAME};
use crate::message::{Answer, Ask, FromGuest, FromOwner, Greeting, Hello, PROTOCOL, Welcome};
use crate::news::News;
use crate::outbox::{Outbox, lock};
use crate::place::{Place, own_uid};
use crate::reads::{Read, ReadAnswer};

/// How long a thread waits for what the owner has in memory.
const PEEK: Duration = Duration::from_secs(1);

/// How long an owner may take to say its first words.
const GREETING: Duration = Duration::from_secs(2);

/// A connection to the process that owns the store.
#[derive(Debug)]
pub struct Connection {
    pid: u32,
    owner: u32,
    terms: OwnerTerms,
    outbox: Outbox,
    next: AtomicU64,
    waiting: Mutex<Option<BTreeMap<u64, Waiter>>>,
}

#[derive(Debug)]
enum Waiter {
    Task(oneshot::Sender<Answer>),
    Thread(mpsc::SyncSender<Answer>),
}

/// What a connection is served with: its two halves.
#[derive(Debug)]
pub(crate) struct Wire {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// Who gets what the owner says unasked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ear<'a> {
    /// Nobody: the owner is only asked.
    Nobody,
    /// A joined engine.
    Guest(&'a Guest),
    /// A follower, which only hears what moves.
    Follower(&'a News),
}

/// Why an owner could not be joined.
#[derive(Debug)]
pub(crate) enum NotJoined {
    /// Nobody answers.
    Silent,
    /// It says why.
    Refused(Error),
}

/// A connection while it is served. Dropped, however that ends, it tells whoever waits that the owner is
/// gone: one that reads nothing is given up in the middle.
struct Served<'a>(&'a Connection);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.outbox.close();
        let waiting = lock(&self.0.waiting).take();
        drop(waiting);
    }
}

/// Joins the owner of a file, wherever it listens. `epoch` is the last one that is known.
pub(crate) async fn join(place: &Place, epoch: u64) -> Result<(Arc<Connection>, Wire), NotJoined> {
    for path in place.found_at() {
        let Ok(stream) = UnixStream::connect(&path).await else {
            continue;
        };
        let greeted = tokio::time::timeout(GREETING, greet(stream, place, epoch)).await;
        match greeted {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(NotJoined::Refused(error))) => {
                let error = error.with_context("socket", path.display());
                return Err(NotJoined::Refused(error));
            }
            Ok(Err(NotJoined::Silent)) | Err(_) => {}
        }
    }
    Err(NotJoined::Silent)
}

async fn greet(
    stream: UnixStream,
    place: &Place,
    epoch: u64,
) -> Result<(Arc<Connection>, Wire), NotJoined> {
    let peer = stream.peer_cred().map_err(|_| NotJoined::Silent)?;
    if peer.uid() != own_uid() {
        return Err(refused("the process that listens belongs to another user"));
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let pid = std::process::id();
    let hello = Hello {
        protocol: PROTOCOL,
        pid,
        file: place.id,
        epoch,
    };
    let hello = frame::encode(&hello).map_err(NotJoined::Refused)?;
    tokio::io::AsyncWriteExt::write_all(&mut writer, &hello)
        .await
        .map_err(|_| NotJoined::Silent)?;
    let greeting = frame::read::<Greeting>(&mut reader, MAX_FRAME).await;
    let welcome: Welcome = match greeting {
        Ok(Some(Greeting::Welcome(welcome))) => *welcome,
        Ok(Some(Greeting::Refused(error))) => return Err(NotJoined::Refused(error)),
        // It died, or what listens there is no owner.
        Ok(None) | Err(_) => return Err(NotJoined::Silent),
    };
    if welcome.terms.epoch < epoch {
        return Err(refused("the process that listens does not own it any more"));
    }
    let connection = Connection {
        pid,
        owner: welcome.pid,
        terms: welcome.terms,
        outbox: Outbox::default(),
        next: AtomicU64::new(1),
        waiting: Mutex::new(Some(BTreeMap::new())),
    };
    Ok((Arc::new(connection), Wire { reader, writer }))
}

fn refused(why: &str) -> NotJoined {
    let message = format!("this process cannot join the owner of the store: {why}");
    NotJoined::Refused(Error::new(ErrorKind::Unavailable, message))
}

impl Connection {
    /// The process that owns the store.
    pub const fn owner(&self) -> u32 {
        self.owner
    }

    /// Serves the connection until either side ends it; `ear` gets what the owner says unasked.
    pub(crate) async fn serve(&self, wire: Wire, ear: Ear<'_>) {
        let Wire { mut reader, writer } = wire;
        let _served = Served(self);
        tokio::select! {
            () = self.outbox.write_to(writer) => {}
            () = self.listen(&mut reader, ear) => {}
        }
    }

    async fn listen(&self, reader: &mut BufReader<OwnedReadHalf>, ear: Ear<'_>) {
        loop {
            let message = match frame::read::<FromOwner>(reader, MAX_FRAME).await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(error) => {
                    tracing::info!(%error, "the owner of the store is gone");
                    return;
                }
            };
            match (message, ear) {
                (FromOwner::Answer(id, answer, room), ear) => {
                    // Before whoever waits goes on, so that it finds the room that it was given.
                    if let (Some(room), Ear::Guest(guest)) = (room, ear) {
                        guest.room(&room);
                    }
                    self.answered(id, answer);
                }
                (message, Ear::Guest(guest)) => tell(guest, message),
                (FromOwner::Moved(runs), Ear::Follower(news)) => news.moved(&runs),
                (FromOwner::Missed(_), Ear::Follower(news)) => news.anything(),
                (
                    FromOwner::Order(_)
                    | FromOwner::Probe(_)
                    | FromOwner::Cancel(_)
                    | FromOwner::Recall(_),
                    Ear::Follower(_),
                )
                | (_, Ear::Nobody) => {}
            }
        }
    }

    fn answered(&self, id: u64, answer: Answer) {
        let waiter = lock(&self.waiting).as_mut().and_then(|all| all.remove(&id));
        match waiter {
            // Whoever asked may have given up meanwhile.
            Some(Waiter::Task(task)) => drop(task.send(answer)),
            Some(Waiter::Thread(thread)) => drop(thread.send(answer)),
            None => {}
        }
    }

    /// Puts a question on its way; who waits for the answer is known before it can come.
    fn put(&self, ask: Ask, waiter: Option<Waiter>) -> Result<(), Unreached> {
        if self.pid != std::process::id() {
            return Err(Unreached::NotSent);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(waiter) = waiter {
            let mut waiting = lock(&self.waiting);
            let waiting = waiting.as_mut().ok_or(Unreached::NotSent)?;
            waiting.insert(id, waiter);
        }
        match self.outbox.put(&FromGuest::Ask(id, ask)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.forget(id);
                Err(Unreached::NotSent)
            }
            Err(error) => {
                // It never leaves: the answer is that it is too long.
                self.answered(id, Answer::Told(Told { reply: Err(error) }));
                Ok(())
            }
        }
    }

    fn forget(&self, id: u64) {
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.remove(&id);
        }
    }

    async fn ask_for(&self, ask: Ask) -> Result<Answer, Unreached> {
        let (sender, answer) = oneshot::channel();
        self.put(ask, Some(Waiter::Task(sender)))?;
        answer.await.map_err(|_| Unreached::Unknown)
    }

    /// Asks the owner's log.
    pub(crate) async fn read(&self, read: Read) -> Result<Result<ReadAnswer>, Unreached> {
        match self.ask_for(Ask::Read(read)).await? {
            Answer::Read(answer) => Ok(answer),
            Answer::Told(Told { reply: Err(error) }) => Ok(Err(error)),
            other @ (Answer::Told(_) | Answer::Peeked(_) | Answer::Done) => Ok(Err(odd(&other))),
        }
    }
}

/// Tells a joined engine what the owner says unasked.
fn tell(guest: &Guest, message: FromOwner) {
    match message {
        FromOwner::Order(order) => guest.start(*order),
        FromOwner::Probe(order) => guest.probe(&order),
        FromOwner::Cancel(token) => guest.cancel(&token),
        FromOwner::Recall(session) => guest.recall(session),
        FromOwner::Moved(runs) => guest.moved(&runs),
        FromOwner::Missed(missed) => guest.missed(missed),
        // Whoever asked was told before.
        FromOwner::Answer(..) => {}
    }
}

fn odd(answer: &Answer) -> Error {
    Error::internal(format!("the owner answered another question: {answer:?}"))
}

#[async_trait]
impl OwnerPort for Connection {
    fn terms(&self) -> &OwnerTerms {
        &self.terms
    }

    async fn submit(&self, command: Arc<Command>, asked: Asked) -> Result<Told, Unreached> {
        match self.ask_for(Ask::Submit(command, asked)).await? {
            Answer::Told(told) => Ok(told),
            other @ (Answer::Read(_) | Answer::Peeked(_) | Answer::Done) => Ok(Told {
                reply: Err(odd(&other)),
            }),
        }
    }

    fn tell(&self, command: Arc<Command>) {
        // Where the owner is gone, the next one finds what this was about in doubt.
        let _ = self.put(Ask::Submit(command, Asked::First), None);
    }

    async fn ask(&self, question: Peek) -> Result<Peeked, Unreached> {
        match self.ask_for(Ask::Peek(question)).await? {
            Answer::Peeked(peeked) => Ok(peeked),
            Answer::Told(_) | Answer::Read(_) | Answer::Done => Err(Unreached::Unknown),
        }
    }

    fn peek(&self, question: Peek) -> Option<Peeked> {
        let (sender, answer) = mpsc::sync_channel(1);
        self.put(Ask::Peek(question), Some(Waiter::Thread(sender)))
            .ok()?;
        match answer.recv_timeout(PEEK).ok()? {
            Answer::Peeked(peeked) => Some(peeked),
            Answer::Told(_) | Answer::Read(_) | Answer::Done => None,
        }
    }

    fn acting(&self, attempts: &[AttemptKey]) {
        // Where the owner is gone, the next one is told.
        let _ = self.outbox.put(&FromGuest::Acting(attempts.to_vec()));
    }

    fn finished(&self, attempt: &AttemptKey) {
        // Where the owner is gone, so is the attempt.
        let _ = self.outbox.put(&FromGuest::Finished(attempt.clone()));
    }

    fn progress(&self, attempt: &AttemptKey, tokens: (u64, u64)) {
        self.outbox.progress(attempt, tokens);
    }

    async fn leave(&self) {
        // Where the owner is gone, there is nothing to leave.
        let _ = self.ask_for(Ask::Leave).await;
    }

    fn close(&self) {
        self.outbox.close();
    }
}

#[cfg(test)]
mod tests {
    use mc_core::pricing::UnknownModels;

    use super::*;

    fn connection() -> (Arc<Connection>, Wire, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        let (reader, writer) = here.into_split();
        let connection = Connection {
            pid: std::process::id(),
            owner: 0,
            terms: OwnerTerms {
                epoch: 1,
                price_label: String::new(),
                prices: Vec::new(),
                unknown_models: UnknownModels::default(),
                price_age: None,
            },
            outbox: Outbox::default(),
            next: AtomicU64::new(1),
            waiting: Mutex::new(Some(BTreeMap::new())),
        };
        let reader = BufReader::new(reader);
        (Arc::new(connection), Wire { reader, writer }, there)
    }

    #[tokio::test]
    async fn whoever_waits_is_told_however_a_connection_ends() {
        let (connection, wire, there) = connection();
        let served = Arc::clone(&connection);
        let serving = tokio::spawn(async move { served.serve(wire, Ear::Nobody).await });
        let asked = connection.ask_for(Ask::Leave);
        tokio::pin!(asked);
        assert!(futures::poll!(&mut asked).is_pending());
        tokio::task::yield_now().await;
        // The owner reads nothing, and is given up.
        serving.abort();
        assert!(matches!(asked.await, Err(Unreached::Unknown)));
        let after = connection.ask_for(Ask::Leave).await;
        assert!(matches!(after, Err(Unreached::NotSent)));
        drop(there);
    }
}
