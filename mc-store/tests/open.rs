//! Opening files: what is refused, by which name, and that a refused file keeps every byte.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not test functions"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use mc_core::error::{Detail, Error, ErrorKind};
use mc_core::ports::EventLog;
use mc_store::{FileState, RedbLog, ReserveState, WriteState};
use mc_testkit::{SeededEntropy, Story, run_id};
use redb::{Database, ReadableDatabase, TableDefinition};
use support::{Teller, block_on, check_store};
use tempfile::TempDir;

/// Where the database begins in a file: behind the page that names it and two areas of 1 MiB.
const DATABASE: usize = 4096 + 2 * 1024 * 1024;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.redb");
    (dir, path)
}

/// Appends a few batches.
fn fill(log: &RedbLog, batches: u64) {
    let chance = SeededEntropy::new(batches);
    let mut teller = block_on(Teller::acquire(log));
    for _ in 0..batches {
        teller.tell(&chance);
        block_on(teller.append(log)).unwrap();
    }
    assert!(teller.acknowledged() >= batches);
}

/// A store with some events, closed.
fn filled() -> (TempDir, PathBuf) {
    let (dir, path) = place();
    fill(&RedbLog::open(&path).unwrap(), 20);
    (dir, path)
}

/// Opening refuses the file and changes no byte of it, for reading and for writing.
fn refused(path: &Path) -> Error {
    let before = fs::read(path).unwrap();
    let reading = RedbLog::open_read_only(path).unwrap_err();
    let error = RedbLog::open(path).unwrap_err();
    assert!(fs::read(path).unwrap() == before, "the file was changed");
    assert_eq!(reading.detail(), error.detail());
    error
}

#[test]
fn files_that_are_no_stores_are_refused_untouched() {
    let (_dir, path) = place();
    let zeros = vec![0; 100_000];
    let contents: [&[u8]; 4] = [b"", b"redb", b"hello, this is text\n", &zeros];
    for content in contents {
        fs::write(&path, content).unwrap();
        let error = refused(&path);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.detail(), Some(&Detail::ForeignFile));
    }
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let (_dir, path) = place();
    let theirs: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let db = Database::create(&path).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(theirs).unwrap().insert("format", 1).unwrap();
    tx.commit().unwrap();
    drop(db);
    assert_eq!(refused(&path).detail(), Some(&Detail::ForeignFile));
    let db = Database::open(&path).unwrap();
    let read = db.begin_read().unwrap().open_table(theirs).unwrap();
    assert_eq!(read.get("format").unwrap().unwrap().value(), 1);
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let (_dir, path) = filled();
    let mut bytes = fs::read(&path).unwrap();
    let newer = b"mission-control\0\0\0\0\x09";
    bytes[..newer.len()].copy_from_slice(newer);
    fs::write(&path, bytes).unwrap();
    let detail = Detail::NewerFormat {
        found: 9,
        supported: 1,
    };
    assert_eq!(refused(&path).detail(), Some(&detail));
}

#[test]
fn a_file_cut_short_is_corrupt() {
    let (_dir, path) = filled();
    let whole = fs::read(&path).unwrap();
    let database = DATABASE + 5_000;
    for keep in [9, 17, 300, 5_000, DATABASE, database, whole.len() - 1] {
        fs::write(&path, &whole[..keep]).unwrap();
        assert_eq!(refused(&path).kind(), ErrorKind::Corrupt, "{keep}");
    }
}

#[test]
fn flipped_bits_are_read_or_refused_and_never_panic() {
    let (_dir, path) = filled();
    let whole = fs::read(&path).unwrap();
    let chance = SeededEntropy::new(11);
    let mut refusals = 0;
    for round in 0..160 {
        let mut damaged = whole.clone();
        // Some flips hit the file's name, some the database's header, some its first pages, some any.
        let (from, to) = [
            (0, 32),
            (DATABASE, DATABASE + 320),
            (DATABASE, DATABASE + 16_384),
            (0, whole.len()),
        ][round % 4];
        let at = from + usize::try_from(chance.below((to - from) as u64)).unwrap();
        damaged[at] ^= 1 << chance.below(8);
        fs::write(&path, &damaged).unwrap();
        refusals += u64::from(!opens_and_reads(&path));
    }
    assert!(refusals > 5, "only {refusals} of the flips were noticed");
}

