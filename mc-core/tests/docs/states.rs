//! `docs/state-machines.md`: every pair of state and trigger, asked of the functions that decide.

use std::fmt::Write as _;
use std::time::Duration;

use mc_core::budget::{HoldState, HoldTrigger};
use mc_core::event::approval::VoidReason;
use mc_core::event::{RunStatus, StepStatus};
use mc_core::resilience::{Breaker, BreakerSettings, Change, Trigger};
use mc_core::run::{
    ApprovalState, ApprovalTrigger, RunTrigger, StepTrigger, approval_after, run_after, step_after,
};
use mc_core::time::Timestamp;

use super::hold;
use super::source::{Variant, words};

const TRANSITIONS: &str = include_str!("../../src/run/transitions.rs");
const STATUS: &str = include_str!("../../src/event/status.rs");

const HEAD: &str = "\
# State machines

Made by a test that asks the code for every pair; do not edit it by hand
(`UPDATE_DOCS=1 cargo test -p mc-core --test docs`).

In each table a row is a trigger, a column the state before it, a cell the state after it. An empty cell
is a pair that does not exist: a command that asks for it is refused with
[`invalid_transition`](errors/invalid_transition.md), and an event in the log that would need it is
[`corrupt`](errors/corrupt.md). Which event carries which trigger is in [events.md](events.md).
";

/// A table of triggers by states.
fn matrix<S: Copy, T: Copy>(
    out: &mut String,
    states: &[(S, String)],
    triggers: &[(T, String)],
    cell: impl Fn(S, T) -> String,
) {
    let names: Vec<String> = states.iter().map(|(_, name)| format!("`{name}`")).collect();
    writeln!(
        out,
        "\n| | {} |\n|---{}|",
        names.join(" | "),
        "|---".repeat(states.len())
    )
    .unwrap();
    for (trigger, name) in triggers {
        let cells: Vec<String> = states.iter().map(|(s, _)| cell(*s, *trigger)).collect();
        writeln!(out, "| `{name}` | {} |", cells.join(" | ")).unwrap();
    }
}

fn meanings(out: &mut String, what: &str, list: &[Variant]) {
    writeln!(out, "\n| {what} | meaning |\n|---|---|").unwrap();
    for one in list {
        writeln!(out, "| `{}` | {} |", one.word, one.doc).unwrap();
    }
}

fn runs(out: &mut String) {
    out.push_str("\n## Runs\n\n`paused` is a flag beside the status, `sealed` one behind it.\n");
    let states: Vec<_> = RunStatus::ALL.iter().map(|s| (*s, s.to_string())).collect();
    let triggers: Vec<_> = RunTrigger::ALL
        .iter()
        .map(|t| (*t, t.as_str().to_owned()))
        .collect();
    matrix(out, &states, &triggers, |state, trigger| {
        run_after(state, trigger).map_or(String::new(), |after| after.to_string())
    });
    meanings(out, "status", &words(STATUS, "RunStatus"));
    meanings(out, "trigger", &words(TRANSITIONS, "RunTrigger"));
}

fn steps(out: &mut String) {
    out.push_str("\n## Steps\n");
    let states: Vec<_> = StepStatus::ALL
        .iter()
        .map(|s| (*s, s.to_string()))
        .collect();
    let triggers: Vec<_> = StepTrigger::ALL
        .iter()
        .map(|t| (*t, t.as_str().to_owned()))
        .collect();
    matrix(out, &states, &triggers, |state, trigger| {
        step_after(state, trigger).map_or(String::new(), |after| after.to_string())
    });
    meanings(out, "status", &words(STATUS, "StepStatus"));
    meanings(out, "trigger", &words(TRANSITIONS, "StepTrigger"));
    meanings(out, "blocked by", &words(STATUS, "BlockReason"));
}

fn approvals(out: &mut String) {
    out.push_str(
        "\n## Approvals\n\nA request ends once; an approval is used once. `voided` has a reason, e.g. `expired`.\n",
    );
    let states = [
        (ApprovalState::Pending, "pending"),
        (ApprovalState::Approved, "approved"),
        (ApprovalState::Rejected, "rejected"),
        (ApprovalState::Consumed, "consumed"),
        (ApprovalState::Voided(VoidReason::Expired), "voided"),
    ]
    .map(|(state, name)| (state, name.to_owned()));
    let triggers = [
        (ApprovalTrigger::Approve, "approve"),
        (ApprovalTrigger::Reject, "reject"),
        (ApprovalTrigger::Consume, "consume"),
        (ApprovalTrigger::Void(VoidReason::Expired), "void"),
    ]
    .map(|(trigger, name)| (trigger, name.to_owned()));
    matrix(out, &states, &triggers, |state, trigger| {
        let after = approval_after(state, trigger);
        let name = |after| states.iter().find(|(one, _)| *one == after);
        after
            .and_then(name)
            .map_or(String::new(), |(_, name)| name.clone())
    });
}

