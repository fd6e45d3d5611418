//! The store: one open database, its failures and how it comes back.
//!
//! A batch is durable once the journal has it; the database gets it later, and at the latest when
//! somebody reads. Whether a write that failed is on the disk shows only when the file is read again. So
//! a failure, of the journal or of the database, closes the store for writing until
//! [`Store::acquire`] reopens it and raises the epoch. Reads go on meanwhile, through a view that
//! changes nothing.
//!
//! Locks are taken in this order: `writer`, `journal`, `slot`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::event::PartRef;
use mc_core::id::{RunId, WorkflowName};
use mc_core::ports::{Batch, Head, KeyRow, Lease, Recovered, RunRow};
use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tracing::warn;

use super::append::{self, Writer};
use super::contain::contained;
use super::fault::{self, Fault, Outcome};
use super::frames::{AtHand, MetaHead};
use super::gate::{Gate, lock};
use super::health::{FileState, ReserveState, StoreHealth, WriteState};
use super::journal::{Journal, Waiting, Written};
use super::layout::Layout;
use super::open::{self, Opened};
use super::overlay::Sharing;
use super::place::Place;
use super::reads;
use crate::contract;

/// What may be done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Full,
    /// Reads.
    Inspect,
}

/// An open store. Every call runs on the caller's thread; `worker` is what keeps callers from it.
#[derive(Debug)]
pub(super) struct Store {
    access: Access,
    cache_bytes: usize,
    slot: RwLock<Slot>,
    writer: Mutex<Writer>,
    journal: Mutex<Journal>,
    /// The frames out of which parts were read last.
    at_hand: AtHand,
    /// A write failed: nothing more is written before the store was reopened.
    failed: AtomicBool,
    /// The last write that failed met a full disk.
    met_full_disk: AtomicBool,
    place: Option<Place>,
    layout: Layout,
    /// Last, so that the file's lock goes after everything else.
    gate: Gate,
}

/// What a caller should see to after a batch was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Rest,
    /// Call [`Store::apply`], on a thread that has time for it.
    Apply,
}

/// The database, while there is one.
#[derive(Debug)]
struct Slot {
    db: Option<Database>,
    writable: bool,
}

impl Drop for Store {
    fn drop(&mut self) {
        if let (Some(place), Access::Full, false) =
            (&self.place, self.access, self.gate.is_forked())
        {
            place.unclaim();
        }
        if self.access == Access::Full && !self.gate.is_forked() {
            // What fails here is in the journal still.
            drop(self.apply());
        }
        let slot = self.slot.get_mut().unwrap_or_else(PoisonError::into_inner);
        slot.close();
    }
}

impl Slot {
    fn writing(db: Database) -> Self {
        Self {
            db: Some(db),
            writable: true,
        }
    }

    fn looking(view: Database) -> Self {
        Self {
            db: Some(view),
            writable: false,
        }
    }

    /// Closes the database; a panic over a damaged file ends here.
    fn close(&mut self) {
        self.writable = false;
        let db = self.db.take();
        let closed = contained(|| {
            drop(db);
            Ok(())
        });
        if closed.is_err() {
            warn!("the database panicked while it was closed");
        }
    }
}

impl Store {
    /// Takes a file that was opened and looked at.
    pub(super) fn new(opened: Opened, access: Access, cache_bytes: usize) -> Result<Self> {
        let Opened {
            gate,
            layout,
            place,
        } = opened;
        let file = (&gate, layout);
        let (slot, head, full) = match access {
            Access::Full => Self::own(file, cache_bytes)?,
            Access::Inspect => {
                let slot = Slot::looking(contained(|| open::view(file, Sharing::WithReaders))?);
                (slot, MetaHead::default(), false)
            }
        };
        if let (Some(place), Access::Full) = (&place, access) {
            place.claim();
            place.keep_reserve();
        }
        Ok(Self {
            access,
            cache_bytes,
            failed: AtomicBool::new(access == Access::Full && !slot.writable),
            met_full_disk: AtomicBool::new(full),
            slot: RwLock::new(slot),
            writer: Mutex::new(Writer::default()),
            journal: Mutex::new(Journal::new((gate.clone(), layout), head)),
            at_hand: AtHand::default(),
            place,
            layout,
            gate,
        })
    }

