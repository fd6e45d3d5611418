//! A handle that has joined another in the same simulated world: messages take no time, and nothing
//! carries them but calls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, Weak};
use std::task::{Context, Waker};

use super::*;
use mission_control::core::engine::{
    AgentHost, Asked, AttemptKey, Engine, Guest, Notice, Owner, OwnerPort, OwnerTerms, Parts, Peek,
    Peeked, Room, Spawner, Told, Unreached,
};
use mission_control::core::id::{AuthMethod, RunId};
use mission_control::core::sequencer::{AttemptOrder, Command, ProbeOrder, Token};

static HOSTS: AtomicU64 = AtomicU64::new(1);

/// A handle that has joined, and how it is cut off.
pub struct Joined {
    pub control: MissionControl,
    wire: Arc<Wire>,
}

/// What stands between two handles.
struct Wire {
    id: u64,
    here: AtomicBool,
    owner: Owner,
    terms: OwnerTerms,
    spawner: Arc<dyn Spawner>,
    guest: OnceLock<Arc<Guest>>,
    this: Weak<Self>,
    /// Commands whose answer somebody waited for.
    pub asked: AtomicU64,
    /// Whether every command is given again, as if its first answer had been lost.
    twice: AtomicBool,
    /// Whether the owner does not say what it has in memory.
    silent: AtomicBool,
    /// What the owner said of blocks, on its way.
    rooms: Mutex<VecDeque<Room>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl AgentHost for Wire {
    fn id(&self) -> u64 {
        self.id
    }

    fn is_here(&self) -> bool {
        self.here.load(Ordering::SeqCst)
    }

    fn order(&self, order: AttemptOrder) -> bool {
        if self.is_here() {
            self.guest.get().unwrap().start(order);
        }
        self.is_here()
    }

    fn cancel(&self, token: &Token) {
        if self.is_here() {
            self.guest.get().unwrap().cancel(token);
        }
    }

    fn probe(&self, order: ProbeOrder) {
        if self.is_here() {
            self.guest.get().unwrap().probe(&order);
        }
    }

    fn recall(&self, session: RunId) {
        if self.is_here() {
            self.guest.get().unwrap().recall(session);
        }
    }
}

impl Wire {
    async fn hand_over(self: Arc<Self>, command: Arc<Command>, asked: Asked) -> Told {
        let of = self.owner.room_of(&command.request);
        let host: Arc<dyn AgentHost> = Arc::<Self>::clone(&self);
        let told = self.owner.submit(host, Command::clone(&command), asked);
        let told = told.await;
        if let Some(of) = of {
            let room = self.owner.room(self.id, &of, &told);
            self.rooms.lock().unwrap().push_back(room);
        }
        told
    }

    /// What the owner said of blocks arrives, in order.
    fn arrive(&self) {
        loop {
            let next = self.rooms.lock().unwrap().pop_front();
            let Some(room) = next else { return };
            self.guest.get().unwrap().room(&room);
        }
    }
}

#[mission_control::async_trait]
impl OwnerPort for Wire {
    fn terms(&self) -> &OwnerTerms {
        &self.terms
    }

    async fn submit(&self, command: Arc<Command>, _: Asked) -> Result<Told, Unreached> {
        if !self.is_here() {
            return Err(Unreached::NotSent);
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let this = self.this.upgrade().unwrap();
        let first = this.clone().hand_over(Arc::clone(&command), Asked::First);
        let mut told = first.await;
        if self.twice.load(Ordering::SeqCst) {
            told = this.hand_over(command, Asked::Again).await;
        }
        self.arrive();
        if self.is_here() {
            Ok(told)
        } else {
            Err(Unreached::Unknown)
        }
    }

    fn tell(&self, command: Arc<Command>) {
        if !self.is_here() {
            return;
        }
        let mut told = Box::pin(
            self.this
                .upgrade()
                .unwrap()
                .hand_over(command, Asked::First),
        );
        // In order: it reaches the owner now.
        let polled = told.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let this = self.this.upgrade().unwrap();
        self.spawner.spawn_driver(Box::pin(async move {
            if polled.is_pending() {
                told.await;
            }
            this.arrive();
        }));
    }

    async fn ask(&self, question: Peek) -> Result<Peeked, Unreached> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(Unreached::Unknown);
        }
        Ok(self.owner.peek(&question))
    }

    fn peek(&self, question: Peek) -> Option<Peeked> {
        let silent = self.silent.load(Ordering::SeqCst);
        (!silent).then(|| self.owner.peek(&question))
    }

