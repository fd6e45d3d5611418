//! A reader that goes through the whole log while it is written keeps no room of it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not test functions"
)]

use std::future::Future;

use mc_core::ports::EventLog;
use mc_store::RedbLog;
use mc_testkit::{CrashBackend, Story, run_id};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// How long the file is behind a thousand commits, where each tenth is followed by a read of so many
/// events.
fn length(limit: usize) -> usize {
    let disk = CrashBackend::new();
    let log = RedbLog::inline(disk.clone()).unwrap();
    block_on(async {
        let lease = log.acquire().await.unwrap().lease;
        let mut story = Story::new();
        for n in 0..1_000_u64 {
            story.event(run_id(n % 7), "agent.decided").epoch = lease.epoch;
            story.part(&n.to_be_bytes().repeat(40));
            log.append(lease, story.batch()).await.unwrap();
            if n % 10 == 0 {
                let read = log.read_workspace(0, limit).await.unwrap();
                assert_eq!(read.len() as u64, (n + 1).min(limit as u64));
            }
        }
    });
    disk.image().len()
}

#[test]
fn the_file_grows_no_more_under_a_reader_of_everything_than_under_one_of_an_event() {
    assert_eq!(length(usize::MAX), length(1));
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