    /// The database to write to. A full disk may have no room for what a crash left in the journal;
    /// it can be read all the same, until an owner gives the reserve back.
    fn own(file: (&Gate, Layout), cache_bytes: usize) -> Result<(Slot, MetaHead, bool)> {
        match contained(|| open::database(file, cache_bytes)).map_err(Error::from) {
            Ok((db, head)) => Ok((Slot::writing(db), head, false)),
            Err(error) if fault::is_full(&error) => {
                let view = contained(|| open::view(file, Sharing::Alone))?;
                Ok((Slot::looking(view), MetaHead::default(), true))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the store look as it does in a child.
    #[cfg(test)]
    pub(super) fn fork(&self) {
        self.gate.fork();
    }

    /// Whether this process inherited the handle over a fork.
    pub(super) fn is_forked(&self) -> bool {
        self.gate.is_forked()
    }

    /// Refuses calls in a forked child: its copy of the handle must not touch the parent's file.
    pub(super) fn check_process(&self) -> Result<()> {
        if self.is_forked() {
            Err(
                fault::unavailable("the handle was inherited over a fork; open the store again")
                    .with_detail(Detail::ForkedHandle),
            )
        } else {
            Ok(())
        }
    }

    /// Reads within one short transaction, in which everything is that was appended.
    pub(super) fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Outcome<T>) -> Result<T> {
        self.check_process()?;
        if self.access == Access::Full && (self.apply().is_err() || self.has_failed()) {
            self.look_only();
        }
        self.read_applied(read)
    }

    /// Reads what the database has.
    fn read_applied<T>(&self, read: impl FnOnce(&ReadTransaction) -> Outcome<T>) -> Result<T> {
        self.check_process()?;
        self.with(|db| read(&db.begin_read()?)).map_err(Error::from)
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Outcome<T>) -> Outcome<T> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        match &slot.db {
            Some(db) => contained(|| work(db)),
            None => Err(fault::unavailable("the store could not be reopened").into()),
        }
    }

    /// The end of the log.
    pub(super) fn head(&self) -> Result<Head> {
        self.check_process()?;
        if self.access == Access::Full && !self.has_failed() {
            return Ok(lock(&self.journal).end().head);
        }
        self.read(reads::head)
    }

    /// A part's content.
    pub(super) fn part(&self, place: PartRef) -> Result<Arc<[u8]>> {
        self.read(|tx| reads::part(tx, place, &self.at_hand))
    }

    /// A run's row.
    pub(super) fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        self.find(|journal| journal.run_row(run), |tx| reads::run_row(tx, run))
    }

    /// An idempotency key's row, and a head at which it was so.
    pub(super) fn run_by_key(
        &self,
        (workflow, key): (WorkflowName, Arc<str>),
    ) -> Result<(Option<KeyRow>, Head)> {
        let head = self.head()?;
        let row = self.find(
            |journal| journal.key_row(&workflow, &key),
            |tx| reads::run_by_key(tx, workflow.clone(), Arc::clone(&key)),
        )?;
        Ok((row, head))
    }

    /// Finds one row where it is, without a commit of the database for it.
    fn find<T>(
        &self,
        waiting: impl FnOnce(&Journal) -> Option<T>,
        read: impl FnOnce(&ReadTransaction) -> Outcome<Option<T>>,
    ) -> Result<Option<T>> {
        // What a failure left in doubt is seen by all reads alike.
        if self.access == Access::Inspect || self.has_failed() {
            return self.read(read);
        }
        let found = waiting(&lock(&self.journal));
        if found.is_some() {
            return Ok(found);
        }
        self.read_applied(read)
    }

    /// Appends a batch; it is on disk when this returns.
    pub(super) fn append(&self, lease: Lease, batch: Batch) -> Result<Next> {
        self.check_writable()?;
        let batch = Arc::new(batch);
        loop {
            let mut journal = lock(&self.journal);
            self.check_failed()?;
            self.check_blobs(&journal, &batch)?;
            match self.settle(journal.write(lease, &batch))? {
                Written::Durable => return Ok(Next::Rest),
                Written::DurableAndDue => return Ok(Next::Apply),
                Written::NoRoom => {
                    drop(journal);
                    self.apply()?;
                }
                Written::TooLarge => {
                    drop(journal);
                    return self.append_past_journal(lease, &batch);
                }
            }
        }
    }

