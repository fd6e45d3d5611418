//! Judging starts: of runs, of sessions, and of the items of a `for_each`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::judge::{
    Asking, Broken, Counts, Found, Priced, Start, agents, broken, known, misplaced,
};
use super::rule::{Guardrail, Rule};
use crate::id::{LabelKey, ModelId};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
pub(super) fn start(
    rail: &Guardrail,
    asking: &Asking<'_>,
    new: &Start<'_>,
    counts: &dyn Counts,
) -> Found {
    match &rail.rule {
        Rule::MaxRunsInFlight(most) => {
            let now = known(counts.runs_in_flight(rail))?;
            broken(now >= *most, || {
                format!("{now} runs have not ended; {most} may be")
            })
        }
        Rule::MaxRunsPerMinute(most) => {
            let now = known(counts.in_window(rail))?;
            broken(now >= *most, || {
                format!("{now} runs began within a minute; {most} may")
            })
        }
        Rule::Workflows(names) => {
            let flow = asking.who.workflow;
            let denied = flow.is_some_and(|flow| names.denies(|one| one == flow));
            broken(denied, || "this workflow may not be started".to_owned())
        }
        Rule::Agents(_) => agents(rail, asking),
        Rule::MaxDepth(most) => {
            let depth = new.depth;
            broken(depth > *most, || {
                format!("nested in {depth} runs; {most} are allowed")
            })
        }
        Rule::Metadata(keys) => Ok(unlabelled(keys, new.labels)),
        Rule::FreshPrices(age) => Ok(stale(new.prices, *age)),
        // Nothing is expanded yet.
        Rule::MaxItems(_) => Ok(None),
        _ => misplaced(rail),
    }
}

/// What the rules of `admission` say of a fan-out: all but one of them were asked when the run began.
pub(super) fn expand(rail: &Guardrail, items: u64) -> Found {
    let Rule::MaxItems(most) = &rail.rule else {
        return Ok(None);
    };
    broken(items > *most, || {
        format!("{items} items; {most} are allowed")
    })
}

/// The first label of these that a run does not carry.
pub(super) fn unlabelled(
    keys: &BTreeSet<LabelKey>,
    labels: &BTreeMap<LabelKey, Arc<str>>,
) -> Option<Broken> {
    let missing = keys.iter().find(|key| !labels.contains_key(*key))?;
    Some(Broken::Why(format!("the run has no label `{missing}`")))
}

fn stale(prices: &BTreeMap<ModelId, Priced>, most: Duration) -> Option<Broken> {
    let why = |(model, price): (&ModelId, &Priced)| match price {
        Priced::Stated => None,
        Priced::Checked(age) if *age <= most => None,
        Priced::Checked(_) => Some(format!("the price of `{model}` is older than allowed")),
        Priced::Unknown => Some(format!("model `{model}` has no price")),
    };
    prices.iter().find_map(why).map(Broken::Why)
}