    fn acting(&self, attempts: &[AttemptKey]) {
        self.owner.acting(self.id, attempts);
    }

    fn finished(&self, attempt: &AttemptKey) {
        self.owner.finished(self.id, attempt);
    }

    fn progress(&self, attempt: &AttemptKey, tokens: (u64, u64)) {
        self.owner.progress(self.id, attempt, tokens);
    }

    async fn leave(&self) {
        self.owner.withdraw(self.id).await;
    }

    fn close(&self) {
        self.here.store(false, Ordering::SeqCst);
    }
}

/// Joins a handle of a world.
pub fn join(world: &World, owner: &MissionControl) -> Joined {
    join_with(world, owner, settings())
}

/// As `join`, with settings.
pub fn join_with(world: &World, owner: &MissionControl, settings: Settings) -> Joined {
    let simulation = world.0.simulation();
    let spawner: Arc<dyn Spawner> = simulation.spawner();
    let parts = Parts {
        log: Arc::clone(owner.log()),
        clock: Arc::clone(simulation.clock()) as _,
        entropy: Arc::clone(simulation.entropy()) as _,
        spawner: Arc::clone(&spawner),
        settings,
        auth_method: AuthMethod::Library,
        switch: None,
    };
    let wire = Wire::to(owner, &spawner);
    let port = Arc::<Wire>::clone(&wire);
    let (control, guest) = Engine::join(parts, port).unwrap();
    wire.carry(Arc::new(guest));
    Joined { control, wire }
}

impl Wire {
    fn to(owner: &MissionControl, spawner: &Arc<dyn Spawner>) -> Arc<Self> {
        let owner = owner.owner().unwrap();
        Arc::new_cyclic(|this| Self {
            id: HOSTS.fetch_add(1, Ordering::SeqCst),
            here: AtomicBool::new(true),
            terms: owner.terms(),
            owner,
            spawner: Arc::clone(spawner),
            guest: OnceLock::new(),
            this: Weak::clone(this),
            asked: AtomicU64::new(0),
            twice: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            rooms: Mutex::default(),
        })
    }

    /// Tells a guest from now on what its owner says unasked.
    fn carry(self: &Arc<Self>, guest: Arc<Guest>) {
        assert!(self.guest.set(guest).is_ok());
        let told = Arc::clone(self);
        let mut news = self.owner.news();
        self.spawner.spawn_driver(Box::pin(async move {
            while let Some(notice) = news.next().await {
                let guest = told.guest.get().unwrap();
                match notice {
                    Notice::Moved(runs) => {
                        guest.moved(&runs.iter().copied().collect::<Vec<_>>());
                    }
                    Notice::Missed(missed) => guest.missed(missed),
                }
            }
        }));
    }
}

impl Joined {
    /// From now on every command is given again, as if its first answer had been lost with an owner.
    pub fn ask_twice(&self) {
        self.wire.twice.store(true, Ordering::SeqCst);
    }

    /// From now on the owner does not say what it has in memory.
    pub fn hear_nothing(&self) {
        self.wire.silent.store(true, Ordering::SeqCst);
    }

    /// The process gives its agents up, and goes on.
    pub async fn leave(&self) {
        self.wire.owner.withdraw(self.wire.id).await;
    }

    /// Commands whose answer somebody waited for, so far.
    pub fn asked(&self) -> u64 {
        self.wire.asked.load(Ordering::SeqCst)
    }

    /// The owner is gone without a word.
    pub fn lose_owner(&self) {
        self.wire.close();
        self.wire.guest.get().unwrap().lost();
    }

    /// The process becomes the owner.
    pub async fn take_over(&self) {
        self.wire.guest.get().unwrap().take_over().await.unwrap();
    }

    /// The process joins another owner.
    pub async fn rejoin(&mut self, owner: &Self) {
        let wire = Wire::to(&owner.control, &self.wire.spawner);
        let guest = Arc::clone(self.wire.guest.get().unwrap());
        wire.carry(Arc::clone(&guest));
        guest.rejoin(Arc::<Wire>::clone(&wire)).await.unwrap();
        self.wire = wire;
    }

    /// The process is killed, and the owner sees the end of the connection.
    pub async fn kill(&self) {
        self.wire.close();
        self.wire.guest.get().unwrap().lost();
        self.wire.owner.lost(self.wire.id).await;
    }
}
