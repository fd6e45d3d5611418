//! Without budgets: what completes, what policy stops, and that it is found again.

use mission_control::core::event::EventKind;
use mission_control::core::run::{Run, replay};
use mission_control::{AbortReason, Record};
use serde_json::Value;
use std::path::Path;

use crate::data;
use crate::world::{World, all_models, at, now, options};

pub(crate) fn every_run_completes_with_the_tokens_of_the_data(runs: &[Value], world: &World) {
    let calls: usize = runs.iter().map(|run| data::calls(run).len()).sum();
    assert_eq!((runs.len(), calls), (62, 1_255));
    let sums = |field: &str| world.line[field].as_u64().unwrap();
    assert_eq!(
        (sums("runs"), sums("completed"), sums("stopped")),
        (62, 62, 0)
    );
    assert_eq!((sums("model_calls"), sums("denied_calls")), (1_255, 0));
    assert_eq!(sums("input_tokens"), data::sum(runs, "prompt_tokens"));
    assert_eq!(sums("output_tokens"), data::sum(runs, "completion_tokens"));
    assert_eq!(world.summary.unfinished(), 0);
    assert_eq!(world.count("run.sealed"), 62);
}

pub(crate) fn runs_of_unknown_models_are_stopped_at_their_first_call(
    runs: &[Value],
    world: &World,
) {
    let priced = runs.iter().filter(|run| data::is_priced(run)).count();
    assert_eq!(
        (priced, world.summary.completed, world.summary.stopped),
        (57, 57, 5)
    );
    let expected: usize = runs
        .iter()
        .filter(|run| data::is_priced(run))
        .map(|run| data::calls(run).len())
        .sum();
    assert_eq!(world.summary.model_calls, u64::try_from(expected).unwrap());
    assert_eq!(world.summary.denied_calls, 5);
    for (record, kind) in &world.events {
        if let EventKind::RunAborted(facts) = kind {
            let policy = AbortReason::Policy {
                code: "unknown_model".to_owned(),
            };
            assert_eq!(facts.reason, policy, "{}", record.run_id);
        }
        if let EventKind::ModelCallDenied(facts) = kind {
            assert_eq!((facts.ordinal, facts.code.as_str()), (0, "unknown_model"));
        }
    }
}

pub(crate) fn replay_of_every_run_is_the_state_that_its_row_keeps(_: &[Value], world: &World) {
    assert_eq!(world.summary.replay_mismatches, 0);
    for run in world.recorded().into_keys() {
        let records = world.events.iter().map(|(record, _)| record);
        let own: Vec<&Record> = records.filter(|record| record.run_id == run).collect();
        let row = now(world.log.run_row(run)).unwrap().unwrap();
        let replayed = replay(own).unwrap();
        assert_eq!(replayed.encode().unwrap(), *row.state);
        assert_eq!(Run::decode(&row.state).unwrap(), replayed);
    }
}

pub(crate) fn a_second_rehearsal_finds_the_runs_of_the_first(file: &Path, first: World) {
    let options = options(file, &first.db);
    let (summary, recorded) = (first.summary.clone(), first.recorded());
    let dir = first.close();
    let second = at(&options);
    assert_eq!(
        (second.summary.clone(), second.recorded()),
        (summary, recorded)
    );
    drop(second);
    let refused = mc_cli::rehearse::rehearse(&all_models(file, &options.db), &mut Vec::new());
    assert_eq!(refused.unwrap_err().code(), "conflict");
    drop(dir);
}
