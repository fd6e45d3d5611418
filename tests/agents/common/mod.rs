//! A store in memory on the system's clock, agents from a file, and one step to run.

pub use std::sync::Arc;

pub use mc_testkit::model_server::{Answer, Completion, Fault, ModelServer, Script, Stop, UsageIn};
pub use mission_control::agents::file::{self, Place};
pub use mission_control::store::MemoryLog;
pub use mission_control::{
    AccountId, BlockReason, Builder, Limit, MissionControl, NanoUsd, OnExceed, Outcome, Position,
    PriceTable, RunHandle, Settings, StartOptions, Usage, Workflow,
};
pub use serde_json::{Value, json};

/// A token costs one thousandth of a dollar; one from the cache a tenth of that.
pub const PRICES: &str = r#"rate = [{ input = "1000", output = "1000", cache_read = "100" }]"#;

/// A store with agents.
pub struct World {
    pub control: MissionControl,
    pub dir: tempfile::TempDir,
}

/// Thousandths of a dollar.
pub fn mills(thousandths: i64) -> NanoUsd {
    NanoUsd::from_nano(thousandths * 1_000_000)
}

/// Settings where the model's row has these lines.
pub fn priced(lines: &str) -> Settings {
    Settings {
        prices: Arc::new(PriceTable::parse(&mc_testkit::test_prices(lines)).unwrap()),
        ..Settings::default()
    }
}

impl World {
    /// Opens a store with the agents of a file.
    pub async fn with(agents: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path());
        Self {
            dir,
            ..Self::at(agents, &place).await
        }
    }

    /// As `with`, with settings.
    pub async fn under(settings: Settings, agents: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path());
        Self {
            dir,
            ..Self::open(settings, agents, &place).await
        }
    }

    /// Opens a store with the agents of a file that lies elsewhere.
    pub async fn at(agents: &str, place: &Place) -> Self {
        Self::open(priced(PRICES), agents, place).await
    }

    async fn open(settings: Settings, agents: &str, place: &Place) -> Self {
        let builder = Builder::new().with_settings(settings);
        let control = builder.open_log(Arc::new(MemoryLog::new())).await.unwrap();
        for spec in file::read(agents.as_bytes(), place).unwrap() {
            let agent = spec.agent().unwrap();
            control
                .register_agent(spec.name.as_str(), agent)
                .await
                .unwrap();
        }
        control.start_dispatch().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self { control, dir }
    }

    /// Limits what the workspace may spend, in thousandths of a dollar.
    pub async fn limit(&self, thousandths: i64) {
        let limit = Limit::usd(mills(thousandths));
        let set = self.control.set_limit(
            ("ann", "as tested"),
            AccountId::Workspace,
            limit,
            OnExceed::Abort,
        );
        set.await.unwrap();
    }

    /// Starts a run of one step with these fields.
    pub async fn start(&self, step: &str, input: Value) -> RunHandle {
        let text = format!("{{ workflow: w, steps: {{ s: {{ {step} }} }} }}");
        self.control
            .publish(Workflow::from_yaml(&text).unwrap())
            .await
            .unwrap();
        let started = self.control.start("w", input, StartOptions::by("ann"));
        started.await.unwrap()
    }

    /// Runs one step to its end.
    pub async fn run(&self, step: &str, input: Value) -> Outcome {
        self.start(step, input).await.outcome().await.unwrap()
    }

    /// What the workspace has spent and what is in doubt.
    pub fn money(&self) -> (NanoUsd, NanoUsd) {
        let account = self.control.account(&AccountId::Workspace);
        account.map_or((NanoUsd::ZERO, NanoUsd::ZERO), |one| {
            assert!(one.reserved().is_zero(), "{one:?}");
            (one.spent().money, one.in_doubt().money)
        })
    }

    /// The facts of the run's events of a type.
    pub async fn facts(&self, run: &RunHandle, kind: &str) -> Vec<Value> {
        let records = self
            .control
            .log()
            .read_run(run.id(), 0, 1_000)
            .await
            .unwrap();
        let of_kind = records.iter().filter(|record| &*record.kind == kind);
        of_kind
            .map(|record| serde_json::from_str(&record.facts).unwrap())
            .collect()
    }
}

/// The output of a completed run.
pub fn output(outcome: &Outcome) -> &Value {
    outcome.output().unwrap_or_else(|| panic!("{outcome:?}"))
}

/// The code and the message of a failed run.
pub fn failure(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::Failed { code, message, .. } => (code, message),
        Outcome::Completed(_) | Outcome::Aborted(_) => panic!("{outcome:?}"),
    }
}
