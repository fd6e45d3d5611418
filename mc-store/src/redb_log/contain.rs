//! Containment: a panic of the database over a damaged page becomes an error, without a word on the
//! host's standard error.
//!
//! A panic's text is printed by the process's hook before anyone can catch it. So a hook is put in
//! front of the host's, once, which keeps still on a thread that is inside [`contained`], and hands
//! every other panic on. A hook that the host sets later replaces it: then the text is printed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::fault::{Fault, Outcome};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Marks the thread, and gives it back its mark when it goes.
struct Mark {
    before: bool,
}

impl Mark {
    fn set() -> Self {
        let before = CONTAINED.replace(true);
        Self { before }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        CONTAINED.set(self.before);
    }
}

fn install() {
    // From a panicking thread the hook cannot be changed; the next call is as good.
    if std::thread::panicking() {
        return;
    }
    HOOK.call_once(|| {
        let hosts = take_hook();
        set_hook(Box::new(move |panic| {
            // A thread that is ending has no mark any more.
            if !CONTAINED.try_with(Cell::get).unwrap_or(false) {
                hosts(panic);
            }
        }));
    });
}

/// Runs what may panic on a damaged file.
pub(super) fn contained<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    install();
    let mark = Mark::set();
    let done = catch_unwind(AssertUnwindSafe(work));
    drop(mark);
    done.unwrap_or_else(|panic| Err(Fault::Panicked(text_of(panic.as_ref()))))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "without a text".to_owned(),
    }
}
