//! Opening: what is refused, in which order, and how a new file comes to be.
//!
//! A file is looked at through an [`Overlay`] first, so that one which is refused keeps every byte:
//! for writing, every row that an owner starts from is read and the first write is tried there.
//! A new store is built under another name and then linked to its own, so that a crash never leaves
//! half a store, and two processes that create the same one end with one owner.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use mc_core::error::{Detail, Error, ErrorKind, Result};
use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase as _, StorageBackend, WriteTransaction};

use super::append;
use super::contain::contained;
use super::fault::{self, Fault, Outcome};
use super::frames::{self, HEAD, MetaHead};
use super::gate::Gate;
use super::journal::{self, Damage};
use super::layout::{Layout, Region};
use super::overlay::{Overlay, Sharing};
use super::place::{self, Place, beside};
use super::reads;
use super::tables::{self, FRAMES, META};

/// The areas of a file's journal have 1 MiB each: a few waves of many runs at once, and hundreds of
/// a run alone.
const FILE_BLOCKS: u16 = 256;
/// Over a backend of the caller's they have 48 KiB: simulations fill them often.
const BACKEND_BLOCKS: u16 = 12;
/// The cache of a database that is only looked at.
const SMALL_CACHE: usize = 4 * 1024 * 1024;

/// A file that is open, locked and ours.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) gate: Gate,
    pub(super) layout: Layout,
    pub(super) place: Option<Place>,
}

/// Opens a store's file for writing; makes one if there is none.
pub(super) fn file(path: &Path) -> Result<Opened> {
    place::check_parent(path)?;
    if !fs::exists(path).map_err(fault::of_io)? {
        create(path)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    open(path, &options, Purpose::Own)
}

/// Opens a store's file that nobody may change.
pub(super) fn file_to_inspect(path: &Path) -> Result<Opened> {
    if !fs::exists(path).map_err(fault::of_io)? {
        return Err(Error::not_found("store", path.display()));
    }
    let mut options = OpenOptions::new();
    options.read(true);
    open(path, &options, Purpose::Inspect)
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To own it: what its owner starts from has to be whole.
    Own,
    /// To look at it: what can be read of a damaged store is still evidence.
    Inspect,
}

fn open(path: &Path, options: &OpenOptions, purpose: Purpose) -> Result<Opened> {
    check_is_file(path)?;
    let file = options.open(path).map_err(fault::of_io)?;
    let place = Place::of(path, &file).map_err(fault::of_io)?;
    let backend = FileBackend::new(file).map_err(Fault::from)?;
    let gate = Gate::new(Box::new(backend));
    let layout = look_at(&gate, purpose).map_err(|error| with_owner(error, path))?;
    place::warn_of_disk(path);
    Ok(Opened {
        gate,
        layout,
        place: Some(place),
    })
}

/// Puts a store over a backend: the one that is there, or a new one if it is empty.
pub(super) fn backend(backend: Box<dyn StorageBackend>) -> Result<Opened> {
    let gate = Gate::new(backend);
    if gate.len().map_err(fault::of_io)? == 0 {
        contained(|| initialise(&gate, Layout::new(BACKEND_BLOCKS)))?;
    }
    let layout = look_at(&gate, Purpose::Own)?;
    Ok(Opened {
        gate,
        layout,
        place: None,
    })
}

/// The database of a file, with all that its journal holds.
pub(super) fn database(
    (gate, layout): (&Gate, Layout),
    cache_bytes: usize,
) -> Outcome<(Database, MetaHead)> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let db = builder.create_with_backend(Region::of(gate.clone(), layout))?;
    let head = take_up((gate, layout), &db, Purpose::Own)?;
    Ok((db, head))
}

/// A view of the database and its journal that changes nothing. It shows what it can of a journal
/// that is damaged.
pub(super) fn view((gate, layout): (&Gate, Layout), sharing: Sharing) -> Outcome<Database> {
    let db = overlaid((gate, layout), sharing)?;
    take_up((gate, layout), &db, Purpose::Inspect)?;
    Ok(db)
}

fn overlaid((gate, layout): (&Gate, Layout), sharing: Sharing) -> Outcome<Database> {
    let overlay = Overlay::new(Region::of(gate.clone(), layout), sharing)?;
    let mut builder = Database::builder();
    builder.set_cache_size(SMALL_CACHE);
    Ok(builder.create_with_backend(overlay)?)
}

