//! A request for approval as it is shown: complete, and nothing in it steers the terminal.

use mc_core::engine::{ApprovalRequest, BudgetEffect};
use mc_core::run::ApprovalState;
use serde_json::{Value, json};

use crate::text::exposed;

/// Where a request stands, in a word.
fn state(state: ApprovalState) -> Value {
    match state {
        ApprovalState::Pending => json!("pending"),
        ApprovalState::Approved => json!("approved"),
        ApprovalState::Rejected => json!("rejected"),
        ApprovalState::Consumed => json!("consumed"),
        ApprovalState::Voided(reason) => json!({ "voided": reason }),
    }
}

/// A request as JSON; its parameters as text with everything unseen escaped.
pub(crate) fn facts(one: &ApprovalRequest) -> Value {
    let asked = &one.asked;
    let budgets: Vec<Value> = one.budgets.iter().map(budget).collect();
    json!({
        "approval": one.id, "state": state(asked.state), "run_id": one.id.run_id,
        "workflow": one.workflow, "definition_hash": one.definition_hash,
        "started_by": one.started_by.to_string(), "step": asked.step, "tool": asked.tool,
        "outermost": one.outermost, "path": one.path,
        "model": asked.model, "rule": asked.rule,
        "agent": asked.agent, "risk": asked.risk,
        "params": one.params.as_deref().map(exposed), "params_digest": asked.params_digest,
        "maximum_cost_nano_usd": asked.is_bounded().then(|| asked.maximum.money.as_nano()),
        "maximum": asked.is_bounded().then_some(asked.maximum),
        "requested_at": asked.requested_at.to_string(),
        "expires_at": asked.expires_at.to_string(),
        "decided_by": asked.decided_by.as_ref().map(AsRef::<str>::as_ref), "budgets": budgets,
    })
}

fn budget(one: &BudgetEffect) -> Value {
    json!({
        "account": one.account.to_string(), "limit": one.limit, "spent": one.spent,
        "reserved": one.reserved, "in_doubt": one.in_doubt, "after": one.after,
    })
}

/// The exact parameters, with everything unseen escaped.
pub(crate) fn params(one: &ApprovalRequest) -> String {
    match &one.params {
        Some(bytes) => exposed(bytes),
        None => "(erased)".to_owned(),
    }
}

/// A request as lines.
pub(crate) fn lines(one: &ApprovalRequest) -> Vec<String> {
    let asked = &one.asked;
    let what = match (&asked.tool, &asked.model) {
        (Some(tool), _) => format!(
            "tool {} of step {}",
            exposed(tool.as_str().as_bytes()),
            asked.step
        ),
        (None, Some(model)) => format!("a call of {model} of step {}", asked.step),
        (None, None) => format!("step {}", asked.step),
    };
    let workflow = one.workflow.as_ref().map(|name| format!(" of {name}"));
    let stands = match asked.state {
        ApprovalState::Pending => format!("until {}", asked.expires_at),
        ApprovalState::Approved
        | ApprovalState::Rejected
        | ApprovalState::Consumed
        | ApprovalState::Voided(_) => state(asked.state).to_string(),
    };
    let params = params(one);
    let mut lines = vec![
        format!("{} ({}) {stands}", one.id, asked.risk),
        format!(
            "  {what}{}, by agent {}",
            workflow.unwrap_or_default(),
            asked.agent
        ),
    ];
    lines.extend({ one.outermost.iter() }.map(|run| format!("  at {} of run {run}", one.path)));
    lines.extend([
        format!(
            "  started by {}",
            exposed(one.started_by.to_string().as_bytes())
        ),
        format!("  parameters {params}"),
        format!("  sha-256 {}", asked.params_digest),
        if asked.is_bounded() {
            format!("  at most {} USD", asked.maximum.money)
        } else {
            "  cost not bounded: the step has no estimate".to_owned()
        },
    ]);
    lines.extend({ asked.rule.iter() }.map(|rule| format!("  rule {rule} asks")));
    for effect in one.budgets.iter().filter(|one| !one.limit.is_none()) {
        let limit = effect
            .limit
            .money
            .map_or_else(|| "none".to_owned(), |m| m.to_string());
        lines.push(format!(
            "  {}: limit {limit}, spent {}, reserved {}, in doubt {}, with this {} USD",
            effect.account,
            effect.spent.money,
            effect.reserved.money,
            effect.in_doubt.money,
            effect.after.money,
        ));
    }
    lines
}
