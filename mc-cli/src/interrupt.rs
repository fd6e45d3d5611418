//! Ctrl-C while a run is watched: the first one lets it stop in order, the second ends it at once.
//!
//! It is heard on a thread of its own, so that a command that cannot listen (it reads a terminal, or
//! what it writes is not read) is ended all the same. What is *not* here: what stopping means
//! (`commands::interrupted`). Whoever calls the library keeps their own signals unless they ask.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::console::Signals;
use crate::exit::Exit;

/// How long a command may take to end at once, before it is ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody is asked: nothing else is heard until they answer, and nothing of the run is out.
static ASKING: AtomicBool = AtomicBool::new(false);

/// How often somebody wanted it to end.
#[derive(Debug)]
pub(crate) struct Interrupts {
    times: watch::Receiver<u32>,
}

impl Interrupts {
    /// Listens from now on, where that is asked for; else nothing is ever heard.
    pub(crate) fn listen(signals: Signals) -> Self {
        let (told, times) = watch::channel(0);
        if signals == Signals::Heard {
            let (ready, listens) = mpsc::channel();
            let named = thread::Builder::new().name("interrupts".to_owned());
            // Without a thread, or without signals, the process ends as it always did.
            if named.spawn(move || hear(&told, &ready)).is_ok() {
                let _ = listens.recv();
            }
        }
        Self { times }
    }

    /// Until it was heard so often.
    pub(crate) async fn heard(&self, often: u32) {
        let mut times = self.times.clone();
        if times.wait_for(|times| *times >= often).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// While this is held, the first one ends the process.
#[derive(Debug)]
pub(crate) struct Asking(());

impl Asking {
    pub(crate) fn begin() -> Self {
        ASKING.store(true, Ordering::Release);
        Self(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.store(false, Ordering::Release);
    }
}

fn hear(told: &watch::Sender<u32>, ready: &mpsc::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let Ok(mut signals) = signals() else { return };
        // Whoever waits for it may have gone.
        let _ = ready.send(());
        while signals.recv().await.is_some() {
            told.send_modify(|times| *times = times.saturating_add(1));
            if ASKING.load(Ordering::Acquire) {
                end();
            }
            if *told.borrow() > 1 {
                tokio::time::sleep(PATIENCE).await;
                end();
            }
        }
    });
}

#[cfg(unix)]
fn signals() -> std::io::Result<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::interrupt())
}

#[cfg(windows)]
fn signals() -> std::io::Result<tokio::signal::windows::CtrlC> {
    tokio::signal::windows::ctrl_c()
}

#[expect(
    clippy::exit,
    reason = "whoever asks for it twice wants nothing more done"
)]
fn end() -> ! {
    // They are in groups of their own: what ends this process does not reach them.
    mc_agents::command::kill_programs();
    process::exit(i32::from(Exit::Interrupted.code()))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_was_heard_often_enough_is_there_at_once() {
        let (told, times) = watch::channel(1);
        let interrupts = Interrupts { times };
        assert!(interrupts.heard(1).now_or_never().is_some());
        assert!(interrupts.heard(2).now_or_never().is_none());
        told.send_replace(2);
        assert!(interrupts.heard(2).now_or_never().is_some());
    }

    #[test]
    fn whoever_keeps_their_own_signals_is_never_interrupted() {
        let interrupts = Interrupts::listen(Signals::Left);
        assert!(interrupts.heard(1).now_or_never().is_none());
    }
}
