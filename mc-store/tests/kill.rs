//! A process that is killed while it appends loses nothing that it had acknowledged.
//!
//! The test starts this test binary again, with the store's path in an environment variable, and
//! kills that child after a random number of its acknowledgements.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not test functions"
)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use mc_store::RedbLog;
use mc_testkit::SeededEntropy;
use support::{Teller, block_on, check_store};

const PATH: &str = "MC_STORE_KILL_TEST_PATH";
const ACK: &str = "acknowledged ";
/// More than any parent waits for; bounds a child whose parent died.
const MOST_BATCHES: u64 = 3_000;

/// The child's part: appends and tells what is acknowledged. Does nothing in a plain test run.
#[test]
fn child_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let log = RedbLog::open(path).unwrap();
    let mut teller = block_on(Teller::acquire(&log));
    let chance = SeededEntropy::new(teller.acknowledged());
    for _ in 0..MOST_BATCHES {
        teller.tell(&chance);
        block_on(teller.append(&log)).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{ACK}{}", teller.acknowledged()).unwrap();
        out.flush().unwrap();
    }
}

/// Starts a child, kills it after some acknowledgements and gives the last one.
fn kill_after(path: &Path, acks: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut take = |count: usize| {
        lines
            .by_ref()
            .filter_map(|line| line.ok()?.strip_prefix(ACK)?.parse().ok())
            .take(count)
            .for_each(|ack| last = ack);
    };
    take(usize::try_from(acks).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts too.
    take(usize::MAX);
    last
}

#[test]
fn no_acknowledged_batch_is_lost_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.redb");
    let chance = SeededEntropy::new(9);
    let mut last = 0;
    for kill in 0..20 {
        last = last.max(kill_after(&path, 1 + chance.below(7)));
        let log = RedbLog::open(&path).unwrap();
        let events = block_on(check_store(&log));
        assert!(events >= last, "kill {kill}: {events} of {last} events");
        last = events;
    }
    assert!(last > 100);
}
