//! A panic of the database over a damaged page says nothing on the host's standard error; any other
//! panic of the process still does. In a process of its own, since there is one hook a process.

mod support;

use std::panic::{catch_unwind, set_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use mc_core::error::ErrorKind;
use mc_store::RedbLog;
use mc_testkit::SeededEntropy;
use support::{Teller, block_on, check_store};

static HEARD: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_contained_panic_is_not_printed_and_any_other_is() {
    set_hook(Box::new(|_| {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.redb");
    let log = RedbLog::open(&path).unwrap();
    let mut teller = block_on(Teller::acquire(&log));
    teller.tell(&SeededEntropy::new(1));
    block_on(teller.append(&log)).unwrap();
    assert_eq!(block_on(check_store(&log)), teller.acknowledged());
    drop(log);
    let mut bytes = fs::read(&path).unwrap();
    let key = b"agent:researcher";
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(key) {
            // No UTF-8: the database panics over a key of text.
            bytes[at + 6] = 0xff;
        }
    }
    fs::write(&path, &bytes).unwrap();
    let error = RedbLog::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(format!("{error:?}").contains("panic"), "{error:?}");
    assert_eq!(HEARD.load(Ordering::Relaxed), 0);
    assert!(catch_unwind(|| panic!("of the host")).is_err());
    assert!(thread::spawn(|| panic!("elsewhere")).join().is_err());
    assert_eq!(HEARD.load(Ordering::Relaxed), 2);
}