fn snake(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

fn named<T: std::fmt::Debug + Copy>(all: &[T]) -> Vec<(T, String)> {
    all.iter()
        .map(|one| (*one, snake(&format!("{one:?}"))))
        .collect()
}

fn holds(out: &mut String) {
    out.push_str(
        "\n## Holds\n\nA hold ends once. `late` leaves it in doubt until its last call is settled; then it is \
         `settled`.\n",
    );
    let (states, triggers) = (named(&HoldState::ALL), named(&HoldTrigger::ALL));
    matrix(out, &states, &triggers, |state, trigger| {
        let after = state.after(trigger);
        after.map_or(String::new(), |after| snake(&format!("{after:?}")))
    });
}

const NOW: Timestamp = Timestamp::from_unix_us(1_000_000);

/// A breaker in each state, one trigger before its change.
fn breakers() -> Vec<(Breaker, String)> {
    let closed = Breaker::Closed { failures: 1 };
    let open = Breaker::Open {
        failures: 2,
        until: NOW,
    };
    let half = Breaker::HalfOpen {
        failures: 2,
        sent: 1,
        succeeded: 0,
    };
    [(closed, "closed"), (open, "open"), (half, "half_open")]
        .map(|(breaker, name)| (breaker, name.to_owned()))
        .to_vec()
}

fn breaker_after(breaker: Breaker, trigger: Trigger) -> String {
    let settings = BreakerSettings::new(2, Duration::from_secs(30), 1).unwrap();
    let mut noted = breaker;
    noted.note(trigger);
    match breaker.decide(trigger, NOW, &settings) {
        Some(Change::Opened { .. }) => "open".to_owned(),
        Some(Change::HalfOpened) => "half_open".to_owned(),
        Some(Change::Closed) => "closed".to_owned(),
        None if noted == breaker => String::new(),
        None => "counts".to_owned(),
    }
}

fn circuits(out: &mut String) {
    out.push_str(
        "\n## Breakers\n\nOne for each model of each provider. The table shows it one refusal before its \
         threshold, with its time reached and one\nprobe out; `counts` changes the numbers and not the state, an \
         empty cell changes nothing. Before the threshold\n`refused` and `failed` count; before its time an open \
         breaker stays open. An open breaker blocks a call, it does\nnot fail it.\n",
    );
    let triggers = named(Trigger::ALL);
    matrix(out, &breakers(), &triggers, breaker_after);
}

fn render() -> String {
    let mut out = HEAD.to_owned();
    runs(&mut out);
    steps(&mut out);
    approvals(&mut out);
    holds(&mut out);
    circuits(&mut out);
    out
}

#[test]
fn the_tables_of_the_documentation_are_those_of_the_code() {
    hold("state-machines.md", &render());
}

#[test]
fn terminal_states_absorb_every_trigger_but_the_seal_and_a_redrive() {
    for status in RunStatus::ALL.iter().filter(|status| status.is_terminal()) {
        for trigger in RunTrigger::ALL.iter().filter(|t| **t != RunTrigger::Seal) {
            // Only a run that failed goes on.
            let redrive = *trigger == RunTrigger::Redrive && *status == RunStatus::Failed;
            let after = redrive.then_some(RunStatus::Running);
            assert_eq!(run_after(*status, *trigger), after, "{status} {trigger:?}");
        }
    }
    for status in StepStatus::ALL.iter().filter(|status| status.is_terminal()) {
        for trigger in StepTrigger::ALL {
            let redrive = *trigger == StepTrigger::Redrive;
            let after = redrive.then_some(StepStatus::Waiting);
            assert_eq!(step_after(*status, *trigger), after, "{status} {trigger:?}");
        }
    }
}

#[test]
fn every_trigger_leads_somewhere_and_every_state_is_reached() {
    let pairs = |trigger: StepTrigger| {
        StepStatus::ALL
            .iter()
            .filter_map(move |s| step_after(*s, trigger))
    };
    let reached: Vec<StepStatus> = StepTrigger::ALL.iter().flat_map(|t| pairs(*t)).collect();
    assert!(StepTrigger::ALL.iter().all(|t| pairs(*t).next().is_some()));
    assert!(
        StepStatus::ALL
            .iter()
            .all(|status| reached.contains(status))
    );
}
