//! Judging model calls before they go out: what is asked for, and what step and run have used.

use super::judge::{
    Asking, Broken, Call, Counts, Found, agents, broken, content, known, misplaced,
};
use super::judge_start::unlabelled;
use super::rule::{Guardrail, Rule, TierName};
use crate::budget::Amount;
use crate::money::NanoUsd;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
pub(super) fn of_call(
    rail: &Guardrail,
    asking: &Asking<'_>,
    call: &Call<'_>,
    counts: &dyn Counts,
) -> Found {
    let money = |before: Amount, most: NanoUsd| {
        let all = before.money.saturating_add(call.amount.money);
        broken(all > most, || {
            format!("it may cost {all} USD in all; {most} are allowed")
        })
    };
    match &rail.rule {
        Rule::Agents(_) => agents(rail, asking),
        Rule::Models(names) => {
            let model = known(asking.who.model)?;
            let denied = names.denies(|one| model.is(|id| one.matches(id)));
            let model = model.asked;
            broken(denied, || format!("model `{model}` may not be called"))
        }
        Rule::ServiceTiers(names) => {
            let tier = TierName(call.terms.service_tier);
            let denied = names.denies(|one| *one == tier);
            broken(denied, || format!("service tier `{tier}` may not be used"))
        }
        Rule::Regions(names) => {
            let region = call.terms.region.as_ref();
            let denied = names.denies(|one| Some(one) == region);
            broken(denied, || "this region may not be used".to_owned())
        }
        Rule::MaxInputTokens(most) => {
            let tokens = call.amount.input_tokens;
            broken(tokens > *most, || {
                format!("up to {tokens} input tokens; {most} are allowed")
            })
        }
        Rule::MaxOutputTokens(most) => {
            let more = call.max_output.is_none_or(|output| output > *most);
            Ok(more.then_some(Broken::Output(*most)))
        }
        Rule::MaxCostPerCall(most) => money(Amount::ZERO, *most),
        Rule::MaxCostPerStep(most) => money(known(counts.of_step())?, *most),
        Rule::MaxCostPerRun(most) => money(known(counts.of_run(rail))?, *most),
        Rule::Velocity { money, .. } => {
            let spent = known(counts.in_window(rail))?;
            let spent = i64::try_from(spent).map_or(NanoUsd::MAX, NanoUsd::from_nano);
            let all = spent.saturating_add(call.amount.money);
            broken(all > *money, || {
                format!("{all} USD within its window; {money} are allowed")
            })
        }
        Rule::RepeatedPrompt { times, .. } => {
            let before = known(counts.repeats(rail))?;
            broken(before >= *times, || {
                format!("the same request went out {before} times")
            })
        }
        Rule::MaxBytes(_) | Rule::Forbidden(_) | Rule::Secrets(_) | Rule::Pii(_) => {
            content(rail, call.messages, counts)
        }
        _ => of_run(rail, call, counts),
    }
}

/// The rules about counts, and about the run that a call is of.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
fn of_run(rail: &Guardrail, call: &Call<'_>, counts: &dyn Counts) -> Found {
    match &rail.rule {
        Rule::MaxCallsPerStep(most) => {
            let calls = known(counts.of_step())?.calls;
            broken(calls >= *most, || {
                format!("the step has made {calls} calls; {most} may be")
            })
        }
        Rule::MaxCallsPerRun(most) => {
            let calls = known(counts.of_run(rail))?.calls;
            broken(calls >= *most, || {
                format!("the run has made {calls} calls; {most} may be")
            })
        }
        Rule::Deadline(most) => {
            let (age, most) = (call.age.as_millis(), most.as_millis());
            broken(age > most, || {
                format!("its run was started {age} ms ago; {most} are allowed")
            })
        }
        Rule::MaxUnits(caps) => {
            let over = |(unit, most): (&_, &u64)| {
                let stated = call.terms.units.get(unit);
                match stated {
                    None => Some(format!("`{unit}` has no cap; at most {most} is allowed")),
                    Some(cap) if cap > most => {
                        Some(format!("`{unit}` is capped at {cap}; {most} are allowed"))
                    }
                    Some(_) => None,
                }
            };
            Ok(caps.iter().find_map(over).map(Broken::Why))
        }
        Rule::Metadata(keys) => Ok(unlabelled(keys, call.labels)),
        _ => misplaced(rail),
    }
}
