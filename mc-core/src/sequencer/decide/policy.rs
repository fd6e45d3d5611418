//! Policy: a version comes into force, with the limits that it names, in one commit.
//!
//! A limit that the version before named and this one does not is lifted. What is *not* here: how
//! approvals that were given under another version are judged (`approval`).

use super::View;
use crate::budget::{AccountId, InFlight, Limit, LimitMode, OnExceed};
use crate::error::{Error, Result};
use crate::event::MediaType;
use crate::event::budget::BudgetLimitSet;
use crate::event::workspace::PolicyPublished;
use crate::id::RunId;
use crate::policy::guard::Rule;
use crate::policy::{BudgetRule, Policy};
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};

/// Puts a policy into force as the next version; the one that is in force keeps its version.
///
/// # Errors
/// `InvalidInput` for a rule that names a detector which nobody has registered here.
pub fn publish(view: &View<'_>, policy: &Policy) -> Result<Decision> {
    detectors(view, policy)?;
    let head = view.workspace.shared.policy;
    let known = head.filter(|head| head.hash == policy.hash());
    let mut events = Vec::new();
    let version = match known {
        Some(head) => head.version,
        None => head.map_or(1, |head| head.version.saturating_add(1)),
    };
    if known.is_none() {
        let facts = PolicyPublished {
            version,
            policy_hash: policy.hash(),
        };
        let part = NewPart {
            media_type: MediaType::Json,
            bytes: policy.to_canonical().clone(),
            value: None,
        };
        events.push(NewEvent::new(RunId::ZERO, facts).with(part));
    }
    events.extend(limits(view, policy));
    let hash = policy.hash();
    Ok(Decision::durable(events, Reply::Policy { version, hash }))
}

/// Refuses names of detectors that are not here.
fn detectors(view: &View<'_>, policy: &Policy) -> Result<()> {
    let known = &view.workspace.settings.detectors;
    for (index, rail) in policy.guardrails().iter().enumerate() {
        let Rule::Pii(names) = &rail.rule else {
            continue;
        };
        if let Some(name) = names.iter().find(|name| !known.contains_key(*name)) {
            let rule = format!("no detector `{name}` is registered here");
            return Err(Error::invalid(format!("/guardrails/{index}/pii"), rule));
        }
    }
    Ok(())
}

/// The limits that are not yet as the policy says.
fn limits(view: &View<'_>, policy: &Policy) -> Vec<NewEvent> {
    let before = view.workspace.policy.budgets().keys();
    let lifted = before.filter(|account| !policy.budgets().contains_key(*account));
    let lifted = lifted.map(|account| (account, &NO_LIMIT));
    let named = policy.budgets().iter();
    let all = named.chain(lifted);
    all.filter(|(account, rule)| !holds(view, account, rule))
        .map(|(account, rule)| {
            let facts = BudgetLimitSet {
                account: account.clone(),
                limit: rule.limit,
                on_exceed: rule.on_exceed,
                window: rule.window,
                lapses: None,
                mode: rule.mode,
                in_flight: InFlight::GoesOn,
            };
            NewEvent::new(RunId::ZERO, facts)
        })
        .collect()
}

const NO_LIMIT: BudgetRule = BudgetRule {
    limit: Limit {
        money: None,
        input_tokens: None,
        output_tokens: None,
        calls: None,
    },
    window: None,
    on_exceed: OnExceed::Abort,
    mode: LimitMode::Enforce,
    thresholds: None,
};

/// Whether the account is as the rule says already, and not for a time alone.
fn holds(view: &View<'_>, account: &AccountId, rule: &BudgetRule) -> bool {
    let Some(account) = view.workspace.accounts.get(account) else {
        return *rule == NO_LIMIT;
    };
    let next = account.periods().and_then(|periods| periods.next());
    let window = next.copied().unwrap_or_else(|| account.window());
    let wanted = rule.window.unwrap_or(window);
    let as_it_is = (account.base_limit(), account.on_exceed(), account.mode());
    let lasts = account.lasting_limit() == as_it_is;
    lasts && as_it_is == (rule.limit, rule.on_exceed, rule.mode) && window == wanted
}