    /// Appends a batch that is larger than the journal has room for.
    fn append_past_journal(&self, lease: Lease, batch: &Arc<Batch>) -> Result<Next> {
        let mut writer = lock(&self.writer);
        let mut journal = lock(&self.journal);
        self.check_failed()?;
        contract::check(journal.end(), lease, batch)?;
        let (mut batches, last) = batches_of(journal.waiting(), &journal);
        batches.push(Arc::clone(batch));
        self.commit(&mut writer, (&batches, last))?;
        journal.set_applied(last);
        journal.passed_by(batch);
        Ok(Next::Rest)
    }

    /// A part may name a blob that the store has, or that comes with it.
    fn check_blobs(&self, journal: &Journal, batch: &Batch) -> Result<()> {
        for digest in append::named_blobs(batch) {
            let there = |db: &Database| reads::has_blob(&db.begin_read()?, digest);
            if !journal.brings(digest) && !self.settle(self.with(there))? {
                return Err(Error::internal("a part names a blob that is not there"));
            }
        }
        Ok(())
    }

    /// Brings what waits in the journal into the database.
    pub(super) fn apply(&self) -> Result<()> {
        self.check_process()?;
        if lock(&self.journal).is_applied() {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        self.check_failed()?;
        // Appends go on meanwhile.
        let (batches, last) = {
            let journal = lock(&self.journal);
            batches_of(journal.waiting(), &journal)
        };
        self.commit(&mut writer, (&batches, last))?;
        lock(&self.journal).set_applied(last);
        Ok(())
    }

    fn commit(&self, writer: &mut Writer, batches: (&[Arc<Batch>], u64)) -> Result<()> {
        if batches.0.is_empty() {
            return Ok(());
        }
        let written = self.with_writable(|db| append::commit(db, writer, batches));
        // What the journal took the database has to take: a refusal is a failure too.
        if written.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        self.settle(written)
    }

    /// Works in the database, and never in a view that forgets what is written to it.
    fn with_writable<T>(&self, work: impl FnOnce(&Database) -> Outcome<T>) -> Outcome<T> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        match &slot.db {
            Some(db) if slot.writable => contained(|| work(db)),
            _ => Err(acquire_again().into()),
        }
    }

