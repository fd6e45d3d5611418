//! A disk that fails, and what is left on it after a crash.
//!
//! [`CrashBackend`] keeps every write in memory and in a journal. Of the journal, [`Journal::crashes`]
//! makes the images that a power loss may leave at every operation: what was synced is there; of the
//! rest all, some, or torn sectors. Faults let a sync or a write fail, once or until the disk is healed.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use mc_core::sim::SeededEntropy;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;

/// What happens to unsynced data when a sync fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// The next sync writes it.
    Kept,
    /// It is never written, though reads still show it until the machine stops.
    Dropped,
}

/// A fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The sync after `good` good ones fails once, with an I/O error.
    Sync {
        /// How many succeed before.
        good: u64,
        /// What happens to what was not synced.
        dirty: Dirty,
    },
    /// The write after `good` good ones fails once, with an I/O error.
    Write {
        /// How many succeed before.
        good: u64,
    },
    /// Every write fails, the disk being full, until it is healed.
    Full,
    /// Every write and sync fails with an I/O error until the disk is healed.
    Broken,
}

/// A disk in memory that journals what is done to it. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct CrashBackend(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    live: Vec<u8>,
    start: Vec<u8>,
    steps: Vec<Step>,
    fault: Option<DiskFault>,
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        offset: usize,
        data: Vec<u8>,
    },
    SetLen(usize),
    Sync,
    /// A failed sync that dropped what was not synced.
    Dropped,
    /// A test's own mark: what it had acknowledged by then.
    Mark(u64),
}

impl CrashBackend {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds an image, all of it synced.
    pub fn of_image(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            live: image.clone(),
            start: image,
            ..Disk::default()
        })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a mark into the journal, e.g. how many batches were acknowledged.
    pub fn mark(&self, acknowledged: u64) {
        self.disk().steps.push(Step::Mark(acknowledged));
    }

    /// Lets the disk fail from now on.
    pub fn fail(&self, fault: DiskFault) {
        self.disk().fault = Some(fault);
    }

    /// Ends every fault. Tells whether one was still to come or lasting.
    pub fn heal(&self) -> bool {
        self.disk().fault.take().is_some()
    }

    /// What reads show now.
    pub fn image(&self) -> Vec<u8> {
        self.disk().live.clone()
    }

    /// What was done since the disk was made.
    pub fn journal(&self) -> Journal {
        let disk = self.disk();
        Journal {
            start: disk.start.clone(),
            steps: disk.steps.clone(),
        }
    }
}

impl Disk {
    /// The fault that a write or a sync meets.
    fn meet(&mut self, syncs: bool) -> Option<io::Error> {
        let broken = || io::Error::from_raw_os_error(5);
        let left = match (&mut self.fault, syncs) {
            (Some(DiskFault::Broken), _) => return Some(broken()),
            (Some(DiskFault::Full), false) => return Some(io::ErrorKind::StorageFull.into()),
            (Some(DiskFault::Sync { good, .. }), true)
            | (Some(DiskFault::Write { good }), false) => good,
            _ => return None,
        };
        if *left > 0 {
            *left -= 1;
            return None;
        }
        if let Some(DiskFault::Sync {
            dirty: Dirty::Dropped,
            ..
        }) = self.fault.take()
        {
            self.steps.push(Step::Dropped);
        }
        Some(broken())
    }
}

fn index(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

impl StorageBackend for CrashBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = index(offset)?;
        let disk = self.disk();
        let bytes = disk.live.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = index(len)?;
        let mut disk = self.disk();
        if let Some(error) = disk.meet(false) {
            return Err(error);
        }
        disk.live.resize(len, 0);
        disk.steps.push(Step::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        if let Some(error) = disk.meet(true) {
            return Err(error);
        }
        disk.steps.push(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = index(offset)?;
        let mut disk = self.disk();
        if let Some(error) = disk.meet(false) {
            return Err(error);
        }
        put(&mut disk.live, offset, data);
        let data = data.to_vec();
        disk.steps.push(Step::Write { offset, data });
        Ok(())
    }
}

/// What a crash takes of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: only the process died.
    Nothing,
    /// Some of them, by the seed.
    SomeWrites,
    /// Some of their sectors, by the seed.
    SomeSectors,
}

impl Loss {
    /// Every loss.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::SomeWrites, Self::SomeSectors];
}

/// What is left after a crash.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The operation before which it crashed.
    pub step: usize,
    /// What was taken.
    pub loss: Loss,
    /// The last mark before it; none before the first.
    pub marked: Option<u64>,
    /// The bytes of the disk.
    pub image: Vec<u8>,
}

