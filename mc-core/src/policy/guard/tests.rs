//! Rules as they are written: both forms, and what is refused with its place.

use crate::error::{Detail, Error};
use crate::policy::Policy;

const ALL: &str = r#"
guardrails:
  - { id: runs, at: admission, max_runs_in_flight: 10, for: { workflows: [w] } }
  - { id: pace, at: admission, max_runs_per_minute: 60 }
  - { id: who, at: admission, agents: { deny: [intern] } }
  - { id: flows, at: admission, workflows: { allow: [w, v] } }
  - { id: deep, at: admission, max_depth: 2 }
  - { id: wide, at: admission, max_items: 100 }
  - { id: fresh, at: admission, fresh_prices: 7d }
  - { id: labels, at: admission, metadata: [team, ticket] }
  - { id: models, at: model_call, models: { allow: ["openai/*", anthropic/claude-x], deny: [openai/gpt-0] } }
  - { id: tier, at: model_call, service_tiers: { allow: [standard, batch] } }
  - { id: region, at: model_call, regions: { allow: [eu] }, mode: observe }
  - { id: input, at: model_call, max_input_tokens: 1000 }
  - { id: output, at: model_call, max_output_tokens: 500, for: { agents: [writer], models: ["openai/*"] } }
  - { id: cost, at: model_call, max_cost_per_call: { usd: "0.05" } }
  - { id: step, at: model_call, max_cost_per_step: { usd: "1" } }
  - { id: run, at: model_call, max_cost_per_run: { usd: "5" }, verdict: halt }
  - { id: turns, at: model_call, max_calls_per_step: 20 }
  - { id: all, at: model_call, max_calls_per_run: 100 }
  - { id: late, at: model_call, deadline: 60d }
  - { id: searches, at: model_call, max_units: { web_search: 3, request: 1 } }
  - { id: speed, at: model_call, velocity: { usd: "1.00", window: 1m } }
  - { id: again, at: model_call, repeated_prompt: { times: 3, within: 10m } }
  - { id: size, at: model_call, max_bytes: 100000 }
  - { id: words, at: model_call, forbidden: ["(?i)drop table", "x{3,5}"] }
  - { id: keys, at: tool_call, secrets: any, mode: "off" }
  - { id: mails, at: after, secrets: [email] }
  - { id: tools, at: tool_call, tools: { deny: [shell] } }
  - { id: form, at: tool_call, schema: { type: object }, for: { tools: [pay] } }
  - { id: amount, at: tool_call, predicate: "params.amount <= 100" }
  - { id: once, at: tool_call, once_per_intent: true }
  - { id: dry, at: tool_call, dry_run: true, for: { tools: [pay] } }
  - { id: paths, at: tool_call, predicate: "under(params.path, '/srv') && host(params.url) in ['a.b']" }
  - { id: uses, at: tool_call, max_uses_per_run: 2 }
  - { id: price, at: tool_call, max_price: { usd: "0.10" } }
  - { id: slow, at: in_flight, max_duration: 5m }
  - { id: honest, at: after, usage: within_hold }
  - { id: dear, at: model_call, max_cost_per_call: { usd: "1" }, verdict: needs_approval }
  - { id: word, at: tool_call, max_bytes: 9000, verdict: needs_approval, for: { tools: [pay] } }
  - { id: person, at: after, pii: [ssn, names] }
  - { id: odd, at: after, mode: observe, anomaly: { of: latency, sigma: 3, least: 20 } }
rates:
  - { for: { provider: openai }, requests_per_minute: 60, tokens_per_minute: 90000, on_throttling: slow_down }
  - { for: { model: openai/gpt-1 }, in_flight: 4 }
  - { for: { agent: writer }, requests_per_minute: 6 }
"#;

