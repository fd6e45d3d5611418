//! The halt file: a file beside the store that halts everything.
//!
//! `touch agents.redb.halt` is enough; its first line, if it has one, is the reason, and whoever owns
//! the file is the operator. It is watched, and looked at with every commit that dispatches something.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mc_core::engine::SwitchHand;
use mc_core::ports::{HaltSwitch, Pulled};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

/// The most of the file that is read.
const MOST_BYTES: u64 = 1_024;

/// The switch beside a store.
#[derive(Debug)]
pub(crate) struct HaltFile {
    path: PathBuf,
    /// For as long as it is kept, the file is watched.
    watcher: Mutex<Option<RecommendedWatcher>>,
}

impl HaltFile {
    /// That of a store whose file is there.
    pub(crate) fn beside(store: &Path) -> Arc<Self> {
        let store = fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
        let mut path = store.into_os_string();
        path.push(".halt");
        Arc::new(Self {
            path: path.into(),
            watcher: Mutex::new(None),
        })
    }

    /// Halts everything as soon as the file is there. Where the system has no way to watch, the look
    /// with every dispatch is left.
    pub(crate) fn watch(&self, hand: SwitchHand) {
        let name = self.path.file_name().map(OsStr::to_owned);
        let told = move |event: notify::Result<Event>| {
            let paths = event.map(|event| event.paths).unwrap_or_default();
            if paths.iter().any(|path| path.file_name() == name.as_deref()) {
                hand.obey();
            }
        };
        let beside = self.path.parent().unwrap_or(Path::new("."));
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(beside, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => {
                *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
            }
            Err(error) => tracing::warn!(%error, "the halt file is not watched, only looked up"),
        }
    }

    fn reason(&self) -> String {
        let mut text = Vec::new();
        if let Ok(file) = fs::File::open(&self.path) {
            // What cannot be read halts all the same.
            let _ = file.take(MOST_BYTES).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().map(str::trim).unwrap_or_default();
        match line {
            "" => format!("{} is there", self.path.display()),
            line => line.to_owned(),
        }
    }
}

impl HaltSwitch for HaltFile {
    fn pulled(&self) -> Option<Pulled> {
        let meta = fs::symlink_metadata(&self.path).ok()?;
        Some(Pulled {
            by: owner(&meta),
            reason: self.reason(),
            place: self.path.display().to_string(),
        })
    }
}

#[cfg(unix)]
fn owner(meta: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let uid = meta.uid().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = users.lines().map(|line| line.splitn(4, ':'));
    let name = users.find_map(|mut user| {
        let name = user.next()?;
        (user.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid-{uid}"))
}

#[cfg(not(unix))]
fn owner(_: &fs::Metadata) -> String {
    "halt-file".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AgentError, AgentExecutor, Builder, HaltScope, MissionControl, Position, StartOptions,
        StepContext, StepOutcome, Workflow,
    };
    use mc_core::engine::{Engine, Parts};
    use mc_store::MemoryLog;
    use serde_json::{Value, json};

    /// Gives its input back.
    struct Echo;

    #[crate::async_trait]
    impl AgentExecutor for Echo {
        async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
            Ok(input.into())
        }
    }

    /// An engine with a halt file beside it, which `watching` may watch.
    async fn open(file: &Arc<HaltFile>, watching: fn(&HaltFile, SwitchHand)) -> MissionControl {
        let parts = Builder::new().parts(Arc::new(MemoryLog::new())).unwrap();
        let switch: Arc<dyn HaltSwitch> = Arc::<HaltFile>::clone(file);
        let switch = Some(switch);
        let control = Engine::open(Parts { switch, ..parts }).await.unwrap();
        control.register_agent("echo", Echo).await.unwrap();
        let yaml = "{ workflow: w, steps: { a: { agent: echo } } }";
        let workflow = Workflow::from_yaml(yaml).unwrap();
        control.publish(workflow).await.unwrap();
        control.start_dispatch().await.unwrap();
        watching(file, control.switch_hand());
        control
    }

    fn never(_: &HaltFile, _: SwitchHand) {}

    /// The system gives up watching after a while.
    fn dies(file: &HaltFile, hand: SwitchHand) {
        file.watch(hand);
        assert!(file.watcher.lock().unwrap().take().is_some());
    }

    #[tokio::test]
    async fn a_dispatch_finds_the_file_that_nobody_watches() {
        for watching in [never, dies] {
            let directory = tempfile::tempdir().unwrap();
            let file = HaltFile::beside(&directory.path().join("a.redb"));
            let control = open(&file, watching).await;
            fs::write(&file.path, "").unwrap();
            assert!(control.halts().is_empty(), "nobody watches");
            let run = control.start("w", json!({}), StartOptions::by("ann")).await;
            let run = run.unwrap();
            let position = run.settled_or_blocked().await.unwrap();
            let Position::Blocked { steps, .. } = position else {
                panic!("{position:?}");
            };
            assert_eq!(steps[0].code, "halted");
            fs::remove_file(&file.path).unwrap();
            control
                .resume(("ann", "as tested"), HaltScope::Workspace)
                .await
                .unwrap();
            assert!(run.outcome().await.unwrap().output().is_some());
        }
    }
}
