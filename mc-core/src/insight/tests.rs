//! What the folds say of a run whose records are written by hand.

use std::sync::Arc;

use super::{CostBy, CostTable, RunFold};
use crate::event::Record;
use crate::id::{Actor, AuthMethod, CommandId, RunId};
use crate::time::Timestamp;

const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn record(run_seq: u64, kind: &str, facts: &str) -> Record {
    Record {
        seq: run_seq + 1,
        run_id: RunId::from_bytes([7; 16]),
        run_seq,
        epoch: 1,
        ts: Timestamp::from_unix_us(i64::try_from(run_seq).unwrap() * 40_000_000_000),
        kind: kind.into(),
        actor: Actor::System,
        auth_method: AuthMethod::Library,
        schema_ver: 1,
        cmd_id: CommandId::NIL,
        facts: Arc::from(facts.replace("ZERO", ZERO)),
        parts: Vec::new(),
    }
}

/// A call of the step's agent, and one in the name of another.
fn run() -> Vec<Record> {
    let call = |ordinal: u32, agent: &str, extended: &str| {
        format!(
            r#"{{"step":"draft","attempt":1,"ordinal":{ordinal}{agent},"model":"a/m","request":"ZERO","amount":{{"nano_usd":9,"calls":1}}{extended},"price_version":"ZERO"}}"#
        )
    };
    let settled = |ordinal: u32, model: &str, nano: u32| {
        let back = 9 - nano;
        format!(
            r#"{{"step":"draft","attempt":1,"ordinal":{ordinal},"model":"{model}","answer":"ZERO","usage":{{}},"held":{{"nano_usd":{nano},"calls":1}},"actual":{{"nano_usd":{nano},"calls":1}},"released":{{"nano_usd":{back}}},"price_version":"ZERO","latency_ms":1}}"#
        )
    };
    let other = r#","agent":"helper""#;
    vec![
        record(
            0,
            "run.created",
            r#"{"subject":{"workflow":{"name":"w","version":1}},"definition_hash":"ZERO","input_digest":"ZERO","policy":{"no_progress":"off","model_retry_max_elapsed_ms":1}}"#,
        ),
        record(1, "run.started", "{}"),
        record(
            2,
            "step.dispatched",
            r#"{"step":"draft","attempt":1,"agent":"writer","risk":"read","effect_key":"ZERO"}"#,
        ),
        record(3, "model_call.reserved", &call(0, other, "")),
        record(4, "model_call.settled", &settled(0, "a/m", 4)),
        record(5, "model_call.reserved", &call(1, other, "")),
        record(6, "model_call.settled", &settled(1, "a/n", 7)),
    ]
}

fn rows(by: CostBy) -> Vec<(String, i64)> {
    let table = CostTable::by(by, &run()).unwrap();
    let rows = table.rows.into_iter();
    rows.map(|row| (row.key, row.amount.money.as_nano()))
        .collect()
}

#[test]
fn costs_go_to_the_agent_in_whose_name_they_were_spent() {
    assert_eq!(rows(CostBy::Agent), [("helper".to_owned(), 11)]);
}

#[test]
fn costs_go_to_the_model_that_answered_dearest_first() {
    assert_eq!(
        rows(CostBy::Model),
        [("a/n".to_owned(), 7), ("a/m".to_owned(), 4)]
    );
}

#[test]
fn days_are_in_order_of_time_and_steps_are_named_with_their_workflow() {
    assert_eq!(
        rows(CostBy::Day),
        [("1970-01-02".to_owned(), 4), ("1970-01-03".to_owned(), 7)]
    );
    assert_eq!(rows(CostBy::Step), [("w/draft".to_owned(), 11)]);
}

#[test]
fn the_total_is_what_the_runs_own_account_says() {
    let mut fold = RunFold::new();
    for record in &run() {
        fold.take(record).unwrap();
    }
    let total = CostTable::by(CostBy::Workflow, &run()).unwrap().total;
    let run = fold.run(RunId::from_bytes([7; 16])).unwrap();
    assert_eq!(total, run.spent());
    assert_eq!(total.calls, 2);
}