/// Brings into the database what the journal holds and the database lacks.
fn take_up((gate, layout): (&Gate, Layout), db: &Database, purpose: Purpose) -> Outcome<MetaHead> {
    let head = reads::meta_head(&db.begin_read()?)?;
    let found = journal::read((gate, layout), head)?;
    if (purpose, found.damage) == (Purpose::Own, Damage::Hole) {
        return Err(Error::corrupt("journal", None).into());
    }
    if !found.batches.is_empty() {
        let mut writer = append::Writer::default();
        let batches = (&found.batches[..], found.last);
        match (append::commit(db, &mut writer, batches), purpose) {
            // The database is as it was before: what can be read of it is evidence.
            (Ok(()), _) | (Err(Fault::Refused(_)), Purpose::Inspect) => {}
            (Err(Fault::Refused(error)), Purpose::Own) => return Err(as_damage(error).into()),
            (Err(fault), _) => return Err(fault),
        }
    }
    reads::meta_head(&db.begin_read()?)
}

/// A batch of the journal that does not follow on what the database holds is damage.
fn as_damage(error: Error) -> Error {
    if error.kind() == ErrorKind::Corrupt {
        return error;
    }
    Error::corrupt("journal", None).with_source(error)
}

/// Begins a transaction whose commit is on disk when it returns, and whose loss costs no repair.
pub(super) fn begin(db: &Database) -> Outcome<WriteTransaction> {
    let mut tx = db.begin_write()?;
    tx.set_durability(Durability::Immediate)?;
    tx.set_quick_repair(true);
    Ok(tx)
}

fn check_is_file(path: &Path) -> Result<()> {
    if fs::metadata(path).map_err(fault::of_io)?.is_file() {
        Ok(())
    } else {
        Err(fault::foreign("it is no file").with_context("path", path.display()))
    }
}

/// Reads what an owner or a reader starts from, in a view that changes nothing.
pub(super) fn look_at(gate: &Gate, purpose: Purpose) -> Result<Layout> {
    let sharing = match purpose {
        Purpose::Own => Sharing::Alone,
        Purpose::Inspect => Sharing::WithReaders,
    };
    contained(|| {
        let layout = Layout::read(gate)?;
        let db = overlaid((gate, layout), sharing)?;
        tables::check_all(&db.begin_read()?)?;
        take_up((gate, layout), &db, purpose)?;
        let tx = db.begin_read()?;
        check_end(&tx)?;
        match purpose {
            Purpose::Own => rehearse(&db, &tx)?,
            Purpose::Inspect => {}
        }
        Ok(layout)
    })
    .map_err(Error::from)
}

/// Does in the view what an owner does first: reads what it starts from, and raises the epoch.
fn rehearse(db: &Database, tx: &redb::ReadTransaction) -> Outcome<()> {
    reads::recovered(tx)?;
    reads::check_needy(tx)?;
    append::raise(db)?;
    Ok(())
}

/// The last frame has to end where the head says that the log ends.
fn check_end(tx: &redb::ReadTransaction) -> Outcome<()> {
    let head = MetaHead::read(&tx.open_table(META)?)?;
    let Some(last) = head.head.next_seq.checked_sub(1) else {
        return Ok(());
    };
    let frames = tx.open_table(FRAMES)?;
    let end = frames::first_seq_of(&frames, u64::MAX)?
        .map(|first| frames::load(&frames, first))
        .transpose()?
        .and_then(|records| records.last().map(|record| record.seq));
    if end == Some(last) {
        Ok(())
    } else {
        Err(Error::corrupt("head", Some(last)).into())
    }
}

fn initialise(gate: &Gate, layout: Layout) -> Outcome<()> {
    layout.write(gate)?;
    let db = Database::builder().create_with_backend(Region::of(gate.clone(), layout))?;
    let tx = begin(&db)?;
    tables::create_all(&tx)?;
    {
        let mut meta = tx.open_table(META)?;
        meta.insert(HEAD, MetaHead::default().encode().as_slice())?;
    }
    tx.commit()?;
    drop(db);
    Ok(())
}

fn create(path: &Path) -> Result<()> {
    let draft = beside(path, &format!(".new-{}", std::process::id()));
    let made = draft_file(&draft)
        .and_then(|file| {
            let backend = FileBackend::new(file).map_err(Fault::from)?;
            let gate = Gate::new(Box::new(backend));
            contained(|| initialise(&gate, Layout::new(FILE_BLOCKS))).map_err(Error::from)
        })
        .and_then(|()| publish(&draft, path).map_err(fault::of_io));
    drop(fs::remove_file(&draft));
    made.map_err(|error| error.with_context("path", path.display()))
}

fn draft_file(draft: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    // A draft of this name is left by a dead process that had our id.
    drop(fs::remove_file(draft));
    options.open(draft).map_err(fault::of_io)
}

/// Gives the draft its name, unless somebody else was first, and makes the name durable.
fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // A disk without links: renaming takes the name too.
        Err(_) => fs::rename(draft, path)?,
    }
    #[cfg(unix)]
    {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Names the process that has the file, where it left its id.
fn with_owner(error: Error, path: &Path) -> Error {
    match error.detail() {
        Some(Detail::AlreadyOpen { pid: None }) => fault::already_open(place::owner(path)),
        _ => error,
    }
    .with_context("path", path.display())
}
