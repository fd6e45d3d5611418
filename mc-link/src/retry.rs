//! When to ask again who owns a store: when something happens beside its file, and now and then.
//!
//! The wait grows and is drawn by chance, so that several processes that lost the same owner do not all
//! come at once; a change of the socket or of the owner's name ends it early.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use rand::RngExt as _;
use tokio::sync::Notify;

use crate::place::Place;

/// The first wait, and the longest.
const FIRST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(500);

/// The shortest wait, however much happens.
const LEAST: Duration = Duration::from_millis(1);

/// Waits between tries.
#[derive(Debug)]
pub(crate) struct Retry {
    changed: Arc<Notify>,
    next: Duration,
    /// For as long as it is kept, changes are told.
    watcher: Option<RecommendedWatcher>,
}

impl Retry {
    /// Watches what lies beside a file.
    pub(crate) fn beside(place: &Place) -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            watcher: watch(place, &changed),
            changed,
            next: FIRST,
        }
    }

    /// Waits until another try makes sense.
    pub(crate) async fn wait(&mut self) {
        let most = self.next;
        self.next = (self.next * 2).min(LONGEST);
        let share = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(LEAST).await;
        tokio::select! {
            () = self.changed.notified() => {}
            () = tokio::time::sleep(most.mul_f64(share)) => {}
        }
    }
}

impl Retry {
    /// Waits until something happened beside the file, however long that takes. Where the system has no
    /// way to watch, it is looked at now and then.
    pub(crate) async fn until_changed(&mut self) {
        if self.watcher.is_none() {
            return self.wait().await;
        }
        self.changed.notified().await;
        // Several changes in a row are one.
        tokio::time::sleep(LEAST).await;
    }
}

/// Tells of changes of the names that an owner leaves beside its file. Where the system has no way to
/// watch, the waits alone do.
fn watch(place: &Place, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let sockets = place.found_at();
    let mut names: Vec<OsString> = sockets.iter().filter_map(|path| name(path)).collect();
    let mut owner = place.file.file_name()?.to_owned();
    owner.push(".owner");
    names.push(owner);
    let told = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Who only looks at them changes nothing.
        let event = event.ok().filter(|event| !event.kind.is_access());
        let paths = event.map(|event| event.paths).unwrap_or_default();
        let is_meant = |path: &Path| name(path).is_some_and(|name| names.contains(&name));
        if paths.iter().any(|path| is_meant(path)) {
            told.notify_one();
        }
    })
    .ok()?;
    let mut any = false;
    let own = place.file.parent().map(Path::to_owned);
    let dirs = sockets
        .iter()
        .filter_map(|path| path.parent().map(Path::to_owned));
    for dir in dirs.chain(own) {
        any |= watcher.watch(&dir, RecursiveMode::NonRecursive).is_ok();
    }
    any.then_some(watcher)
}

fn name(path: &Path) -> Option<OsString> {
    path.file_name().map(std::ffi::OsStr::to_owned)
}
