//! What agents and workflows of a seed do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mc_core::budget::AccountId;
use mc_core::engine::{
    Admission, AgentError, AgentExecutor, CallError, EffectProbe, ModelAnswer, ModelRequest,
    ProbeAnswer, ProviderError, Spawner, StepContext, StepOutcome,
};
use mc_core::event::step::WaitingFor;
use mc_core::id::{ModelId, Opaque, TagName};
use mc_core::policy::RiskTier;
use mc_core::ports::{Clock as _, EventLog};
use mc_core::resilience::{CallFailure, OutputBegun};
use mc_core::sim::SimClock;
use mc_core::time::Timestamp;
use mc_core::usage::Usage;
use serde_json::{Value, json};

use super::asking;
use super::disk::WatchedLog;
use super::draw::Draw;
use super::ghost;
use super::habits::Habits;
use super::handlers::Handlers;
use super::nesting::Shelf;

/// The tag that every other run carries.
pub(super) const TAG: &str = "acme";

/// The account of [`TAG`].
pub(super) fn tag_account() -> AccountId {
    TagName::new(TAG).map_or(AccountId::Workspace, AccountId::Tag)
}

/// The agents of every world.
pub(super) const AGENTS: [&str; 3] = ["ann", "bob", "cyd"];

/// An agent whose every attempt is drawn from the seed and the attempt's place.
#[derive(Debug)]
pub(super) struct Scripted {
    /// The world's seed.
    pub(super) seed: u64,
    /// The world's log: I8 is looked up in it.
    pub(super) log: WatchedLog,
    /// Whether it may hang for ever.
    pub(super) hangs: Hangs,
    /// What may happen.
    pub(super) habits: Habits,
    /// Who works in this process.
    pub(super) handlers: Handlers,
    /// Where what it leaves behind runs.
    pub(super) spawner: Arc<dyn Spawner>,
    /// The world's clock.
    pub(super) clock: Arc<SimClock>,
}

/// Whether agents may hang for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangs {
    /// Until they are told to stop, which may be never.
    Yes,
    /// They give up: every run can be brought to an end.
    No,
}

#[async_trait]
impl AgentExecutor for Scripted {
    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        let _working = self
            .handlers
            .work((ctx.run_id(), ctx.step(), ctx.attempt()));
        self.must_be_durable(&ctx).await;
        let place = format!("{}#{}", ctx.effect_key(), ctx.attempt());
        let mut draw = Draw::of(self.seed, &place);
        for _ in 0..draw.below(4) {
            self.act(&ctx, &mut draw).await?;
        }
        self.end(&ctx, &mut draw, input).await
    }

    async fn probe(&self, effect: EffectProbe) -> Option<ProbeAnswer> {
        let place = format!("probe {}#{}", effect.effect_key, effect.attempt);
        match Draw::of(self.seed, &place).below(6) {
            0 => Some(ProbeAnswer::Happened(json!({"list": [1]}))),
            1 => Some(ProbeAnswer::DidNotHappen),
            _ => None,
        }
    }
}

impl Scripted {
    /// I8: an attempt is out only once its dispatch is in the log.
    async fn must_be_durable(&self, ctx: &StepContext) {
        let run = ctx.run_id();
        let written = self.log.faults().checker(|checker| {
            let step = checker
                .runs()
                .get(&run)
                .and_then(|run| run.step(&ctx.step()));
            let dispatched = step.is_some_and(|step| step.attempt >= ctx.attempt());
            dispatched && checker.has_escrow(run, &ctx.step(), ctx.attempt())
        });
        if !written {
            let what = format!(
                "{run}/{}#{} is out before its dispatch or its hold",
                ctx.step(),
                ctx.attempt()
            );
            self.log
                .faults()
                .checker(|checker| checker.find("I8", what));
        }
        // A reader between two commits sees whole batches only.
        let _ = self.log.head().await;
    }

    async fn act(&self, ctx: &StepContext, draw: &mut Draw) -> Result<(), AgentError> {
        if self.habits.asks() && draw.one_in(4) {
            return self.pay(ctx, draw).await;
        }
        match draw.below(self.habits.choices(8, 2)) {
            8 => ghost::leave(self, ctx, &request(draw)?, draw).await?,
            9 => drop(self.reserve(ctx, &request(draw)?).await?),
            0 => {
                ctx.tool_call("search", RiskTier::Write, &json!({"q": 1}), || async {
                    Ok(json!({"found": 1}))
                })
                .await?;
            }
            1 => drop(ctx.once("id", || async { json!(42) }).await?),
            2 => ctx.decision(json!(1), json!("because"), json!(2)).await?,
            3 => ctx.side_effect("file", "k").await?,
            4 => self.lie(ctx, draw).await?,
            _ => call(ctx, draw).await?,
        }
        Ok(())
    }
}

