//! Crashes and failing disks: what was acknowledged is there, nothing is there by half.
//!
//! Each history is journaled operation by operation; at every one of them, with every loss, the image
//! is opened again and compared with itself: rows have to be what the events say.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not test functions"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use mc_core::error::{Detail, ErrorKind};
use mc_core::ports::{EventLog, Head};
use mc_store::{RedbLog, RedbOptions, Threads};
use mc_testkit::{CrashBackend, Dirty, DiskFault, SeededEntropy, run_id};
use support::{Teller, block_on, check_store};

/// A store that was made before the journal begins.
fn made() -> CrashBackend {
    let disk = CrashBackend::new();
    drop(RedbLog::inline(disk.clone()).unwrap());
    CrashBackend::of_image(disk.image())
}

/// Tells a history of batches of a seed, and marks how many events are acknowledged.
fn tell(disk: &CrashBackend, seed: u64, batches: usize) {
    let log = RedbLog::inline(disk.clone()).unwrap();
    let chance = SeededEntropy::new(seed);
    let mut teller = block_on(Teller::acquire(&log));
    for _ in 0..batches {
        teller.tell(&chance);
        block_on(teller.append(&log)).unwrap();
        disk.mark(teller.acknowledged());
    }
}

/// Opens every crash image of a disk's journal.
fn check_crashes(disk: &CrashBackend, seed: u64, every: usize) {
    let (mut shown, mut opened) = (0, 0);
    disk.journal().crashes(seed, |crash| {
        shown += 1;
        if shown % every != 0 {
            return;
        }
        opened += 1;
        let place = format!("seed {seed} step {} {:?}", crash.step, crash.loss);
        let log = RedbLog::inline(CrashBackend::of_image(crash.image));
        let log = log.unwrap_or_else(|error| panic!("{place}: {error:?}"));
        let events = block_on(check_store(&log));
        assert!(
            events >= crash.marked.unwrap_or(0),
            "{place}: acknowledged events are lost"
        );
    });
    assert!(opened > 100, "only {opened} images");
}

#[test]
fn no_crash_loses_an_acknowledged_batch_or_leaves_half_a_batch() {
    for seed in 1..=2 {
        let disk = made();
        tell(&disk, seed, 6);
        check_crashes(&disk, seed, 1);
    }
}

#[test]
fn no_crash_while_the_journal_is_written_over_loses_a_batch() {
    let disk = made();
    tell(&disk, 8, 40);
    check_crashes(&disk, 8, 5);
}

#[test]
fn a_crash_while_opening_and_acquiring_is_harmless() {
    let first = made();
    tell(&first, 3, 3);
    let mut images = Vec::new();
    first.journal().crashes(3, |crash| images.push(crash));
    for crash in images.into_iter().rev().step_by(15).take(7) {
        let again = CrashBackend::of_image(crash.image);
        let log = RedbLog::inline(again.clone()).unwrap();
        block_on(Teller::acquire(&log));
        again.journal().crashes(7, |second| {
            let log = RedbLog::inline(CrashBackend::of_image(second.image)).unwrap();
            let events = block_on(check_store(&log));
            assert!(events >= crash.marked.unwrap_or(0));
        });
    }
}

#[test]
fn a_failed_write_is_committed_or_not_and_never_both() {
    for dirty in [Dirty::Kept, Dirty::Dropped] {
        for good in 0..4 {
            in_doubt(DiskFault::Sync { good, dirty }, 20 + good);
        }
    }
    for good in [0, 1, 2, 3, 5, 8, 12, 19] {
        in_doubt(DiskFault::Write { good }, 40 + good);
    }
}

/// Lets one operation fail, resolves the doubt by acquiring again, and goes on.
fn in_doubt(fault: DiskFault, seed: u64) {
    let disk = made();
    let log = RedbLog::inline(disk.clone()).unwrap();
    let chance = SeededEntropy::new(seed);
    let mut teller = block_on(Teller::acquire(&log));
    disk.fail(fault);
    // The database is written to only now and then: how soon the fault is met depends.
    let (mut told, mut last) = (0, 60);
    while told < last {
        told += 1;
        teller.tell(&chance);
        if let Err(error) = block_on(teller.append(&log)) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}");
            refuses_until_acquired(&log, &mut teller);
            teller = block_on(Teller::acquire(&log));
            last = told + 3;
        }
        disk.mark(teller.acknowledged());
    }
    assert!(!disk.heal(), "{fault:?} was never met");
    assert_eq!(block_on(check_store(&log)), teller.acknowledged());
    drop(log);
    check_last_images(&disk, seed);
}

