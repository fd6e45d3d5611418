//! Agents from closures, and those that several themes need.

use std::pin::Pin;
use std::sync::Mutex;

use super::*;

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

/// An agent that gives its input back under its step's name.
pub fn echo() -> Agent {
    agent(|ctx, input| async move { Ok(json!({ ctx.step().name(): input }).into()) })
}

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
        Ok(match input["until"].as_u64() {
            Some(after) => suspended(json!(1), until(after)),
            None => suspended(json!(1), go()),
        })
    })
}

/// An agent that makes one call: `bound` and `cost` in thousandths of a dollar, from its input.
pub fn caller(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            let number = |key: &str| input[key].as_u64().unwrap_or(0);
            // Its place in the queue is that of its first poll, which follows at once.
            notes.add(ctx.step().as_str());
            call(&ctx, "p", number("bound"), number("cost")).await?;
            Ok(json!(1).into())
        }
    })
}

/// Opens the store with the agent `caller`, which notes its steps.
pub async fn open_caller(world: &World) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "caller", caller(notes.clone())).await;
    (control, notes)
}

/// Ends an attempt, to be entered again.
pub fn suspended(checkpoint: Value, waiting_for: WaitingFor) -> StepOutcome {
    StepOutcome::Suspend {
        checkpoint,
        waiting_for,
    }
}

/// The signal `go`.
pub fn go() -> WaitingFor {
    let name = "go".parse().unwrap();
    WaitingFor::Signal { name }
}

/// So many seconds after the beginning of the world.
pub fn until(seconds: u64) -> WaitingFor {
    let until = START.after(secs(seconds));
    WaitingFor::Time { until }
}