    /// Notes a failed write. What was refused left no trace and changes nothing.
    fn settle<T>(&self, written: Outcome<T>) -> Result<T> {
        match written {
            Ok(written) => Ok(written),
            Err(Fault::Refused(error)) => Err(error),
            Err(fault @ (Fault::Database(_) | Fault::Panicked(_))) => {
                let error = Error::from(fault);
                let full = fault::is_full(&error);
                self.met_full_disk.store(full, Ordering::Release);
                self.failed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    fn check_failed(&self) -> Result<()> {
        if self.has_failed() {
            Err(acquire_again())
        } else {
            Ok(())
        }
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn check_writable(&self) -> Result<()> {
        self.check_process()?;
        if self.access == Access::Inspect {
            return Err(fault::read_only());
        }
        self.place.as_ref().map_or(Ok(()), Place::check)
    }

    /// Becomes the owner: reopens the store if a write failed, raises the epoch and reads what
    /// the log holds.
    ///
    /// After a full disk the reserve is given back, so that the last events fit. Where it was given
    /// back before, its room is taken again, if the disk has it.
    pub(super) fn acquire(&self) -> Result<Recovered> {
        self.check_writable()?;
        self.at_hand.clear();
        let mut writer = lock(&self.writer);
        let full = self.met_full_disk.load(Ordering::Acquire);
        let mut released = full && self.release_reserve();
        let mut acquired = self.acquire_once(&mut writer);
        let is_full = acquired.as_ref().is_err_and(fault::is_full);
        if is_full && !released && self.release_reserve() {
            released = true;
            acquired = self.acquire_once(&mut writer);
        }
        if acquired.is_ok() {
            self.met_full_disk.store(false, Ordering::Release);
        }
        if let (Ok(_), Some(place), false) = (&acquired, &self.place, released) {
            place.keep_reserve();
        }
        acquired.map_err(for_good)
    }

    fn acquire_once(&self, writer: &mut Writer) -> Result<Recovered> {
        // Nothing is appended before the new epoch stands.
        let mut journal = lock(&self.journal);
        if self.has_failed() {
            *journal = self.reopen(writer)?;
        }
        let (batches, last) = batches_of(journal.waiting(), &journal);
        self.commit(writer, (&batches, last))?;
        journal.set_applied(last);
        // Rows that cannot be read are noticed before anybody owns them.
        let recovered = self.with_writable(|db| reads::recovered(&db.begin_read()?));
        let mut found = self.settle(recovered)?;
        let raised = self.with_writable(append::raise);
        let head = self.settle(raised)?;
        *journal = self.journal_at(head);
        self.failed.store(false, Ordering::Release);
        found.lease.epoch = head.head.epoch;
        found.head = head.head;
        Ok(found)
    }

    fn journal_at(&self, head: MetaHead) -> Journal {
        Journal::new((self.gate.clone(), self.layout), head)
    }

    /// Throws the database away and opens it again, with what the journal on the disk holds; waits for
    /// the reads that are in it.
    fn reopen(&self, writer: &mut Writer) -> Result<Journal> {
        writer.tail = None;
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        slot.close();
        let file = (&self.gate, self.layout);
        self.gate.trust_syncs();
        let opened = open::look_at(&self.gate, open::Purpose::Own)
            .and_then(|_| Ok(contained(|| open::database(file, self.cache_bytes))?));
        match opened {
            Ok((db, head)) => {
                *slot = Slot::writing(db);
                Ok(self.journal_at(head))
            }
            Err(error) => {
                slot.db = contained(|| open::view(file, Sharing::Alone)).ok();
                Err(error)
            }
        }
    }

    /// Leaves a database that takes no writes for a view of the file, unless somebody has become the
    /// owner meanwhile. Nothing is appended or brought in while the view is made, so that it shows
    /// everything that was acknowledged.
    fn look_only(&self) {
        let _writer = lock(&self.writer);
        let _journal = lock(&self.journal);
        if !self.has_failed() {
            return;
        }
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot.writable {
            slot.close();
            let file = (&self.gate, self.layout);
            slot.db = contained(|| open::view(file, Sharing::Alone)).ok();
        }
    }

    fn release_reserve(&self) -> bool {
        self.place.as_ref().is_some_and(Place::release_reserve)
    }

    /// How the store stands.
    pub(super) fn health(&self) -> StoreHealth {
        let writes = if self.access == Access::Inspect {
            WriteState::ReadOnly
        } else if self.failed.load(Ordering::Relaxed) {
            WriteState::Failed
        } else {
            WriteState::Accepting
        };
        let file = match &self.place {
            None => FileState::NoFile,
            Some(place) if place.is_kept() => FileState::InPlace,
            Some(_) => FileState::Gone,
        };
        let reserve = match &self.place {
            Some(place) if place.has_reserve() => ReserveState::Kept,
            _ => ReserveState::Missing,
        };
        StoreHealth {
            writes,
            file,
            reserve,
        }
    }

    /// The length of the file.
    pub(super) fn file_bytes(&self) -> Result<u64> {
        self.check_process()?;
        redb::StorageBackend::len(&self.gate).map_err(fault::of_io)
    }
}

fn batches_of(waiting: Vec<Waiting>, journal: &Journal) -> (Vec<Arc<Batch>>, u64) {
    let batches = waiting.into_iter().map(|waiting| waiting.batch).collect();
    (batches, journal.last())
}

fn acquire_again() -> Error {
    fault::unavailable("a write failed; the store has to be acquired again")
}

/// A disk that fails while the store is acquired takes no writes at all.
fn for_good(error: Error) -> Error {
    if error.kind() == ErrorKind::Unavailable && error.detail().is_none() {
        fault::read_only().with_source(error)
    } else {
        error
    }
}