fn paths(error: &Error) -> Vec<String> {
    match error.detail() {
        Some(Detail::Violations(all)) => all.iter().map(|v| v.path.clone()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_rule_reads_back_from_its_normal_form() {
    let policy = Policy::from_yaml(ALL).unwrap();
    assert_eq!((policy.guardrails().len(), policy.rates().len()), (40, 3));
    let again = Policy::from_canonical(policy.to_canonical()).unwrap();
    assert_eq!(again.guardrails(), policy.guardrails());
    assert_eq!(again.rates(), policy.rates());
    assert_eq!(again.hash(), policy.hash());
}

#[test]
fn a_changed_rule_is_named_by_its_id() {
    let before = Policy::from_yaml(ALL).unwrap();
    let after = ALL.replace("max_input_tokens: 1000", "max_input_tokens: 999");
    let after = after.replace("in_flight: 4", "in_flight: 5");
    let after = Policy::from_yaml(after).unwrap();
    assert_eq!(
        before.diff(&after),
        ["guardrails.input", "rates.model:openai/gpt-1"]
    );
}

/// Rules that are none, each for a reason of its own.
const RUBBISH: &str = r#"
guardrails:
  - { id: a, at: nowhere, max_bytes: 1 }
  - { id: A B, at: model_call, max_bytes: 0 }
  - { id: c, at: model_call }
  - { id: d, at: model_call, max_bytes: 1, max_input_tokens: 1 }
  - { id: e, at: admission, predicate: "params.x > 1" }
  - { id: f, at: tool_call, predicate: "inputs.x > 1" }
  - { id: g, at: tool_call, predicate: "params.x >" }
  - { id: h, at: model_call, forbidden: ["("] }
  - { id: i, at: model_call, forbidden: [] }
  - { id: j, at: model_call, secrets: [passwords] }
  - { id: k, at: model_call, models: {} }
  - { id: l, at: model_call, velocity: { usd: 5, window: 0s } }
  - { id: m, at: tool_call, schema: { type: 7 } }
  - { id: n, at: model_call, max_byte: 4 }
  - { id: o, at: after, max_bytes: 4, verdict: needs_approval }
  - { id: p, at: model_call, max_bytes: 4, mode: sometimes }
  - { id: p, at: model_call, max_bytes: 4 }
  - { id: q, at: admission, max_runs_in_flight: 4, for: { agents: [x] } }
  - { id: r, at: model_call, secrets: any, for: { tools: [pay] } }
  - { id: s, at: tool_call, secrets: any, for: { models: [openai/x] } }
  - { id: t, at: after, secrets: any, for: { models: [openai/x], tools: [pay] } }
  - { id: u, at: tool_call, max_depth: 1 }
  - { id: v, at: model_call, metadata: [] }
  - { id: w, at: model_call, metadata: ["A B"] }
  - { id: x, at: model_call, deadline: 0s }
  - { id: y, at: model_call, max_units: {} }
  - { id: z, at: model_call, max_units: { searches: 1, page: -1 } }
  - { id: aa, at: after, anomaly: { of: money, sigma: 0, least: 1 } }
  - { id: ab, at: after, anomaly: { of: cost, sigma: 11 } }
  - { id: ac, at: after, anomaly: { of: cost, sigma: 2, least: 9 }, for: { tools: [pay] } }
  - { id: ad, at: tool_call, once_per_intent: false }
  - { id: ae, at: tool_call, dry_run: "yes" }
  - { id: af, at: tool_call, predicate: "below(params.path, '/srv')" }
  - { id: ag, at: tool_call, dry_run: true, verdict: needs_approval }
  - { id: ah, at: admission, max_depth: 1, verdict: needs_approval }
rates:
  - { for: { provider: a/b }, requests_per_minute: 1 }
  - { for: { provider: a, agent: b }, requests_per_minute: 1 }
  - { for: { agent: b } }
  - { for: { agent: c }, in_flight: 0 }
"#;

/// Where the faults of [`RUBBISH`] are.
const FAULTS: &[&str] = &[
    "/guardrails/0/at",
    "/guardrails/1/id",
    "/guardrails/1/max_bytes",
    "/guardrails/2",
    "/guardrails/3",
    "/guardrails/4/at",
    "/guardrails/5/predicate",
    "/guardrails/6/predicate",
    "/guardrails/7/forbidden/0",
    "/guardrails/8/forbidden",
    "/guardrails/9/secrets/0",
    "/guardrails/10/models",
    "/guardrails/11/velocity/usd",
    "/guardrails/11/velocity/window",
    "/guardrails/12/schema/type",
    "/guardrails/13/max_byte",
    "/guardrails/14/verdict",
    "/guardrails/15/mode",
    "/guardrails/17/for/agents",
    "/guardrails/18/for/tools",
    "/guardrails/19/for/models",
    "/guardrails/20/for",
    "/guardrails/21/at",
    "/guardrails/22/metadata",
    "/guardrails/23/metadata/0",
    "/guardrails/24/deadline",
    "/guardrails/25/max_units",
    "/guardrails/26/max_units/searches",
    "/guardrails/26/max_units/page",
    "/guardrails/27/anomaly/of",
    "/guardrails/27/anomaly/sigma",
    "/guardrails/27/anomaly/least",
    "/guardrails/28/anomaly/sigma",
    "/guardrails/28/anomaly",
    "/guardrails/29/for/tools",
    "/guardrails/30/once_per_intent",
    "/guardrails/31/dry_run",
    "/guardrails/32/predicate",
    "/guardrails/33/verdict",
    "/guardrails/34/verdict",
    "/rates/0/for/provider",
    "/rates/1/for",
    "/rates/2",
    "/rates/3/in_flight",
];

#[test]
fn rubbish_is_refused_with_every_place() {
    let error = Policy::from_yaml(RUBBISH).unwrap_err();
    let found = paths(&error);
    for place in FAULTS {
        assert!(
            found.iter().any(|path| path == place),
            "{place} in {found:?}"
        );
    }
}
