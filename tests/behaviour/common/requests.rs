//! Model calls of the tests: what they ask, what is answered, and in which ways they fail.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

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

/// A status before any output.
pub const fn status_code(code: u16) -> CallFailure {
    CallFailure::Status {
        code,
        output_begun: OutputBegun::No,
    }
}

/// Runs one agent that makes one call, which `send` answers by its count.
pub fn one_call<S>(settings: Settings, yaml: &str, send: S) -> (World, Outcome, Vec<Record>)
where
    S: Fn(u32) -> Result<ModelAnswer, ProviderError> + Clone + Send + Sync + 'static,
{
    let world = World::seeded(2);
    let (outcome, events) = world.run(async {
        let count = Arc::new(AtomicU32::new(0));
        let it = agent(move |ctx, _| {
            let (send, count) = (send.clone(), Arc::clone(&count));
            async move {
                let request = request("p", 10);
                let sent = |_| {
                    let result = send(count.fetch_add(1, Ordering::SeqCst));
                    async move { result }
                };
                ctx.model_call(&request, sent).await?;
                Ok(json!(count.load(Ordering::SeqCst)).into())
            }
        });
        let control = open_with(&world, settings, "it", it).await;
        let run = begin(&control, yaml, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        (outcome, events(&control, &run).await)
    });
    (world, outcome, events)
}
