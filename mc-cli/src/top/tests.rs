//! A view as it follows what was read, as it is drawn, and a whole loop against an engine.

mod drawing;
mod folding;
mod looping;

use mc_core::event::RunStatus;
use mc_core::id::{AgentName, ApprovalId, RunId};
use mc_core::money::NanoUsd;
use mc_core::sequencer::HaltScope;
use mc_core::time::Timestamp;

use super::halts::HaltLine;
use super::rows::{AccountLine, AskedLine, RunLine};
use super::view::{Extent, Reading, View};

const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// Ids that differ in what is shown of them.
fn run_id(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_us(NEW_YEAR + seconds * 1_000_000)
}

fn usd(mills: i64) -> NanoUsd {
    NanoUsd::from_nano(mills * 1_000_000)
}

fn run(n: u8, status: RunStatus, steps: &str) -> RunLine {
    RunLine {
        run_id: run_id(n),
        started_at: at(i64::from(n)),
        what: "brief@1".to_owned(),
        status,
        paused: false,
        steps: steps.to_owned(),
        tokens: (1_100, 70),
        spent: usd(6),
        limit: Some(usd(1_000)),
        halt: None,
    }
}

fn account(name: &str, percent: Option<u8>) -> AccountLine {
    AccountLine {
        name: name.to_owned(),
        percent,
        bar: percent.map_or_else(String::new, |_| "####++....".to_owned()),
        told: "8.20 of 20.00 USD".to_owned(),
        window: "day UTC".to_owned(),
        resets_at: Some(at(86_400)),
        frozen: false,
    }
}

fn asked(n: u8, params: &str) -> AskedLine {
    let id = ApprovalId {
        run_id: run_id(n),
        number: 1,
    };
    AskedLine {
        id,
        tier: "financial".to_owned(),
        what: "send_invoice of pay".to_owned(),
        most: usd(100),
        expires_at: at(3_600 + i64::from(n)),
        params: params.to_owned(),
        whole: vec![
            format!("{id} (financial)"),
            format!("  parameters {params}"),
        ],
    }
}

/// Three runs, two accounts, one request.
fn reading() -> Reading {
    Reading {
        extent: Extent::Whole,
        runs: vec![
            run(1, RunStatus::Completed, ""),
            run(2, RunStatus::Running, "pay: approval"),
            run(3, RunStatus::Running, "plan #1"),
        ],
        asked: [(run_id(2), vec![asked(2, "{\"amount\":7}")])].into(),
        accounts: vec![
            account("agent:writer", Some(41)),
            account("workspace", None),
        ],
        halts: Vec::new(),
        owner: Some(4_711),
    }
}

fn view() -> View {
    let mut view = View::new("a.redb", "ann");
    view.take(reading());
    view
}

/// The same, with everything halted, one run, and agents up to so many halts but the run's.
fn halted_view(most: u8) -> View {
    let halt = |scope: HaltScope, second, reason: &str| HaltLine {
        scope,
        until: at(second),
        by: "bob".to_owned(),
        since: Some(at(second)),
        reason: reason.to_owned(),
    };
    let mut reading = reading();
    reading.runs[1].halt = Some(halt(HaltScope::Run(run_id(2)), 6, "wait"));
    let everything = halt(HaltScope::Workspace, 5, "it spends too much");
    reading.halts = vec![everything];
    for n in 1..most {
        let agent = AgentName::new(&format!("a{n}")).unwrap();
        let one = halt(HaltScope::Agent(agent), 7, "");
        reading.halts.push(one);
    }
    let mut view = View::new("a.redb", "ann");
    view.take(reading);
    view
}
