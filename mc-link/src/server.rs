//! One joined process at its owner: what it asks is decided in the order in which it came, what it is
//! told goes out in the order in which it was so.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::poll;
use mc_core::engine::{AgentHost, Asked, Notice, Owner, RoomOf, Told};
use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::id::RunId;
use mc_core::sequencer::{AttemptOrder, Command, ProbeOrder, Token};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::frame::{self, MAX_FRAME, MAX_HELLO};
use crate::message::{Answer, Ask, FromGuest, FromOwner, Greeting, Hello, PROTOCOL, Welcome};
use crate::outbox::{Outbox, lock};
use crate::place::{FileId, own_uid};
use crate::reads;
use crate::threads::LinkThread;

/// Reads of one joined process whose answers are made or on their way at a time.
const MOST_READS: usize = 8;

/// How long a process that wants to join may take to say so.
const GREETING: Duration = Duration::from_secs(2);

/// Numbers of the processes that have joined this one.
static HOSTS: AtomicU64 = AtomicU64::new(1);

/// What an owner serves those with that join it.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) owner: Owner,
    pub(crate) file: FileId,
    pub(crate) thread: Arc<LinkThread>,
}

/// A joined process.
#[derive(Debug)]
struct Host {
    id: u64,
    pid: u32,
    outbox: Outbox,
    /// What may be drawn of a block is said in the order in which it was looked up.
    order: Mutex<()>,
    reads: Arc<Semaphore>,
}

impl AgentHost for Host {
    fn id(&self) -> u64 {
        self.id
    }

    fn is_here(&self) -> bool {
        self.outbox.is_open()
    }

    fn order(&self, order: AttemptOrder) -> bool {
        self.say(&FromOwner::Order(Box::new(order)))
    }

    fn cancel(&self, token: &Token) {
        self.say(&FromOwner::Cancel(token.clone()));
    }

    fn probe(&self, order: ProbeOrder) {
        self.say(&FromOwner::Probe(Box::new(order)));
    }

    fn recall(&self, session: RunId) {
        // What was looked up before is said before.
        let order = lock(&self.order);
        self.say(&FromOwner::Recall(session));
        drop(order);
    }
}

impl Host {
    fn say(&self, message: &FromOwner) -> bool {
        match self.outbox.put(message) {
            Ok(said) => said,
            Err(error) => {
                tracing::warn!(pid = self.pid, %error, "a joined process cannot be told");
                self.outbox.close();
                false
            }
        }
    }

    fn answer(&self, id: u64, answer: Answer, turn: Option<OwnedSemaphorePermit>) {
        let answer = FromOwner::Answer(id, answer, None);
        if let Err(error) = self.outbox.put_in_turn(&answer, turn).map(drop) {
            let refused = Answer::Told(Told { reply: Err(error) });
            self.say(&FromOwner::Answer(id, refused, None));
        }
    }

