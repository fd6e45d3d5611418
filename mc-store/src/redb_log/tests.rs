//! Unit tests of the file adapter that need its insides: a forked process, counted references, the reserve.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mc_core::error::{Detail, ErrorKind};
use mc_core::event::{MediaType, Part, PartContent, Record};
use mc_core::id::{Actor, AuthMethod, CommandId, Digest, RunId, WorkspaceId};
use mc_core::ports::{Batch, Blob, WorkspaceRow};
use mc_core::time::Timestamp;
use redb::StorageBackend as _;
use redb::backends::InMemoryBackend;

use super::health::ReserveState;
use super::open;
use super::place::Place;
use super::reads;
use super::store::{Access, Store};

const CACHE: usize = 1024 * 1024;

fn store() -> Store {
    let opened = open::backend(Box::new(InMemoryBackend::new())).unwrap();
    Store::new(opened, Access::Full, CACHE).unwrap()
}

fn event(seq: u64, digest: Digest) -> Record {
    Record {
        seq,
        run_id: RunId::from_bytes([1; 16]),
        run_seq: seq,
        epoch: 1,
        ts: Timestamp::EPOCH,
        kind: Arc::from("model_call.answered"),
        actor: Actor::System,
        auth_method: AuthMethod::Library,
        schema_ver: 1,
        cmd_id: CommandId::NIL,
        facts: Arc::from("{}"),
        parts: vec![Part {
            salt: [1; 16],
            len: 300,
            media_type: MediaType::Text,
            content: PartContent::Blob(digest),
        }],
    }
}

/// An event without content.
pub(super) fn plain_event(seq: u64) -> Record {
    Record {
        parts: Vec::new(),
        ..event(seq, Digest::ZERO)
    }
}

fn batch(seq: u64, blobs: Vec<Blob>) -> Batch {
    Batch {
        records: blobs
            .iter()
            .map(|blob| event(seq, blob.digest))
            .take(1)
            .collect(),
        blobs,
        runs: Vec::new(),
        accounts: Vec::new(),
        workflows: Vec::new(),
        keys: Vec::new(),
        tiles: Vec::new(),
        workspace: WorkspaceRow {
            workspace_id: WorkspaceId::NIL,
            state: Arc::from([]),
            frontier: Arc::from([]),
            chain_head: Digest::ZERO,
            next_run_seq: 0,
        },
    }
}

fn blob(family: u8) -> Blob {
    let bytes = vec![7; 300];
    Blob {
        family: RunId::from_bytes([family; 16]),
        digest: Digest::of(&[&bytes]),
        bytes: Arc::from(bytes),
    }
}

#[test]
fn a_blob_counts_each_time_that_its_family_names_it() {
    let store = store();
    let lease = store.acquire().unwrap().lease;
    let named = vec![blob(1), blob(1), blob(2)];
    store.append(lease, batch(0, named)).unwrap();
    store.append(lease, batch(1, vec![blob(1)])).unwrap();
    let digest = blob(1).digest;
    let count = |family| {
        let family = RunId::from_bytes([family; 16]);
        store
            .read(|tx| reads::references(tx, digest, family))
            .unwrap()
    };
    assert_eq!([count(1), count(2), count(3)], [3, 1, 0]);
}

#[test]
fn a_handle_inherited_over_a_fork_refuses_every_call_and_leaves_the_file_alone() {
    let disk = Arc::new(Disk::default());
    let opened = open::backend(Box::new(Shared(Arc::clone(&disk)))).unwrap();
    let store = Store::new(opened, Access::Full, CACHE).unwrap();
    let lease = store.acquire().unwrap().lease;
    let before = image(&disk);
    store.fork();
    let errors = [
        store.acquire().unwrap_err(),
        store.append(lease, batch(0, vec![blob(1)])).unwrap_err(),
        store.read(reads::head).unwrap_err(),
        store.file_bytes().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.detail(), Some(&Detail::ForkedHandle));
    }
    // Closing a database writes; the child's copy must not.
    drop(store);
    assert_eq!(image(&disk), before);
}