impl Scripted {
    /// Calls a tool that moves money; whoever is refused goes on, or not.
    async fn pay(&self, ctx: &StepContext, draw: &mut Draw) -> Result<(), AgentError> {
        let params = json!({"to": draw.below(2)});
        let (slow, goes_on) = (draw.one_in(3), draw.one_in(2));
        let paid = ctx.tool_call("pay", RiskTier::Read, &params, || async {
            let (run, step, attempt) = (ctx.run_id(), ctx.step(), ctx.attempt());
            self.log.faults().checker(|checker| {
                checker.acknowledged(&format!("a payment of {run}/{step}#{attempt}"), |log| {
                    log.has_called(run, &step, attempt, "pay")
                });
            });
            let span = if slow { 40_000 } else { 20 };
            ctx.sleep(Duration::from_millis(span)).await;
            Ok(json!({"paid": true}))
        });
        match paid.await {
            Ok(_) => Ok(()),
            Err(_) if goes_on => Ok(()),
            Err(error) => Err(AgentError::from(error)),
        }
    }
}

pub(super) fn request(draw: &mut Draw) -> Result<ModelRequest, AgentError> {
    let model = ModelId::new("recorded/GPT_4").map_err(|f| AgentError::new(f.to_string()))?;
    let prompt = format!("prompt {}", draw.below(3));
    Ok(ModelRequest::text(model, &prompt)
        .input_tokens(10 + draw.below(90))
        .max_output_tokens(10 + draw.below(90)))
}

/// A call that is answered, refused, lost or broken.
async fn call(ctx: &StepContext, draw: &mut Draw) -> Result<(), AgentError> {
    let request = request(draw)?;
    let (fate, used) = (draw.below(12), draw.below(10));
    let refused = std::sync::atomic::AtomicU64::new(draw.below(4));
    let answered = ctx.model_call(&request, |_| {
        let left = refused.fetch_update(
            std::sync::atomic::Ordering::Relaxed,
            std::sync::atomic::Ordering::Relaxed,
            |left| left.checked_sub(1),
        );
        async move {
            ctx.sleep(Duration::from_millis(20)).await;
            let status = |code| CallFailure::Status {
                code,
                output_begun: OutputBegun::No,
            };
            let fail = |failure| Err(ProviderError::new(failure, "as drawn"));
            match (left, fate) {
                (Ok(_), _) => fail(status(429)),
                (Err(_), 0) => fail(CallFailure::Timeout),
                (Err(_), 1) => fail(status(500)),
                (Err(_), 2) => fail(status(400)),
                (Err(_), 3) => fail(CallFailure::Cut),
                (Err(_), _) => Ok(ModelAnswer::text("ok", Usage::text(1 + used, 1 + used))),
            }
        }
    });
    answered.await.map(drop).map_err(AgentError::from)
}

impl Scripted {
    /// Reserves a call. I8: what holds its money is in the log.
    pub(super) async fn reserve(
        &self,
        ctx: &StepContext,
        request: &ModelRequest,
    ) -> Result<Admission, AgentError> {
        let admission = ctx.reserve(request).await?;
        if matches!(admission, Admission::Allowed(_) | Admission::Clamped(_)) && !ctx.is_cancelled()
        {
            let (run, step, attempt) = (ctx.run_id(), ctx.step(), ctx.attempt());
            self.log.faults().checker(|checker| {
                checker.acknowledged(&format!("a permit of {run}/{step}#{attempt}"), |log| {
                    log.holds(run, &step, attempt)
                });
            });
        }
        Ok(admission)
    }

    /// A permit that is dropped, or a provider that bills more than it may.
    async fn lie(&self, ctx: &StepContext, draw: &mut Draw) -> Result<(), AgentError> {
        match self.reserve(ctx, &request(draw)?).await? {
            Admission::Allowed(permit) if draw.one_in(2) => drop(permit),
            Admission::Allowed(permit) | Admission::Clamped(permit) => {
                let usage = Usage::text(150, 150 + draw.below(100));
                permit.settle(&ModelAnswer::text("more", usage)).await?;
            }
            Admission::Answered(_) => {}
            Admission::NeedsApproval(id) => return Err(CallError::NeedsApproval(id).into()),
            Admission::Denied(error) => {
                return Err(AgentError::with_code(error.code(), error.message()).fatal());
            }
        }
        Ok(())
    }

