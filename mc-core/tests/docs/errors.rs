//! The examples in `docs/errors`: each is what the code writes for a detail of that kind of error.

use std::collections::BTreeSet;

use mc_core::error::{Detail, ErrorKind, FailingAccount, Violation, WorkflowProblem};
use serde_json::{Value, json};

use super::root;

const RUN: &str = "019a8f3e-7c00-7000-8000-000000000001";

fn account() -> FailingAccount {
    FailingAccount {
        account: "agent:researcher".to_owned(),
        dimension: "money".to_owned(),
        limit: 20_000_000_000,
        spent: 19_500_000_000,
        reserved: 0,
        in_doubt: 0,
        requested: 750_000_000,
        resets_at: None,
    }
}

fn problems() -> Vec<WorkflowProblem> {
    let cycle = ["a", "b", "a"].map(str::to_owned).to_vec();
    vec![
        WorkflowProblem::Cycle { path: cycle },
        WorkflowProblem::UnknownStep {
            at: "/steps/draft/needs/0".to_owned(),
            step: "summary".to_owned(),
        },
        WorkflowProblem::Limit {
            name: "steps".to_owned(),
            max: 1_000,
            at: "/steps".to_owned(),
        },
    ]
}

fn required(path: &str) -> Vec<Violation> {
    vec![Violation::new(path, "is required")]
}

fn thing(what: &'static str, id: &str) -> Detail {
    let id = id.to_owned();
    Detail::Thing { what, id }
}

/// The details that say what is wrong with a request.
fn of_requests() -> Vec<(ErrorKind, Detail)> {
    let (name, max) = ("labels", 32);
    let transition = Detail::Transition {
        from: "completed".to_owned(),
        trigger: "pause".to_owned(),
        allowed: vec!["seal".to_owned()],
    };
    vec![
        (
            ErrorKind::InvalidInput,
            Detail::Violations(required("/topic")),
        ),
        (ErrorKind::InvalidInput, Detail::Limit { name, max }),
        (ErrorKind::InvalidWorkflow, Detail::Workflow(problems())),
        (ErrorKind::NotFound, thing("run", RUN)),
        (ErrorKind::AlreadyExists, thing("file", "export.jsonl")),
        (ErrorKind::InvalidTransition, transition),
        (ErrorKind::InvalidTransition, Detail::AlreadyCompleted),
    ]
}

fn asked() -> Detail {
    Detail::ApprovalRequest {
        request_id: "01a1fd00-0000-7000-8000-000000000001/1".to_owned(),
    }
}

fn used() -> Detail {
    let reason = mc_core::error::ApprovalFault::Used;
    Detail::Approval { reason }
}

fn stale_price() -> Detail {
    Detail::StalePrice {
        model: "openai/gpt-5.4".to_owned(),
        price_version: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
            .to_owned(),
        checked_at: "2026-11-20T00:00:00.000000Z".to_owned(),
        max_age_ms: 2_592_000_000,
    }
}

/// The details that say why not now, or not by this caller.
fn of_refusals() -> Vec<(ErrorKind, Detail)> {
    let (held, current) = (7, 8);
    let reused = Detail::KeyReused {
        key: "invoice-42".to_owned(),
        run_id: RUN.to_owned(),
    };
    let rule = Detail::Rule {
        rule: "unknown_model".to_owned(),
        subject: "openai/gpt-9".to_owned(),
    };
    let agent = Detail::Agent {
        agent: "writer".to_owned(),
        attempt: 2,
        agent_retryable: false,
    };
    let retry_after_ms = 20_000;
    vec![
        (ErrorKind::Conflict, Detail::StaleEpoch { held, current }),
        (ErrorKind::Conflict, reused),
        (ErrorKind::PolicyDenied, rule),
        (ErrorKind::PolicyDenied, stale_price()),
        (ErrorKind::ApprovalRequired, asked()),
        (ErrorKind::ApprovalInvalid, used()),
        (ErrorKind::BudgetExceeded, Detail::Accounts(vec![account()])),
        (ErrorKind::AgentFailed, agent),
        (
            ErrorKind::AgentFailed,
            Detail::InvalidOutput(required("/angles")),
        ),
        (
            ErrorKind::RateLimited,
            Detail::RetryAfter { retry_after_ms },
        ),
    ]
}

/// The details of a store that cannot, or of data that is not as written.
fn of_stores() -> Vec<(ErrorKind, Detail)> {
    let (seq, reason) = (Some(1_042), "facts_hash");
    let (found, supported) = (3, 2);
    let pid = Some(4_711);
    vec![
        (ErrorKind::Unavailable, Detail::StorageFull),
        (ErrorKind::Unavailable, Detail::ReadOnly),
        (ErrorKind::Unavailable, Detail::AlreadyOpen { pid }),
        (ErrorKind::Unavailable, Detail::ForkedHandle),
        (ErrorKind::Corrupt, Detail::Damaged { seq, reason }),
        (ErrorKind::Corrupt, Detail::ForeignFile),
        (ErrorKind::Corrupt, Detail::NewerFormat { found, supported }),
    ]
}

/// The JSON blocks of a page, in order.
#[expect(clippy::disallowed_methods, reason = "the pages are files")]
fn examples(kind: ErrorKind) -> Vec<Value> {
    let path = root().join(format!("docs/errors/{}.md", kind.code()));
    let page = std::fs::read_to_string(path).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let texts = blocks.map(|block| block.split("```").next().unwrap());
    texts
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

#[test]
fn the_details_on_the_pages_are_those_of_the_code() {
    let all = [of_requests(), of_refusals(), of_stores()].concat();
    for kind in ErrorKind::ALL {
        let of_kind = all.iter().filter(|(one, _)| one == kind);
        let written: Vec<Value> = of_kind.map(|(_, detail)| json!(detail)).collect();
        assert_eq!(examples(*kind), written, "{kind}");
    }
}

#[test]
fn every_link_of_the_pages_leads_to_a_file() {
    let pages: BTreeSet<String> = ErrorKind::ALL.iter().map(|k| k.code().to_owned()).collect();
    for code in pages {
        super::links(&format!("docs/errors/{code}.md"));
    }
}