fn refuses_until_acquired(log: &RedbLog, teller: &mut Teller) {
    let refused = block_on(teller.append(log)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    block_on(check_store(log));
}

/// What a resolved doubt said has to hold for every later crash.
fn check_last_images(disk: &CrashBackend, seed: u64) {
    let mut images = Vec::new();
    disk.journal().crashes(seed, |crash| images.push(crash));
    for crash in images.into_iter().rev().step_by(5).take(20) {
        let log = RedbLog::inline(CrashBackend::of_image(crash.image)).unwrap();
        let events = block_on(check_store(&log));
        assert!(events >= crash.marked.unwrap_or(0), "step {}", crash.step);
    }
}

#[test]
fn a_full_disk_is_named_reads_go_on_and_it_heals_without_a_restart() {
    let disk = made();
    let log = RedbLog::inline(disk.clone()).unwrap();
    let chance = SeededEntropy::new(5);
    let mut teller = block_on(Teller::acquire(&log));
    teller.tell(&chance);
    block_on(teller.append(&log)).unwrap();
    let written = teller.acknowledged();
    disk.fail(DiskFault::Full);
    teller.tell(&chance);
    let error = block_on(teller.append(&log)).unwrap_err();
    assert_eq!(error.detail(), Some(&Detail::StorageFull));
    for _ in 0..2 {
        let error = block_on(log.acquire()).unwrap_err();
        assert_eq!(
            (error.kind(), error.detail()),
            (ErrorKind::Unavailable, Some(&Detail::StorageFull))
        );
        assert_eq!(block_on(check_store(&log)), written);
    }
    disk.heal();
    let mut teller = block_on(Teller::acquire(&log));
    teller.tell(&chance);
    block_on(teller.append(&log)).unwrap();
    assert_eq!(block_on(check_store(&log)), teller.acknowledged());
}

#[test]
fn a_disk_that_fails_for_good_leaves_a_store_that_reads() {
    let disk = made();
    let log = RedbLog::inline(disk.clone()).unwrap();
    let chance = SeededEntropy::new(6);
    let mut teller = block_on(Teller::acquire(&log));
    teller.tell(&chance);
    block_on(teller.append(&log)).unwrap();
    disk.fail(DiskFault::Broken);
    teller.tell(&chance);
    assert!(block_on(teller.append(&log)).is_err());
    let error = block_on(log.acquire()).unwrap_err();
    assert_eq!(
        (error.kind(), error.detail()),
        (ErrorKind::Unavailable, Some(&Detail::ReadOnly))
    );
    block_on(check_store(&log));
    let row = block_on(log.run_row(run_id(1)));
    assert!(row.is_ok());
}

/// Stops the readers, also where the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Reads until it is told to stop; how often it read.
fn reads_on(log: &RedbLog, ended: &AtomicBool) -> u64 {
    let mut reads = 0;
    while !ended.load(Ordering::Acquire) || reads == 0 {
        block_on(log.read_workspace(0, 5)).unwrap();
        reads += 1;
    }
    reads
}

#[test]
fn an_owner_whose_disk_fails_while_others_read_owns_what_is_on_the_disk() {
    let disk = made();
    let options = RedbOptions {
        threads: Threads::Own,
        ..RedbOptions::default()
    };
    let log = options.open_over(disk.clone()).unwrap();
    let chance = SeededEntropy::new(12);
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let stop = Stop(&ended);
        let readers = [(); 2].map(|()| threads.spawn(|| reads_on(&log, &ended)));
        let mut teller = block_on(Teller::acquire(&log));
        for round in 0..60 {
            let good = round % 4;
            disk.fail(DiskFault::Sync {
                good,
                dirty: Dirty::Kept,
            });
            teller.tell(&chance);
            let appended = block_on(teller.append(&log));
            if appended.is_err() {
                disk.heal();
                teller = block_on(Teller::acquire(&log));
                assert_eq!(head_on(disk.image()), block_on(log.head()).unwrap());
            }
        }
        drop(stop);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    disk.heal();
    block_on(check_store(&log));
}

/// The head of the store that an image holds.
fn head_on(image: Vec<u8>) -> Head {
    let log = RedbLog::inline(CrashBackend::of_image(image)).unwrap();
    block_on(log.head()).unwrap()
}
