//! An attempt that answers twice: it leaves a copy of itself behind, which goes on when the attempt
//! has ended. It settles a permit late, makes calls, writes decisions: with a dead token, all of it
//! may be written down and charged, and none of it may change anything else.

use std::time::Duration;

use mc_core::engine::{Admission, AgentError, ModelAnswer, ModelRequest, StepContext};
use mc_core::policy::RiskTier;
use mc_core::usage::Usage;
use serde_json::json;

use super::draw::Draw;
use super::script::Scripted;

/// Leaves a ghost with a permit behind.
pub(super) async fn leave(
    agent: &Scripted,
    ctx: &StepContext,
    request: &ModelRequest,
    draw: &mut Draw,
) -> Result<(), AgentError> {
    let Admission::Allowed(permit) = agent.reserve(ctx, request).await? else {
        return Ok(());
    };
    let (ctx, request) = (ctx.clone(), request.clone());
    let away = Duration::from_millis(draw.below(90_000));
    let used = 1 + draw.below(120);
    let ghost = async move {
        ctx.sleep(away).await;
        let answer = ModelAnswer::text("of a ghost", Usage::text(used, used));
        drop(permit.settle(&answer).await);
        // The doubt of its own permit, if there is one, is told twice.
        for (hold, amount) in ctx.doubts().await.unwrap_or_default() {
            for _ in 0..2 {
                drop(ctx.reconcile(&hold, amount, "of a ghost").await);
            }
        }
        drop(ctx.reserve(&request).await);
        drop(ctx.decision(json!(0), json!("ghost"), json!(0)).await);
        let call = || async { Ok(json!("ghost")) };
        drop(
            ctx.tool_call("search", RiskTier::Write, &json!({}), call)
                .await,
        );
        drop(ctx.side_effect("file", "ghost").await);
    };
    agent.spawner.spawn_handler(Box::pin(ghost));
    Ok(())
}
