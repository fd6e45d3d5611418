//! What the facade's tests share: worlds in virtual time, agents from closures, and what a log says.
//!
//! Each test binary uses a part of it. What is *not* here: tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use mc_testkit::TEST_PRICES;
pub use mission_control::core::event::Record;
pub use mission_control::testing::Scenario;
pub use mission_control::{
    AccountId, Admission, AgentError, AgentExecutor, Amount, BlockReason, CallError, CallFailure,
    ErrorKind, Limit, MissionControl, ModelAnswer, ModelId, ModelRequest, NanoUsd, OnExceed,
    Outcome, Position, PriceTable, ProviderError, RunHandle, Settings, StartOptions, StepContext,
    StepOutcome, StepStatus, Usage, WaitingFor, Workflow,
};
pub use serde_json::{Value, json};

/// What an agent answers.
pub type Answered = Result<StepOutcome, AgentError>;

type Act =
    dyn Fn(StepContext, Value) -> Pin<Box<dyn Future<Output = Answered> + Send>> + Send + Sync;

/// An agent from a closure.
pub struct Agent(Box<Act>);

#[mission_control::async_trait]
impl AgentExecutor for Agent {
    async fn execute(&self, ctx: StepContext, input: Value) -> Answered {
        (self.0)(ctx, input).await
    }
}

/// An agent that does what the closure does.
pub fn agent<F, Fut>(act: F) -> Agent
where
    F: Fn(StepContext, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answered> + Send + 'static,
{
    Agent(Box::new(move |ctx, input| Box::pin(act(ctx, input))))
}

/// An agent that gives its input back under its step's name.
pub fn echo() -> Agent {
    agent(|ctx, input| async move { Ok(json!({ ctx.step().name(): input }).into()) })
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// Writes a line.
    pub fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// Every line so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

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

/// The model of the tests' prices.
pub fn model() -> ModelId {
    "test/m".parse().unwrap()
}

/// A request that costs at most so many thousandths of a dollar.
pub fn request(prompt: &str, mills: u64) -> ModelRequest {
    ModelRequest::text(model(), prompt)
        .input_tokens(0)
        .max_output_tokens(mills)
}

/// An answer that costs so many thousandths of a dollar.
pub fn answer(text: &str, mills: u64) -> ModelAnswer {
    let usage = Usage {
        output_text: mills,
        ..Usage::default()
    };
    ModelAnswer::text(text, usage)
}

/// Makes a call that is answered after a second.
pub async fn call(
    ctx: &StepContext,
    prompt: &str,
    bound: u64,
    cost: u64,
) -> Result<ModelAnswer, CallError> {
    let request = request(prompt, bound);
    ctx.model_call(&request, |_| async move {
        ctx.sleep(secs(1)).await;
        Ok(answer("ok", cost))
    })
    .await
}

/// Thousandths of a dollar.
pub const fn mills(mills: i64) -> NanoUsd {
    NanoUsd::from_nano(mills * 1_000_000)
}

/// A limit of so many thousandths of a dollar.
pub fn limit(of: i64) -> Limit {
    Limit::usd(mills(of))
}

/// Publishes a workflow, starts to dispatch, and starts a run of it.
pub async fn begin(control: &MissionControl, yaml: &str, input: Value) -> RunHandle {
    begin_with(control, yaml, input, StartOptions::by("ann")).await
}

/// As `begin`, with options.
pub async fn begin_with(
    control: &MissionControl,
    yaml: &str,
    input: Value,
    options: StartOptions,
) -> RunHandle {
    let workflow = Workflow::from_yaml(yaml).unwrap();
    let published = control.publish(workflow).await.unwrap();
    control.start_dispatch().await.unwrap();
    let name = published.workflow.as_str().to_owned();
    control.start(&name, input, options).await.unwrap()
}

/// Every event of a run that is on disk.
pub async fn events(control: &MissionControl, run: &RunHandle) -> Vec<Record> {
    control.log().read_run(run.id(), 0, 100_000).await.unwrap()
}

/// The kinds of a run's events.
pub async fn kinds(control: &MissionControl, run: &RunHandle) -> Vec<String> {
    let events = events(control, run).await;
    events.iter().map(|event| event.kind.to_string()).collect()
}

/// How many events of a kind a run has.
pub async fn count(control: &MissionControl, run: &RunHandle, kind: &str) -> usize {
    let kinds = kinds(control, run).await;
    kinds.iter().filter(|one| *one == kind).count()
}

/// The facts of the first event of a kind.
pub async fn facts(control: &MissionControl, run: &RunHandle, kind: &str) -> Value {
    let events = events(control, run).await;
    let found = events.iter().find(|event| &*event.kind == kind);
    let found = found.unwrap_or_else(|| panic!("no event {kind}"));
    serde_json::from_str(&found.facts).unwrap()
}

/// The status of a step.
pub async fn status(run: &RunHandle, step: &str) -> StepStatus {
    run.state()
        .await
        .unwrap()
        .step_status(&step.parse().unwrap())
}

/// The output of a run with one last step.
pub fn output(outcome: &Outcome) -> Value {
    outcome
        .output()
        .unwrap_or_else(|| panic!("{outcome:?}"))
        .clone()
}

/// The steps that wait for somebody, with reason and code.
pub fn blocks(position: &Position) -> Vec<(String, BlockReason, String)> {
    match position {
        Position::Blocked { steps, .. } => steps
            .iter()
            .map(|one| (one.step.to_string(), one.reason, one.code.clone()))
            .collect(),
        Position::Ended(outcome) => panic!("it has ended: {outcome:?}"),
    }
}

/// One step that gives its input back.
pub const ECHO: &str = "{ workflow: w, steps: { a: { agent: echo } } }";

/// Two of them, one after the other.
pub const ECHOES: &str =
    "{ workflow: w, steps: { a: { agent: echo }, b: { agent: echo, needs: [a] } } }";

/// One step of the agent `it`.
pub const WAITS: &str = "{ workflow: w, steps: { a: { agent: it } } }";

/// Opens the store with the agent `echo`.
pub async fn open_echo(world: &World) -> MissionControl {
    let control = world.open().await;
    control.register_agent("echo", echo()).await.unwrap();
    control
}

/// Suspends until its input's `until` (seconds) or the signal `go`, then gives what it was given.
pub fn parked() -> Agent {
    agent(|ctx, input| async move {
        if let Some((_, given)) = ctx.resumed() {
            return Ok(given.cloned().unwrap_or_default().into());
        }
        let start = mission_control::Timestamp::from_unix_us(1_767_225_600_000_000);
        let waiting_for = match input["until"].as_u64() {
            Some(after) => WaitingFor::Time {
                until: start.after(secs(after)),
            },
            None => WaitingFor::Signal {
                name: "go".parse().unwrap(),
            },
        };
        Ok(StepOutcome::Suspend {
            checkpoint: json!(1),
            waiting_for,
        })
    })
}

/// Settings under which few runs stay in memory.
pub fn few() -> Settings {
    Settings {
        resident_runs: 4,
        ..settings()
    }
}
