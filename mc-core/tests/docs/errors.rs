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

/// The details that this version gives to a kind.
fn details(kind: ErrorKind) -> Vec<Detail> {
    let required = |path: &str| vec![Violation::new(path, "is required")];
    match kind {
        ErrorKind::InvalidInput => vec![
            Detail::Violations(required("/topic")),
            Detail::Limit {
                name: "labels",
                max: 32,
            },
        ],
        ErrorKind::InvalidWorkflow => vec![Detail::Workflow(problems())],
        ErrorKind::NotFound => vec![Detail::Thing {
            what: "run",
            id: RUN.to_owned(),
        }],
        ErrorKind::AlreadyExists => {
            vec![Detail::Thing {
                what: "agent",
                id: "researcher".to_owned(),
            }]
        }
        ErrorKind::InvalidTransition => vec![
            Detail::Transition {
                from: "completed".to_owned(),
                trigger: "pause".to_owned(),
                allowed: vec!["seal".to_owned()],
            },
            Detail::AlreadyCompleted,
        ],
        ErrorKind::Conflict => vec![
            Detail::StaleEpoch {
                held: 7,
                current: 8,
            },
            Detail::KeyReused {
                key: "invoice-42".to_owned(),
                run_id: RUN.to_owned(),
            },
        ],
        ErrorKind::PolicyDenied => vec![Detail::Rule {
            rule: "unknown_model".to_owned(),
            subject: "openai/gpt-9".to_owned(),
        }],
        ErrorKind::BudgetExceeded => vec![Detail::Accounts(vec![account()])],
        ErrorKind::AgentFailed => vec![
            Detail::Agent {
                agent: "writer".to_owned(),
                attempt: 2,
                agent_retryable: false,
            },
            Detail::InvalidOutput(required("/angles")),
        ],
        ErrorKind::RateLimited => vec![Detail::RetryAfter {
            retry_after_ms: 20_000,
        }],
        ErrorKind::Unavailable => vec![
            Detail::StorageFull,
            Detail::ReadOnly,
            Detail::AlreadyOpen { pid: Some(4_711) },
            Detail::ForkedHandle,
        ],
        ErrorKind::Corrupt => vec![
            Detail::Damaged {
                seq: Some(1_042),
                reason: "facts_hash",
            },
            Detail::ForeignFile,
            Detail::NewerFormat {
                found: 3,
                supported: 2,
            },
        ],
        _ => Vec::new(),
    }
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
    for kind in ErrorKind::ALL {
        let written: Vec<Value> = details(*kind).iter().map(|detail| json!(detail)).collect();
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
