//! Unit tests of the file adapter that need its insides: a forked process, counted references, the reserve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// A memory that can be full.
#[derive(Debug, Default)]
struct Disk {
    memory: InMemoryBackend,
    full: AtomicBool,
}

impl Disk {
    fn room(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            Err(std::io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
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
        self.0.memory.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.memory.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.room()?;
        self.0.memory.write(offset, data)
    }
}

fn image(disk: &Disk) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(disk.memory.len().unwrap()).unwrap()];
    disk.memory.read(0, &mut out).unwrap();
    out
}