    /// How the attempt ends: well, badly, late, never, or by waiting.
    async fn end(
        &self,
        ctx: &StepContext,
        draw: &mut Draw,
        input: Value,
    ) -> Result<StepOutcome, AgentError> {
        match draw.below(self.habits.choices(16, 2)) {
            16 | 17 if ctx.resumed().is_none() => {
                // Now and then a time that has passed.
                let away = Duration::from_secs(60 * draw.below(240));
                let until = self.clock.now().as_unix_us() - 3_600_000_000;
                let until = Timestamp::from_unix_us(until).after(away);
                Ok(StepOutcome::Suspend {
                    checkpoint: json!({"asleep": true}),
                    waiting_for: WaitingFor::Time { until },
                })
            }
            0 => Err(AgentError::new("as drawn")),
            1 => Err(AgentError::new("for good").fatal()),
            2 => {
                // Ignores that it is to stop, and answers too late.
                ctx.sleep(Duration::from_secs(90)).await;
                Ok(json!({"late": true}).into())
            }
            3 if self.hangs == Hangs::Yes => {
                ctx.cancelled().await;
                Err(AgentError::new("told to stop"))
            }
            4 if ctx.resumed().is_none() => Ok(StepOutcome::Suspend {
                checkpoint: json!({"at": 1}),
                waiting_for: signal()?,
            }),
            5 => std::panic::resume_unwind(Box::new("as drawn".to_owned())),
            _ => {
                ctx.sleep(Duration::from_millis(draw.below(3_000))).await;
                Ok(json!({"list": [1, 2, 3], "input": input.is_object()}).into())
            }
        }
    }
}

fn signal() -> Result<WaitingFor, AgentError> {
    let name = Opaque::new("go").map_err(|fault| AgentError::new(fault.to_string()))?;
    Ok(WaitingFor::Signal { name })
}

/// A workflow of a seed, as YAML, and the most runs that it comes to.
pub(super) fn workflow(
    name: &str,
    draw: &mut Draw,
    (habits, shelf): (Habits, &Shelf),
) -> (String, u64) {
    let count = 1 + draw.below(6);
    let mut text = format!("workflow: {name}\n");
    if draw.one_in(2) {
        let on_exceed = if draw.one_in(2) { "abort" } else { "pause" };
        let cents = (1 + draw.below(9)).to_string();
        text += &[
            "budget: { usd: \"0.0",
            &cents,
            "\", on_exceed: ",
            on_exceed,
            " }
",
        ]
        .concat();
    }
    text += "steps:\n";
    let mut runs = 1;
    for index in 0..count {
        if habits.nests() && draw.one_in(3) {
            let for_each = draw.one_in(3);
            let items = if for_each { 3 } else { 1 };
            if let Some((uses, more)) = shelf.pick(draw, (runs, items)) {
                runs += more;
                text += &composed(index, draw, (uses, for_each));
                continue;
            }
        }
        text += &step(index, draw, habits);
    }
    (text, runs)
}

/// A step that uses another flow, perhaps with a small limit of its own.
fn composed(index: u64, draw: &mut Draw, (uses, for_each): (&str, bool)) -> String {
    let mut text = format!(
        "  s{index}: {{ uses: {uses:?}, needs: [{}]",
        needs(index, draw).join(", ")
    );
    text += ", input: { list: [1, 2, 3] }";
    if for_each {
        text += ", for_each: \"inputs.list\", max_parallel: 2";
    }
    if draw.one_in(3) {
        let on_exceed = draw.pick(&["abort", "pause"]).copied().unwrap_or("abort");
        let cents = (1 + draw.below(5)).to_string();
        text += &[
            ", budget: { usd: \"0.0",
            &cents,
            "\", on_exceed: ",
            on_exceed,
            " }",
        ]
        .concat();
    }
    if draw.one_in(2) {
        let policy = draw.pick(&["pause", "continue"]).copied().unwrap_or("fail");
        text += ", on_failure: ";
        text += policy;
    }
    text + " }\n"
}

fn needs(index: u64, draw: &mut Draw) -> Vec<String> {
    let before = (0..index).filter(|_| draw.one_in(2));
    before.map(|need| format!("s{need}")).collect()
}

fn step(index: u64, draw: &mut Draw, habits: Habits) -> String {
    let needs = needs(index, draw);
    let agent = draw.pick(&AGENTS).copied().unwrap_or("ann");
    let mut text = format!(
        "  s{index}: {{ agent: {agent}, needs: [{}]",
        needs.join(", ")
    );
    if draw.one_in(3) {
        text += ", timeout: 30s";
    }
    if habits.asks() {
        text += &asking::of_step(draw);
    } else if draw.one_in(3) {
        text += ", risk: read";
    }
    if !text.contains("retry") && draw.one_in(3) {
        text += ", retry: { maximum_attempts: 2, initial_interval: 1s }";
    }
    if draw.one_in(3) {
        let policy = draw.pick(&["pause", "continue"]).copied().unwrap_or("fail");
        text += ", on_failure: ";
        text += policy;
    }
    if draw.one_in(4) {
        text += ", estimate: { model: recorded/GPT_4, input_tokens: 50, max_output_tokens: 50, calls: 2 }";
    }
    if draw.one_in(5) {
        text += ", for_each: \"inputs.list\", max_parallel: 2";
    }
    if draw.one_in(6) {
        text += ", when: \"size(inputs.list) > 1\"";
    }
    if needs.len() > 1 && draw.one_in(3) {
        text += ", join: { at_least: 1 }";
    }
    text + " }\n"
}
