//! Opening a store: three lines for the default, a builder for the rest.

use std::path::Path;
use std::sync::Arc;

use mc_core::engine::{Engine, MissionControl, Parts, Spawner};
use mc_core::error::{Error, Result};
use mc_core::id::{AuthMethod, Opaque};
use mc_core::policy::guard::{Detector, Redaction, RedactionScope, Redactor};
use mc_core::ports::{Clock, Entropy, EventLog, HaltSwitch};
use mc_core::sequencer::Settings;
use mc_link::{Opening, Succession};
use mc_store::{RedbOptions, Threads as StoreThreads};

use crate::halt_file::HaltFile;
use crate::system::{OsEntropy, SystemClock, Threads};

/// Opens the store in a file, made where there is none, with everything at its default.
///
/// Where another process has the file, this one joins it and gets the same handle: see
/// `docs/several-processes.md`.
///
/// # Errors
/// `Unavailable` (another process has it and does not answer, the disk is full), `Corrupt` (a foreign,
/// damaged or newer file, which is left as it is).
pub async fn open(path: impl AsRef<Path>) -> Result<MissionControl> {
    Builder::new().open(path).await
}

/// What an engine is opened with.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Settings,
    clock: Option<Arc<dyn Clock>>,
    entropy: Option<Arc<dyn Entropy>>,
    spawner: Option<Arc<dyn Spawner>>,
    auth_method: Option<AuthMethod>,
    succession: Succession,
}

impl Builder {
    /// Everything at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Settings: prices, policies, limits.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Takes out of content what must not be logged, before it is hashed and stored.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Arc<dyn Redactor>, scope: RedactionScope) -> Self {
        self.settings.redaction = Some(Redaction { redactor, scope });
        self
    }

    /// A detector that rules of the kind `pii` ask by this name, e.g. for personal data. A policy that
    /// names one which is not here is refused; where it is in force already, its rule denies.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is none.
    pub fn with_detector(mut self, name: &str, detector: Arc<dyn Detector>) -> Result<Self> {
        let name = Opaque::new(name).map_err(|fault| Error::invalid("detector", fault))?;
        self.settings.detectors.insert(name, detector);
        Ok(self)
    }

    /// Another clock than the operating system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Another source of chance than the operating system's.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// Another place for tasks than threads of the engine's own.
    #[must_use]
    pub fn with_spawner(mut self, spawner: Arc<dyn Spawner>) -> Self {
        self.spawner = Some(spawner);
        self
    }

    /// How callers of this process are known in the log; `library` by default.
    #[must_use]
    pub fn with_auth_method(mut self, auth_method: AuthMethod) -> Self {
        self.auth_method = Some(auth_method);
        self
    }

    /// Whether this process, where it joins another, takes its place when that is gone; it does by
    /// default.
    #[must_use]
    pub const fn with_succession(mut self, succession: Succession) -> Self {
        self.succession = succession;
        self
    }

    /// Opens the store in a file, or joins the process that has it.
    ///
    /// # Errors
    /// As [`open`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<MissionControl> {
        // The engine's own driver has a thread for nothing but commits; another's may be shared.
        let threads = match self.spawner {
            None => StoreThreads::OwnButAppends,
            Some(_) => StoreThreads::Own,
        };
        let opening = Opening {
            path: path.as_ref().to_owned(),
            redb: RedbOptions {
                threads,
                ..RedbOptions::default()
            },
            succession: self.succession,
        };
        let store = opening.path.clone();
        let mut switch = None;
        let control = mc_link::open(opening, |log| {
            let file = HaltFile::beside(&store);
            switch = Some(Arc::clone(&file));
            let switch: Arc<dyn HaltSwitch> = file;
            let parts = self.parts(log)?;
            Ok(Parts {
                switch: Some(switch),
                ..parts
            })
        });
        let control = control.await?;
        if let Some(file) = switch {
            file.watch(control.switch_hand());
        }
        Ok(control)
    }

    /// Opens any log.
    ///
    /// # Errors
    /// As [`open`].
    pub async fn open_log(self, log: Arc<dyn EventLog>) -> Result<MissionControl> {
        Engine::open(self.parts(log)?).await
    }

    pub(crate) fn parts(self, log: Arc<dyn EventLog>) -> Result<Parts> {
        let spawner: Arc<dyn Spawner> = match self.spawner {
            Some(spawner) => spawner,
            None => Threads::start()?,
        };
        Ok(Parts {
            log,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            entropy: self.entropy.unwrap_or_else(|| Arc::new(OsEntropy)),
            spawner,
            settings: self.settings,
            auth_method: self.auth_method.unwrap_or(AuthMethod::Library),
            switch: None,
        })
    }
}
