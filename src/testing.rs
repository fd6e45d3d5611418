//! For a host's own tests: a store in memory, virtual time, and a seed.
//!
//! ```
//! use mission_control::testing::Scenario;
//!
//! let world = Scenario::seeded(7);
//! let health = world.run(async {
//!     let control = world.open().await?;
//!     Ok::<_, mission_control::Error>(control.health())
//! });
//! assert!(matches!(health, Ok(Ok(mission_control::Health::Up))));
//! ```

use std::future::Future;
use std::sync::Arc;

use mc_core::engine::MissionControl;
use mc_core::error::Result;
use mc_core::ports::EventLog;
use mc_core::sequencer::Settings;
use mc_core::sim::{Simulation, Stalled};
use mc_core::time::Timestamp;
use mc_store::MemoryLog;

use crate::builder::Builder;

/// A world on one thread: the same seed gives the same log, byte for byte.
#[derive(Debug)]
pub struct Scenario {
    simulation: Simulation,
    log: Arc<dyn EventLog>,
}

impl Scenario {
    /// A world by a seed; it begins on 2026-01-01.
    pub fn seeded(seed: u64) -> Self {
        Self::new(
            seed,
            Timestamp::from_unix_us(1_767_225_600_000_000),
            Arc::new(MemoryLog::new()),
        )
    }

    /// A world by a seed that begins at a time, over any log.
    pub fn new(seed: u64, start: Timestamp, log: Arc<dyn EventLog>) -> Self {
        Self {
            simulation: Simulation::new(seed, start),
            log,
        }
    }

    /// The world itself: its clock, and how it crashes.
    pub const fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Opens the world's store.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub async fn open(&self) -> Result<MissionControl> {
        self.open_with(Settings::default()).await
    }

    /// Opens the world's store with settings.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub async fn open_with(&self, settings: Settings) -> Result<MissionControl> {
        let clock = Arc::clone(self.simulation.clock());
        let entropy = Arc::clone(self.simulation.entropy());
        Builder::new()
            .with_settings(settings)
            .with_clock(clock)
            .with_entropy(entropy)
            .with_spawner(self.simulation.spawner())
            .open_log(Arc::clone(&self.log))
            .await
    }

    /// Runs the world until `future` is done; time passes when nothing else can.
    ///
    /// # Errors
    /// [`Stalled`]: it waits for something that nothing can bring about.
    pub fn run<F: Future>(&self, future: F) -> std::result::Result<F::Output, Stalled> {
        self.simulation.block_on(future)
    }
}