#[test]
fn a_full_disk_gets_the_reserve_and_heals_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let file = std::fs::File::create(&path).unwrap();
    let disk = Arc::new(Disk::default());
    let mut opened = open::backend(Box::new(Shared(Arc::clone(&disk)))).unwrap();
    opened.place = Some(Place::of(&path, &file).unwrap());
    let store = Store::new(opened, Access::Full, CACHE).unwrap();
    let lease = store.acquire().unwrap().lease;
    assert_eq!(store.health().reserve, ReserveState::Kept);
    disk.full.store(true, Ordering::Relaxed);
    let full = store.append(lease, batch(0, vec![blob(1)])).unwrap_err();
    assert_eq!(full.detail(), Some(&Detail::StorageFull));
    assert!(store.acquire().is_err());
    assert_eq!(store.health().reserve, ReserveState::Missing);
    disk.full.store(false, Ordering::Relaxed);
    let lease = store.acquire().unwrap().lease;
    store.append(lease, batch(0, vec![blob(1)])).unwrap();
    assert_eq!(store.health().reserve, ReserveState::Kept);
}

/// A blob of a mebibyte that no packing makes small.
fn mebibyte(seed: u64) -> Blob {
    let mut state = seed + 1;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    };
    let bytes: Vec<u8> = (0..128 * 1024).flat_map(|_| word()).collect();
    Blob {
        family: RunId::from_bytes([1; 16]),
        digest: Digest::of(&[&bytes]),
        bytes: Arc::from(bytes),
    }
}

#[test]
fn the_last_event_fits_into_the_room_of_the_reserve_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let file = std::fs::File::create(&path).unwrap();
    // The file and its reserve share a disk of 64 MiB.
    let reserve = path.with_extension("redb.reserve");
    let disk = Arc::new(Disk::with_room(64 * 1024 * 1024, reserve));
    let mut opened = open::backend(Box::new(Shared(Arc::clone(&disk)))).unwrap();
    opened.place = Some(Place::of(&path, &file).unwrap());
    let store = Store::new(opened, Access::Full, CACHE).unwrap();
    let mut lease = store.acquire().unwrap().lease;
    assert_eq!(store.health().reserve, ReserveState::Kept);
    let mut seq = 0;
    let full = loop {
        match store.append(lease, batch(seq, vec![mebibyte(seq)])) {
            Ok(_) => seq += 1,
            Err(error) => break error,
        }
        assert!(seq < 64, "the disk was never full");
    };
    assert_eq!(full.detail(), Some(&Detail::StorageFull));
    // Whatever the file is, there is no room beside it and the reserve.
    disk.shrink_to_fit();
    lease = store.acquire().unwrap().lease;
    assert_eq!(store.health().reserve, ReserveState::Missing);
    let seq = store.head().unwrap().next_seq;
    store.append(lease, batch(seq, vec![blob(1)])).unwrap();
    let last = store
        .read(|tx| reads::workspace_events(tx, seq, 1))
        .unwrap();
    assert_eq!(last.len(), 1, "the halt is written down");
}

/// A memory that can be full.
#[derive(Debug, Default)]
struct Disk {
    memory: InMemoryBackend,
    full: AtomicBool,
    /// How much the disk has, and the reserve that takes its part of it; zero is without end.
    room: AtomicU64,
    reserve: PathBuf,
}

impl Disk {
    fn with_room(room: u64, reserve: PathBuf) -> Self {
        Self {
            room: AtomicU64::new(room),
            reserve,
            ..Self::default()
        }
    }

    /// Makes the disk so small that nothing more fits.
    fn shrink_to_fit(&self) {
        let kept = std::fs::metadata(&self.reserve).map_or(0, |reserve| reserve.len());
        let used = self.memory.len().unwrap() + kept;
        self.room.store(used, Ordering::Relaxed);
    }

    fn room(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            Err(std::io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn room_for(&self, len: u64) -> std::io::Result<()> {
        let kept = std::fs::metadata(&self.reserve).map_or(0, |reserve| reserve.len());
        match self.room.load(Ordering::Relaxed) {
            0 => Ok(()),
            room if len + kept <= room => Ok(()),
            _ => Err(std::io::ErrorKind::StorageFull.into()),
        }
    }
}

/// One disk under several backends.
#[derive(Debug)]
struct Shared(Arc<Disk>);

impl redb::StorageBackend for Shared {
    fn len(&self) -> std::io::Result<u64> {
        self.0.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.room()?;
        self.0.room_for(len)?;
        self.0.memory.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.memory.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.room()?;
        let end = offset + data.len() as u64;
        if end > self.0.memory.len()? {
            self.0.room_for(end)?;
        }
        self.0.memory.write(offset, data)
    }
}

fn image(disk: &Disk) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(disk.memory.len().unwrap()).unwrap()];
    disk.memory.read(0, &mut out).unwrap();
    out
}
