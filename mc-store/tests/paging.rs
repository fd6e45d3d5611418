//! A reader that goes through the whole log while it is written keeps no room of it.

mod support;

use mc_core::ports::EventLog;
use mc_store::RedbLog;
use mc_testkit::{CrashBackend, Story, run_id};
use support::block_on;

/// How long the file is behind so many commits, with a reader or without one.
fn length(reads: impl Fn(u64) -> bool) -> usize {
    let disk = CrashBackend::new();
    let log = RedbLog::inline(disk.clone()).unwrap();
    block_on(async {
        let lease = log.acquire().await.unwrap().lease;
        let mut story = Story::new();
        let mut at = 0;
        for n in 0..1_500 {
            let event = story.event(run_id(n % 7), "agent.decided");
            event.epoch = lease.epoch;
            story.part(&n.to_be_bytes().repeat(40));
            log.append(lease, story.batch()).await.unwrap();
            if reads(n) {
                at += log.read_workspace(at, 200).await.unwrap().len() as u64;
                log.read_run(run_id(n % 7), 0, usize::MAX).await.unwrap();
            }
        }
        assert!(!reads(0) || at == 1_500);
    });
    disk.image().len()
}

#[test]
fn the_file_does_not_grow_under_a_reader_that_pages() {
    let alone = length(|_| false);
    assert_eq!(length(|_| true), alone);
}

#[test]
fn a_long_read_gives_what_was_there_and_goes_on_from_any_place() {
    let log = RedbLog::inline(CrashBackend::new()).unwrap();
    block_on(async {
        let lease = log.acquire().await.unwrap().lease;
        let mut story = Story::new();
        for n in 0..700 {
            story.event(run_id(n % 2), "agent.decided").epoch = lease.epoch;
        }
        log.append(lease, story.batch()).await.unwrap();
        let all = log.read_workspace(0, usize::MAX).await.unwrap();
        assert!(all.iter().map(|one| one.seq).eq(0..700));
        let one = log.read_run(run_id(1), 20, 300).await.unwrap();
        assert!(one.iter().map(|one| one.run_seq).eq(20..320));
        assert_eq!(log.read_workspace(5, 0).await.unwrap(), []);
        assert_eq!(log.read_workspace(690, 600).await.unwrap().len(), 10);
    });
}