#[test]
fn a_flipped_bit_is_survived_or_named_and_then_every_byte_is_kept() {
    let (_dir, path) = filled();
    let whole = fs::read(&path).unwrap();
    let head: Vec<usize> = (0..32).chain(DATABASE..DATABASE + 320).collect();
    let written: Vec<usize> = (DATABASE..whole.len())
        .filter(|at| whole[*at] != 0)
        .collect();
    let rows: Vec<usize> = (DATABASE..whole.len())
        .filter(|at| whole[*at..].starts_with(b"{\"events\":"))
        .collect();
    let chance = SeededEntropy::new(4);
    let mut refusals = 0;
    for round in 0..400 {
        let places = [&head, &written, &rows][round % 3];
        let at = places[usize::try_from(chance.below(places.len() as u64)).unwrap()];
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << chance.below(8);
        fs::write(&path, &damaged).unwrap();
        let owned = RedbLog::open(&path).and_then(|log| block_on(log.acquire()).map(drop));
        if let Err(error) = owned {
            refusals += 1;
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error:?}");
            assert!(fs::read(&path).unwrap() == damaged, "byte {at}: {error:?}");
        }
    }
    assert!(refusals > 40, "only {refusals} of the flips were noticed");
}

#[test]
fn rows_that_an_owner_starts_from_are_whole_or_the_file_is_refused() {
    let (_dir, path) = filled();
    let whole = fs::read(&path).unwrap();
    for row in [
        &b"agent:researcher"[..],
        b"{\"events\":",
        b"{\"workflow\":\"research\"",
    ] {
        let places = (DATABASE..whole.len()).filter(|at| whole[*at..].starts_with(row));
        let damaged = places.fold(whole.clone(), |mut bytes, at| {
            bytes[at + row.len() - 1] ^= 1;
            bytes
        });
        assert!(damaged != whole);
        fs::write(&path, &damaged).unwrap();
        assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(fs::read(&path).unwrap() == damaged);
        // What can be read of it is evidence.
        let log = RedbLog::open_read_only(&path).unwrap();
        assert!(!block_on(log.read_workspace(0, 9)).unwrap().is_empty());
    }
}

#[test]
fn a_changed_event_is_noticed_when_it_is_read() {
    let (_dir, path) = place();
    let log = RedbLog::open(&path).unwrap();
    let mut story = Story::new();
    let lease = block_on(log.acquire()).unwrap().lease;
    story.event(run_id(1), "run.started").facts = "{\"text\":\"as it was\"}".into();
    block_on(log.append(lease, story.batch())).unwrap();
    drop(log);
    let mut bytes = fs::read(&path).unwrap();
    let found = bytes[DATABASE..]
        .windows(9)
        .position(|window| window == b"as it was");
    bytes[DATABASE + found.unwrap()] = b'A';
    fs::write(&path, &bytes).unwrap();
    assert!(!opens_and_reads(&path));
}

/// Whether every event can be read; anything else has to be an error of the right kind.
fn opens_and_reads(path: &Path) -> bool {
    let read = RedbLog::open(path).and_then(|log| {
        block_on(log.acquire())?;
        block_on(log.read_workspace(0, usize::MAX))
    });
    let Err(error) = read else { return true };
    let expected = [ErrorKind::Corrupt, ErrorKind::Unavailable];
    assert!(expected.contains(&error.kind()), "{error:?}");
    false
}

#[test]
fn a_second_opener_is_refused_with_the_owners_process_id() {
    let (_dir, path) = filled();
    let log = RedbLog::open(&path).unwrap();
    let detail = Detail::AlreadyOpen {
        pid: Some(std::process::id()),
    };
    for error in [RedbLog::open(&path), RedbLog::open_read_only(&path)].map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.detail(), Some(&detail));
    }
    fill(&log, 2);
    block_on(check_store(&log));
    drop(log);
    drop(RedbLog::open(&path).unwrap());
    assert!(!beside(&path, ".owner").exists());
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

