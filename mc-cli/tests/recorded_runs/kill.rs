//! Killed at twenty moments and started again: the same settled totals, and no call twice unsaid.
//!
//! The process that is killed is this test binary, told by the environment to rehearse. It prints a
//! line for each call that reaches the provider; the killer reads some of them and strikes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use mc_agents::recorded::{Reply, Sent};
use mc_cli::rehearse::{RehearseOptions, rehearse};
use mission_control::core::event::EventKind;
use mission_control::core::sim::SeededEntropy;
use serde_json::Value;

use crate::data;
use crate::world::{World, all_models, at, directory};

/// The store on which a child rehearses.
const STORE: &str = "MC_REHEARSE_CHILD_STORE";
/// Before each line of a child.
const MARK: &str = "sent ";

/// A call by run, step and ordinal.
type CallKey = (String, String, u32);

/// Refusals and answers that the provider gave.
type Given = BTreeMap<CallKey, (usize, usize)>;

/// What the provider says of a call that reached it, in a line.
fn told(sent: &Sent<'_>) -> String {
    let reply = match sent.reply {
        Reply::Refused => "refused",
        Reply::Answered => "answered",
    };
    format!("{} {} {} {reply}", sent.run_id, sent.step, sent.ordinal)
}

/// Not a test of its own: what a killed process does. Without its variable it does nothing.
#[test]
fn child_that_rehearses_until_it_is_killed() {
    let Some(store) = std::env::var_os(STORE).map(PathBuf::from) else {
        return;
    };
    let Some(file) = data::file() else { return };
    let options = RehearseOptions {
        progress: Some(Arc::new(|sent| {
            // A line a call, written at once: nothing of it is lost when the process dies.
            let line = format!("\n{MARK}{}\n", told(sent));
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            std::io::stdout().flush().unwrap();
        })),
        seed: None,
        ..all_models(&file, &store)
    };
    rehearse(&options, &mut Vec::new()).unwrap();
}

/// Starts a child, kills it after so many lines, and returns all that it printed.
fn killed_after(store: &Path, lines: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kill::child_that_rehearses_until_it_is_killed",
            "--nocapture",
        ])
        .env(STORE, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut sent = Vec::new();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    while u64::try_from(sent.len()).unwrap() < lines
        && let Some(line) = output.next()
    {
        sent.extend(line.unwrap().strip_prefix(MARK).map(str::to_owned));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let rest = output.map_while(Result::ok);
    sent.extend(rest.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned)));
    sent
}

fn note(given: &mut Given, line: &str) {
    let fields: Vec<&str> = line.split(' ').collect();
    let [run, step, ordinal, reply] = fields[..] else {
        panic!("cut line `{line}`")
    };
    let key = (run.to_owned(), step.to_owned(), ordinal.parse().unwrap());
    let counts = given.entry(key).or_default();
    match reply {
        "refused" => counts.0 += 1,
        "answered" => counts.1 += 1,
        other => panic!("reply `{other}`"),
    }
}

/// What the log says of a call.
#[derive(Default)]
struct Logged {
    reserved: usize,
    throttled: usize,
    settled: usize,
    doubted: usize,
}

fn logged(world: &World) -> BTreeMap<CallKey, Logged> {
    let mut calls: BTreeMap<CallKey, Logged> = BTreeMap::new();
    for (record, kind) in &world.events {
        let (step, ordinal, count): (_, _, fn(&mut Logged) -> &mut usize) = match kind {
            EventKind::ModelCallReserved(f) => (&f.step, f.ordinal, |call| &mut call.reserved),
            EventKind::ModelCallThrottled(f) => (&f.step, f.ordinal, |call| &mut call.throttled),
            EventKind::ModelCallSettled(f) => (&f.step, f.ordinal, |call| &mut call.settled),
            EventKind::ModelCallDoubted(f) => (&f.step, f.ordinal, |call| &mut call.doubted),
            _ => continue,
        };
        let key = (record.run_id.to_string(), step.to_string(), ordinal);
        *count(calls.entry(key).or_default()) += 1;
    }
    calls
}

#[test]
fn twenty_kills_change_no_settled_total_and_no_call_goes_out_twice_unsaid() {
    let Some(file) = data::file() else { return };
    let dir = directory();
    let store = dir.path().join("k.redb");
    let (chance, mut given) = (SeededEntropy::new(20), Given::new());
    for _ in 0..20 {
        for line in killed_after(&store, 1 + chance.below(110)) {
            note(&mut given, &line);
        }
    }
    let given = Arc::new(Mutex::new(given));
    let last = Arc::clone(&given);
    let world = at(&RehearseOptions {
        progress: Some(Arc::new(move |sent| {
            note(&mut last.lock().unwrap(), &told(sent));
        })),
        ..all_models(&file, &store)
    });
    check_totals(&world, &data::runs(&file));
    check_calls(&world, &given.lock().unwrap());
}

/// The totals of runs that nobody killed.
fn check_totals(world: &World, runs: &[Value]) {
    let expected: u64 = runs.iter().map(data::run_cost).sum();
    assert_eq!(
        (world.summary.completed, world.summary.model_calls),
        (62, 1_255)
    );
    assert_eq!(world.summary.input_tokens, data::sum(runs, "prompt_tokens"));
    assert_eq!(
        world.summary.output_tokens,
        data::sum(runs, "completion_tokens")
    );
    assert_eq!(
        u64::try_from(world.summary.cost.as_nano()).unwrap(),
        expected
    );
    assert_eq!(world.summary.replay_mismatches, 0);
    assert!(world.count("epoch.started") >= 21);
}

/// Every call that the provider saw was written down before; one that went out again says why.
fn check_calls(world: &World, given: &Given) {
    let logged = logged(world);
    for (key, call) in &logged {
        assert_eq!(call.settled, 1, "{key:?}");
        assert_eq!(
            call.reserved,
            call.settled + call.throttled + call.doubted,
            "{key:?}"
        );
    }
    assert_eq!(given.len(), logged.len());
    for (key, (refused, answered)) in given {
        let call = &logged[key];
        assert!(refused + answered <= call.reserved, "{key:?}");
        assert!(
            (1..=call.settled + call.doubted).contains(answered),
            "{key:?}"
        );
    }
    let doubts: usize = logged.values().map(|call| call.doubted).sum();
    println!(
        "{doubts} calls were in doubt, {} reconciled",
        world.count("budget.reconciled")
    );
    assert_eq!(world.count("budget.reconciled"), doubts);
}
