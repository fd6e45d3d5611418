//! Worlds: a store, virtual time and a seed, and how the store is opened.

use super::*;
use mission_control::Timestamp;

/// Seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world for tests.
pub struct World(pub Scenario);

impl World {
    /// A world by a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Scenario::seeded(seed))
    }

    /// Runs the world until the future is done.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.0.run(future).expect("the world moves")
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, span: Duration) {
        use mission_control::core::ports::Clock;
        let clock = self.0.simulation().clock();
        clock.sleep_until(clock.monotonic() + span).await;
    }

    /// Virtual seconds since the world began.
    pub fn elapsed(&self) -> Duration {
        use mission_control::core::ports::Clock;
        self.0.simulation().clock().monotonic()
    }

    /// Every task stops where it stands, as when a process is killed.
    pub fn crash(&self) {
        self.0.simulation().crash();
    }

    /// Opens the store with the tests' prices.
    pub async fn open(&self) -> MissionControl {
        self.0.open_with(settings()).await.unwrap()
    }

    /// Opens the store with settings.
    pub async fn open_with(&self, settings: Settings) -> MissionControl {
        self.0.open_with(settings).await.unwrap()
    }
}

/// A token of the model `test/m` costs one thousandth of a dollar, in and out.
pub fn prices() -> PriceTable {
    PriceTable::parse(TEST_PRICES).unwrap()
}

/// Settings with the tests' prices.
pub fn settings() -> Settings {
    Settings {
        prices: Arc::new(prices()),
        ..Settings::default()
    }
}

/// Settings under which few runs stay in memory.
pub fn few() -> Settings {
    Settings {
        resident_runs: 4,
        ..settings()
    }
}

/// Opens a world's store with one agent.
pub async fn open_for(world: &World, name: &str, agent: Agent) -> MissionControl {
    open_with(world, settings(), name, agent).await
}

/// As `open_for`, with settings.
pub async fn open_with(
    world: &World,
    settings: Settings,
    name: &str,
    agent: Agent,
) -> MissionControl {
    let control = world.open_with(settings).await;
    register(&control, name, agent).await;
    control
}

/// Registers an agent.
pub async fn register(control: &MissionControl, name: &str, agent: Agent) {
    control.register_agent(name, agent).await.unwrap();
}

/// The beginning of every world.
pub const START: Timestamp = Timestamp::from_unix_us(1_767_225_600_000_000);