#[cfg(unix)]
#[test]
fn a_new_file_is_private_and_leaves_no_draft() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, path) = place();
    let _log = RedbLog::open(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["agents.redb", "agents.redb.owner", "agents.redb.reserve"]
    );
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let (dir, _) = place();
    let error = RedbLog::open(dir.path().join("no/agents.redb")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = RedbLog::open(dir.path()).unwrap_err();
    assert_eq!(error.detail(), Some(&Detail::ForeignFile));
    let error = RedbLog::open_read_only(dir.path().join("none.redb")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_store_opened_for_reading_changes_nothing_and_is_shared() {
    let (_dir, path) = filled();
    let before = fs::read(&path).unwrap();
    let logs = [(); 2].map(|()| RedbLog::open_read_only(&path).unwrap());
    for log in &logs {
        assert!(block_on(check_store(log)) > 0);
        let error = block_on(log.acquire()).unwrap_err();
        assert_eq!(error.detail(), Some(&Detail::ReadOnly));
        assert_eq!(log.health().writes, WriteState::ReadOnly);
    }
    drop(logs);
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_store_that_was_not_closed_is_inspected_as_it_is() {
    let (_dir, path) = place();
    let log = RedbLog::open(&path).unwrap();
    fill(&log, 9);
    let events = block_on(check_store(&log));
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    assert_eq!(
        block_on(check_store(&RedbLog::open_read_only(&copy).unwrap())),
        events
    );
    assert!(fs::read(&copy).unwrap() == before);
}

/// The bytes of a store of a few batches that was not closed, and where its journal's records begin.
fn unclosed() -> (TempDir, PathBuf, Vec<usize>) {
    let (dir, path) = place();
    let log = RedbLog::open(&path).unwrap();
    let mut teller = block_on(Teller::acquire(&log));
    let chance = SeededEntropy::new(3);
    for _ in 0..4 {
        teller.tell(&chance);
        block_on(teller.append(&log)).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    drop(log);
    let blocks = (4096..DATABASE).step_by(4096);
    let records: Vec<usize> = blocks
        .filter(|at| bytes[*at..].starts_with(b"wave"))
        .collect();
    assert_eq!(records.len(), 4);
    fs::write(&path, bytes).unwrap();
    (dir, path, records)
}

#[test]
fn a_broken_record_of_the_journal_with_a_good_one_behind_it_is_damage() {
    let (_dir, path, records) = unclosed();
    let whole = fs::read(&path).unwrap();
    for place in [records[0] + 9, records[1] + 30, records[2] + 500] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let error = RedbLog::open(&path).unwrap_err();
        let what = Detail::Damaged {
            seq: None,
            reason: "journal",
        };
        assert_eq!(error.detail(), Some(&what));
        assert!(fs::read(&path).unwrap() == damaged);
        // What lies in front of it is evidence.
        block_on(check_store(&RedbLog::open_read_only(&path).unwrap()));
    }
}

#[test]
fn a_database_that_went_back_behind_its_journal_is_damage() {
    let (_dir, path) = filled();
    let before = fs::read(&path).unwrap();
    let log = RedbLog::open(&path).unwrap();
    let mut teller = block_on(Teller::acquire(&log));
    teller.tell(&SeededEntropy::new(1));
    block_on(teller.append(&log)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    drop(log);
    bytes.truncate(DATABASE);
    bytes.extend_from_slice(&before[DATABASE..]);
    fs::write(&path, &bytes).unwrap();
    let what = Detail::Damaged {
        seq: None,
        reason: "journal",
    };
    assert_eq!(RedbLog::open(&path).unwrap_err().detail(), Some(&what));
}

#[test]
fn a_record_of_the_journal_cut_short_was_never_acknowledged_and_is_left_out() {
    let (_dir, path, records) = unclosed();
    let mut bytes = fs::read(&path).unwrap();
    let all = block_on(check_store(&RedbLog::open_read_only(&path).unwrap()));
    bytes[records[3] + 512..DATABASE].fill(0);
    fs::write(&path, &bytes).unwrap();
    let log = RedbLog::open(&path).unwrap();
    let left = block_on(check_store(&log));
    assert!(left > 0 && left < all, "{left} of {all}");
    fill(&log, 2);
    block_on(check_store(&log));
}

#[test]
fn a_closed_store_needs_nothing_of_its_journal() {
    let (_dir, path) = filled();
    let events = block_on(check_store(&RedbLog::open_read_only(&path).unwrap()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..DATABASE].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let log = RedbLog::open(&path).unwrap();
    assert_eq!(block_on(check_store(&log)), events);
}

#[test]
fn a_file_that_was_moved_or_deleted_takes_nothing_more() {
    let (_dir, path) = filled();
    let log = RedbLog::open(&path).unwrap();
    let mut teller = block_on(Teller::acquire(&log));
    assert_eq!(log.health().file, FileState::InPlace);
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    teller.tell(&SeededEntropy::new(1));
    for _ in 0..2 {
        let error = block_on(teller.append(&log)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        fs::write(&path, b"another file").unwrap();
    }
    assert!(block_on(log.acquire()).is_err());
    assert_eq!(log.health().file, FileState::Gone);
    fs::rename(&away, &path).unwrap();
    block_on(teller.append(&log)).unwrap();
    block_on(check_store(&log));
}

#[test]
fn room_is_kept_for_a_full_disk() {
    let (_dir, path) = filled();
    let log = RedbLog::open(&path).unwrap();
    assert_eq!(log.health().reserve, ReserveState::Kept);
    assert_eq!(
        fs::metadata(beside(&path, ".reserve")).unwrap().len(),
        4 << 20
    );
    fs::remove_file(beside(&path, ".reserve")).unwrap();
    assert_eq!(log.health().reserve, ReserveState::Missing);
    block_on(log.acquire()).unwrap();
    assert_eq!(log.health().reserve, ReserveState::Kept);
}

#[test]
fn bytes_are_counted_by_table() {
    let (_dir, path) = filled();
    let log = RedbLog::open(&path).unwrap();
    let bytes = block_on(log.bytes()).unwrap();
    let frames = bytes
        .tables
        .iter()
        .find(|table| table.name == "frames")
        .unwrap();
    assert!(frames.rows > 0 && frames.stored > 0);
    assert_eq!(bytes.file, fs::metadata(&path).unwrap().len());
}