/// Everything that was done to a disk.
#[derive(Clone, Debug)]
pub struct Journal {
    start: Vec<u8>,
    steps: Vec<Step>,
}

impl Journal {
    /// How many operations there were.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Shows every crash image: each operation, each loss.
    pub fn crashes(&self, seed: u64, mut show: impl FnMut(Crash)) {
        let chance = SeededEntropy::new(seed);
        let mut synced = self.start.clone();
        let mut unsynced: Vec<&Step> = Vec::new();
        let mut marked = None;
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Mark(mark) => marked = Some(*mark),
                Step::Dropped => unsynced.retain(|step| matches!(step, Step::SetLen(_))),
                Step::Sync => unsynced.drain(..).for_each(|step| whole(&mut synced, step)),
                Step::Write { .. } | Step::SetLen(_) => unsynced.push(step),
            }
            for loss in Loss::ALL {
                show(Crash {
                    step: at + 1,
                    loss,
                    marked,
                    image: image(&synced, &unsynced, (loss, &chance)),
                });
            }
        }
    }
}

fn whole(image: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write { offset, data } => put(image, *offset, data),
        Step::SetLen(len) => image.resize(*len, 0),
        Step::Sync | Step::Dropped | Step::Mark(_) => {}
    }
}

fn image(synced: &[u8], unsynced: &[&Step], (loss, chance): (Loss, &SeededEntropy)) -> Vec<u8> {
    let mut image = synced.to_vec();
    for step in unsynced {
        match (loss, step) {
            (Loss::SomeWrites, Step::Write { .. }) if chance.below(2) == 0 => {}
            (Loss::SomeSectors, Step::Write { offset, data }) => {
                torn(&mut image, (*offset, data), chance);
            }
            _ => whole(&mut image, step),
        }
    }
    image
}

/// Writes some of the sectors.
fn torn(image: &mut Vec<u8>, (offset, data): (usize, &[u8]), chance: &SeededEntropy) {
    let mut done = 0;
    while done < data.len() {
        let size = (SECTOR - (offset + done) % SECTOR).min(data.len() - done);
        if chance.below(2) == 0 {
            put(image, offset + done, &data[done..done + size]);
        }
        done += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(disk: &CrashBackend, loss: Loss) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        disk.journal().crashes(3, |crash| {
            if crash.loss == loss {
                out.push(crash.image);
            }
        });
        out
    }

    #[test]
    fn what_was_synced_is_in_every_later_image() {
        let disk = CrashBackend::new();
        disk.write(0, &[1; 4]).unwrap();
        disk.sync_data().unwrap();
        disk.write(0, &[2; 2_000]).unwrap();
        for loss in Loss::ALL {
            let after = &images(&disk, loss)[1..];
            assert!(
                after
                    .iter()
                    .all(|image| image[..4] == [1; 4] || image[..4] == [2; 4])
            );
        }
        assert_eq!(images(&disk, Loss::Nothing)[2], vec![2; 2_000]);
    }

    #[test]
    fn sectors_tear_at_512_bytes() {
        let disk = CrashBackend::of_image(vec![0; 4_096]);
        disk.write(0, &[1; 4_096]).unwrap();
        let image = &images(&disk, Loss::SomeSectors)[0];
        let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(image.chunks(512).all(whole));
        assert!(image.contains(&0) && image.contains(&1));
    }

    #[test]
    fn a_failed_sync_that_drops_leaves_its_writes_out_for_ever() {
        let disk = CrashBackend::of_image(vec![0; 8]);
        disk.fail(DiskFault::Sync {
            good: 0,
            dirty: Dirty::Dropped,
        });
        disk.write(0, &[1; 8]).unwrap();
        assert!(disk.sync_data().is_err());
        disk.sync_data().unwrap();
        assert_eq!(disk.image(), [1; 8]);
        assert_eq!(images(&disk, Loss::Nothing).pop().unwrap(), [0; 8]);
    }

    #[test]
    fn a_full_disk_stays_full_until_it_is_healed() {
        let disk = CrashBackend::new();
        disk.fail(DiskFault::Full);
        let error = disk.write(0, &[1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(disk.write(0, &[1]).is_err() && disk.sync_data().is_ok());
        assert!(disk.heal() && disk.write(0, &[1]).is_ok());
    }

    #[test]
    fn the_counted_write_fails_and_no_other() {
        let disk = CrashBackend::new();
        disk.fail(DiskFault::Write { good: 1 });
        let results = [0, 1, 2].map(|offset| disk.write(offset, &[1]).is_ok());
        assert_eq!(results, [true, false, true]);
    }
}