    /// Answers a command, with what may be drawn of the session's block from then on.
    fn tell(&self, owner: &Owner, id: u64, told: Told, of: Option<&RoomOf>) {
        let order = lock(&self.order);
        let room = of.map(|of| owner.room(self.id, of, &told));
        self.say(&FromOwner::Answer(id, Answer::Told(told), room));
        drop(order);
    }
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(serving: Serving, stream: UnixStream) {
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let outbox = Outbox::default();
    let greeted = tokio::time::timeout(GREETING, greet(&serving, &mut reader)).await;
    let greeted = greeted.unwrap_or_else(|_| Err(refused("it said nothing in time")));
    let (greeting, joined) = match greeted {
        Ok((pid, welcome)) => (Greeting::Welcome(Box::new(welcome)), Some(pid)),
        Err(error) => {
            tracing::info!(%error, "a process was not let in");
            (Greeting::Refused(error), None)
        }
    };
    if outbox.put(&greeting).is_err() {
        return;
    }
    let Some(pid) = joined else {
        outbox.close();
        outbox.write_to(writer).await;
        return;
    };
    let host = Arc::new(Host {
        id: HOSTS.fetch_add(1, Ordering::Relaxed),
        pid,
        outbox,
        order: Mutex::new(()),
        reads: Arc::new(Semaphore::new(MOST_READS)),
    });
    tokio::select! {
        () = host.outbox.write_to(writer) => {}
        () = listen(&serving, &host, &mut reader) => {}
        () = notices(&serving.owner, &host) => {}
    }
    host.outbox.close();
    serving.owner.lost(host.id).await;
}

/// The first words.
async fn greet(serving: &Serving, reader: &mut BufReader<OwnedReadHalf>) -> Result<(u32, Welcome)> {
    let peer = reader.get_ref().as_ref().peer_cred();
    let peer = peer.map_err(|e| refused("its user is not known").with_source(e))?;
    if peer.uid() != own_uid() {
        return Err(refused("it belongs to another user"));
    }
    let hello: Option<Hello> = frame::read(reader, MAX_HELLO).await?;
    let hello = hello.ok_or_else(|| refused("it said nothing"))?;
    if hello.protocol != PROTOCOL {
        return Err(refused(&format!(
            "it speaks version {} of the protocol, the owner (process {}) version {PROTOCOL}; run \
             the same version of the software in both",
            hello.protocol,
            std::process::id(),
        )));
    }
    if hello.file != serving.file {
        return Err(refused(
            "the file at its path is not the one that the owner has open",
        ));
    }
    let terms = serving.owner.terms();
    if hello.epoch > terms.epoch {
        let (held, current) = (terms.epoch, hello.epoch);
        let error = Error::new(
            ErrorKind::Conflict,
            "the process that listens here does not own the store any more",
        );
        return Err(error.with_detail(Detail::StaleEpoch { held, current }));
    }
    let pid = std::process::id();
    Ok((hello.pid, Welcome { pid, terms }))
}

fn refused(why: &str) -> Error {
    let message = format!("this process cannot join the owner of the store: {why}");
    Error::new(ErrorKind::Unavailable, message)
}

/// Takes what the other side says until it ends.
async fn listen(serving: &Serving, host: &Arc<Host>, reader: &mut BufReader<OwnedReadHalf>) {
    loop {
        // Who does not read what it is told is not heard either.
        host.outbox.room().await;
        match frame::read::<FromGuest>(reader, MAX_FRAME).await {
            Ok(Some(FromGuest::Ask(id, ask))) => hear(serving, host, (id, ask)).await,
            Ok(Some(FromGuest::Acting(attempts))) => serving.owner.acting(host.id, &attempts),
            Ok(Some(FromGuest::Finished(attempt))) => serving.owner.finished(host.id, &attempt),
            Ok(Some(FromGuest::Progress(attempt, tokens))) => {
                serving.owner.progress(host.id, &attempt, tokens);
            }
            Ok(None) => return,
            Err(error) => {
                tracing::info!(pid = host.pid, %error, "a joined process is gone");
                return;
            }
        }
    }
}

async fn hear(serving: &Serving, host: &Arc<Host>, (id, ask): (u64, Ask)) {
    match ask {
        Ask::Submit(command, asked) => submit(serving, host, (id, command, asked)).await,
        Ask::Peek(question) => {
            let peeked = serving.owner.peek(&question);
            host.answer(id, Answer::Peeked(peeked), None);
        }
        Ask::Read(read) => {
            let Ok(turn) = Arc::clone(&host.reads).acquire_owned().await else {
                return;
            };
            let (owner, host) = (serving.owner.clone(), Arc::clone(host));
            serving.thread.spawn(async move {
                host.outbox.room().await;
                let answer = reads::answer(&**owner.log(), read).await;
                host.answer(id, Answer::Read(answer), Some(turn));
            });
        }
        Ask::Leave => {
            serving.owner.withdraw(host.id).await;
            host.answer(id, Answer::Done, None);
        }
    }
}

/// Hands a command over before the next one is looked at; only waiting for its answer is done beside.
async fn submit(
    serving: &Serving,
    host: &Arc<Host>,
    (id, command, asked): (u64, Arc<Command>, Asked),
) {
    let owner = serving.owner.clone();
    let of = owner.room_of(&command.request);
    let command = Arc::unwrap_or_clone(command);
    let guest: Arc<dyn AgentHost> = Arc::<Host>::clone(host);
    let deciding = owner.clone();
    let mut told: Pin<Box<dyn Future<Output = Told> + Send>> =
        Box::pin(async move { deciding.submit(guest, command, asked).await });
    if let std::task::Poll::Ready(told) = poll!(told.as_mut()) {
        host.tell(&owner, id, told, of.as_ref());
        return;
    }
    let host = Arc::clone(host);
    serving.thread.spawn(async move {
        let told = told.await;
        host.tell(&owner, id, told, of.as_ref());
    });
}

/// Passes notices on until the engine is gone.
async fn notices(owner: &Owner, host: &Host) {
    let mut news = owner.news();
    while let Some(notice) = news.next().await {
        match notice {
            Notice::Moved(runs) => {
                let runs: &BTreeSet<_> = &runs;
                host.outbox.moved(runs);
            }
            Notice::Missed(missed) => host.outbox.missed(missed),
        }
    }
}
