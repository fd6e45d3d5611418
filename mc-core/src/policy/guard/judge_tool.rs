//! Judging tool calls: what may be called, and with which parameters.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::judge::{
    Asking, Broken, Counts, Erred, Found, Tool, agents, broken, content, known, misplaced,
};
use super::rule::{Guardrail, Rule};
use crate::expression::{Expression, Scope as Seen};
use crate::form::Schema;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
pub(super) fn of_tool(
    rail: &Guardrail,
    asking: &Asking<'_>,
    tool: &Tool<'_>,
    counts: &dyn Counts,
) -> Found {
    let params = || serde_json::from_slice::<Value>(tool.params);
    let params = || params().map_err(|_| Erred("the parameters cannot be read".to_owned()));
    match &rail.rule {
        Rule::Agents(_) => agents(rail, asking),
        Rule::Tools(names) => {
            let name = known(asking.who.tool)?;
            broken(names.denies(|one| one == name), || {
                format!("tool `{name}` may not be called")
            })
        }
        Rule::Schema(_, schema) => schema_breach(schema, &params()?),
        Rule::Predicate(predicate) => predicate_breach(predicate, &params()?),
        Rule::MaxUsesPerRun(most) => {
            let uses = known(counts.uses(rail))?;
            broken(uses >= *most, || {
                format!("called {uses} times in this run; {most} may be")
            })
        }
        // What can be made good may be done twice.
        Rule::OncePerIntent if tool.risk.is_repeatable() => Ok(None),
        Rule::OncePerIntent => broken(known(counts.is_repeated(rail))?, || {
            "this run has made the same call, or has it out".to_owned()
        }),
        Rule::DryRun => Ok(Some(Broken::Unreal)),
        Rule::MaxPrice(most) => {
            let price = tool.price;
            broken(price > *most, || {
                format!("a call costs {price} USD; {most} are allowed")
            })
        }
        Rule::MaxBytes(_) | Rule::Forbidden(_) | Rule::Secrets(_) | Rule::Pii(_) => {
            content(rail, [&params()?], counts)
        }
        _ => misplaced(rail),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "rules that may err share its type"
)]
fn schema_breach(schema: &Schema, params: &Value) -> Found {
    let violations = schema.violations(params);
    Ok(violations.first().map(|first| {
        let (path, rule) = (&first.path, &first.rule);
        Broken::Why(format!("the parameters are wrong at {path}: {rule}"))
    }))
}

fn predicate_breach(predicate: &Expression, params: &Value) -> Found {
    static NOTHING: LazyLock<BTreeMap<crate::id::StepName, std::sync::Arc<Value>>> =
        LazyLock::new(BTreeMap::new);
    let seen = Seen {
        inputs: params,
        outputs: &NOTHING,
        item: None,
    };
    let holds = predicate
        .holds(&seen)
        .map_err(|fault| Erred(fault.to_string()))?;
    broken(!holds, || format!("`{}` does not hold", predicate.as_str()))
}
