//! Every adapter holds the contract of the log port.

use std::sync::Arc;

use mc_core::ports::EventLog;
use mc_store::{MemoryLog, RedbLog};
use mc_testkit::{CrashBackend, Opener, event_log_suite};

#[test]
fn the_log_in_memory_holds_the_contract() {
    event_log_suite(|| {
        let log = MemoryLog::new();
        Box::new(move || Arc::new(log.clone()) as Arc<dyn EventLog>) as Opener
    });
}

#[test]
fn the_log_in_a_file_holds_the_contract() {
    event_log_suite(|| {
        let dir = tempfile::tempdir().unwrap();
        Box::new(move || {
            let log = RedbLog::open(dir.path().join("agents.redb")).unwrap();
            Arc::new(log) as Arc<dyn EventLog>
        }) as Opener
    });
}

#[test]
fn the_inline_log_holds_the_contract() {
    event_log_suite(|| {
        let disk = CrashBackend::new();
        Box::new(move || Arc::new(RedbLog::inline(disk.clone()).unwrap()) as Arc<dyn EventLog>)
            as Opener
    });
}
