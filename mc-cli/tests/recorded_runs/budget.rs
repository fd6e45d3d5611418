//! With 60 % of its real cost as its limit each run stops before it.

use std::collections::BTreeMap;
use std::path::Path;

use mc_cli::rehearse::RehearseOptions;
use mission_control::core::budget::{Dimension, post};
use mission_control::core::event::EventKind;
use mission_control::core::run::{Run, RunEvent, postings};
use mission_control::{AbortReason, Account, AccountId, RunId};
use serde_json::Value;

use crate::data;
use crate::world::{World, options};

pub(crate) fn sixty_percent(file: &Path, db: &Path) -> RehearseOptions {
    RehearseOptions {
        budget_fraction: Some("0.6".parse().unwrap()),
        ..options(file, db)
    }
}

/// Recomputes every account after every event, and hands each to a check.
fn walk(
    world: &World,
    mut check: impl FnMut(u64, &BTreeMap<AccountId, Account>),
) -> BTreeMap<AccountId, Account> {
    let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
    let mut accounts: BTreeMap<AccountId, Account> = BTreeMap::new();
    for (record, kind) in world
        .events
        .iter()
        .filter(|(record, _)| record.run_id != RunId::ZERO)
    {
        let event = RunEvent {
            seq: record.seq,
            ts: record.ts,
            epoch: record.epoch,
            actor: &record.actor,
            kind,
        };
        if let EventKind::RunCreated(facts) = kind {
            runs.insert(record.run_id, Run::create(record.run_id, &event).unwrap());
            if let Some(budget) = facts.budget {
                let account = Account::new(budget.limit, budget.on_exceed);
                accounts.insert(AccountId::Run(record.run_id), account);
            }
            continue;
        }
        let run = runs.get_mut(&record.run_id).unwrap();
        for posting in postings::of(run, kind, record.ts) {
            post(&mut accounts, &posting.path, &posting.movement).unwrap();
        }
        run.apply(&event).unwrap();
        check(record.seq, &accounts);
    }
    accounts
}

pub(crate) fn no_account_ever_passes_its_limit(_: &[Value], world: &World) {
    let mut tightest = i128::MAX;
    walk(world, |seq, accounts| {
        for (id, account) in accounts {
            if let Some(room) = account.headroom(Dimension::Money) {
                assert!(room >= 0, "{id} after {seq}");
                tightest = tightest.min(room);
            }
        }
    });
    assert_eq!(world.summary.max_over_limit_nano_usd, 0);
    assert!(tightest < i128::MAX);
}

pub(crate) fn each_priced_run_stops_and_says_which_account_stopped_it(
    runs: &[Value],
    world: &World,
) {
    let accounts = walk(world, |_, _| {});
    let recorded = world.recorded();
    let mut stopped = 0;
    for (record, kind) in &world.events {
        let EventKind::RunAborted(facts) = kind else {
            continue;
        };
        let AbortReason::Budget { account } = &facts.reason else {
            continue;
        };
        assert_eq!(*account, AccountId::Run(record.run_id));
        let run = runs
            .iter()
            .find(|run| run["id"] == recorded[&record.run_id].as_str())
            .unwrap();
        let limit = accounts[account].limit().money.unwrap().as_nano();
        assert_eq!(u64::try_from(limit).unwrap(), data::run_cost(run) * 6 / 10);
        assert!(accounts[account].spent().money.as_nano() <= limit);
        stopped += 1;
    }
    assert_eq!(
        (stopped, world.summary.stopped, world.summary.completed),
        (57, 62, 0)
    );
}

pub(crate) fn the_call_that_was_denied_would_have_passed_the_limit(_: &[Value], world: &World) {
    let denied = world.events.iter().filter_map(|(record, kind)| match kind {
        EventKind::ModelCallDenied(facts) if facts.code == "budget_exceeded" => {
            Some((record, facts))
        }
        _ => None,
    });
    let mut count = 0;
    for (record, facts) in denied {
        let refusing = &facts.failing[0];
        assert_eq!(refusing.account, AccountId::Run(record.run_id).to_string());
        assert!(facts.requested.money.as_nano() > 0);
        count += 1;
    }
    assert_eq!(count, 57);
}
