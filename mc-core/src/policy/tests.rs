//! The policy file: its two forms, its hash, and what is refused.

use super::*;
use crate::error::{Detail, Error};

const ALL: &str = r#"
approvals:  { from: write, expires_in: 2h, four_eyes: [irreversible, financial], operators: [ann, bob] }
unknown_models: { free: [local/llama] }
tools:
  send_invoice: { risk: financial, schema: { type: object, required: [amount] }, price_usd: "0.10" }
  look: { risk: read }
budgets:
  - { account: workspace, limit: { usd: "20.00", calls: 7 }, window: { calendar: month, anchor: 3, tz: Europe/Berlin } }
  - { account: "agent:writer", limit: { input_tokens: 9 }, window: sliding 1h, on_exceed: pause }
"#;

fn paths(error: &Error) -> Vec<String> {
    match error.detail() {
        Some(Detail::Violations(all)) => all.iter().map(|v| v.path.clone()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_policy_reads_back_from_its_normal_form() {
    let policy = Policy::from_yaml(ALL).unwrap();
    let again = Policy::from_canonical(policy.to_canonical()).unwrap();
    assert_eq!(again.sections_for_tests(), policy.sections_for_tests());
    assert_eq!(again.hash(), policy.hash());
    assert_eq!(policy.tier_of("send_invoice"), RiskTier::Financial);
    assert_eq!(policy.tier_of("unheard_of"), RiskTier::Write);
    assert_eq!(policy.budgets().len(), 2);
}

#[test]
fn what_is_written_as_its_default_and_what_is_left_out_have_one_hash() {
    let long =
        "approvals: { from: irreversible, expires_in: 24h, four_eyes: [financial], operators: [] }";
    let (long, short) = (Policy::from_yaml(long), Policy::from_yaml("approvals: {}"));
    assert_eq!(long.unwrap().hash(), short.unwrap().hash());
    assert_eq!(Policy::default().approvals(), &ApprovalRules::default());
}

#[test]
fn what_follows_from_no_progress_is_said_in_a_mode() {
    let policy = Policy::from_yaml("no_progress: observe").unwrap();
    assert_eq!(policy.no_progress(), Some(Mode::Observe));
    let again = Policy::from_canonical(policy.to_canonical()).unwrap();
    assert_eq!(again.no_progress(), Some(Mode::Observe));
    assert_eq!(policy.diff(&Policy::default()), ["no_progress"]);
    assert_eq!(Policy::default().no_progress(), None);
    let refused = Policy::from_yaml("no_progress: sometimes").unwrap_err();
    assert_eq!(paths(&refused), ["/no_progress"]);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = r#"
guardrails: {}
approval: {}
approvals: { from: read, expires_in: 0s, four_eyes: [all] }
unknown_models: allow
tools: { pay: { risk: huge, schema: { type: 7 }, price_usd: 1.5 } }
budgets:
  - { account: "run:x", limit: {} }
  - { account: "workspace", limit: { usd: "1" }, window: { calendar: day } }
"#;
    let error = Policy::from_yaml(text).unwrap_err();
    let expected = [
        "/guardrails",
        "/approval",
        "/approvals/from",
        "/approvals/expires_in",
        "/approvals/four_eyes/0",
        "/unknown_models",
        "/tools/pay/risk",
        "/tools/pay/schema/type",
        "/tools/pay/price_usd",
        "/budgets/0/account",
        "/budgets/0/limit",
        "/budgets/1/window",
    ];
    let mut found = paths(&error);
    found.dedup();
    for place in expected {
        assert!(
            found.iter().any(|path| path == place),
            "{place} in {found:?}"
        );
    }
}

#[test]
fn a_difference_is_named_by_section_and_name() {
    let before = Policy::from_yaml(ALL).unwrap();
    let after = ALL
        .replace("expires_in: 2h", "expires_in: 3h")
        .replace("look: { risk: read }", "peek: { risk: read }")
        .replace("calls: 7", "calls: 8");
    let after = Policy::from_yaml(after).unwrap();
    let expected = [
        "approvals.expires_in_ms",
        "budgets.workspace",
        "tools.look",
        "tools.peek",
    ];
    assert_eq!(before.diff(&after), expected);
    assert!(before.diff(&before).is_empty());
}

#[test]
fn windows_are_written_as_text_or_in_parts() {
    let window = |text: &str| {
        let text =
            format!("budgets: [{{ account: workspace, limit: {{ calls: 1 }}, window: {text} }}]");
        let policy = Policy::from_yaml(text).unwrap();
        policy
            .budgets()
            .values()
            .next()
            .unwrap()
            .window
            .unwrap()
            .to_string()
    };
    assert_eq!(
        window("{ calendar: day, tz: Europe/Berlin }"),
        "day Europe/Berlin"
    );
    assert_eq!(
        window("{ calendar: week, start: sunday, tz: UTC, offset: '06:00' }"),
        "week:sunday UTC +06:00"
    );
    assert_eq!(
        window("{ sliding: 1h, buckets: 12 }"),
        window("sliding 1h 12")
    );
    assert_eq!(window("{ fixed: 7d }"), window("fixed 7d"));
}

#[test]
fn thresholds_are_shares_with_what_they_do() {
    let policy = |all: &str| {
        let text = format!(
            "budgets: [{{ account: workspace, limit: {{ calls: 9 }}, thresholds: {all} }}]"
        );
        Policy::from_yaml(text)
    };
    let all = "[{ percent: 90, then: freeze }, 50, { percent: 60, downgrade_to: a/b }, \
               { percent: 80, then: require_approval }, { percent: 70, then: tell }]";
    let read = policy(all).unwrap();
    let thresholds = read.budgets().values().next().unwrap().thresholds.clone();
    let percents: Vec<u8> = thresholds.iter().flatten().map(|one| one.percent).collect();
    assert_eq!(percents, [50, 60, 70, 80, 90]);
    let again = Policy::from_canonical(read.to_canonical()).unwrap();
    assert_eq!(again.budgets(), read.budgets());
    for wrong in [
        "50",
        "[0]",
        "[101]",
        "[50, 50]",
        "[{ then: freeze }]",
        "[{ percent: 5, then: call }]",
        "[{ percent: 5, then: freeze, downgrade_to: a/b }]",
        "[{ percent: 5, downgrade_to: nothing }]",
    ] {
        assert!(policy(wrong).is_err(), "{wrong}");
    }
}
