//! The three ways to rehearse, each once: a rehearsal takes seconds, its rules milliseconds.

use serde_json::Value;

use crate::world::{World, all_models, fresh, options};
use crate::{budget, data, money, plain, storm};

/// A rule that a rehearsal of these runs has to keep, by name.
type Rule = (&'static str, fn(&[Value], &World));

macro_rules! rules {
    ($($rule:path),* $(,)?) => {
        &[$((stringify!($rule), $rule as fn(&[Value], &World)),)*]
    };
}

fn keeps(runs: &[Value], world: &World, rules: &[Rule]) {
    for (name, rule) in rules {
        eprintln!("rule {name}");
        rule(runs, world);
    }
}

#[test]
fn with_unknown_models_free_every_run_is_as_it_was_recorded() {
    let Some(file) = data::file() else { return };
    let (runs, world) = (data::runs(&file), fresh(&file, all_models));
    let rules: &[Rule] = rules![
        plain::every_run_completes_with_the_tokens_of_the_data,
        plain::replay_of_every_run_is_the_state_that_its_row_keeps,
        money::every_priced_call_costs_what_its_data_reports,
        money::the_cost_of_all_runs_is_the_sum_of_their_calls,
        storm::each_recorded_refusal_is_a_throttling_of_its_call_within_policy,
        storm::a_refused_call_goes_out_again_no_sooner_than_was_said,
        storm::the_breaker_opens_and_closes_in_the_worst_storm,
    ];
    keeps(&runs, &world, rules);
}

#[test]
fn by_default_runs_of_unknown_models_are_stopped_and_the_others_complete() {
    let Some(file) = data::file() else { return };
    let (runs, world) = (data::runs(&file), fresh(&file, options));
    let rules: &[Rule] = rules![
        plain::runs_of_unknown_models_are_stopped_at_their_first_call,
        plain::replay_of_every_run_is_the_state_that_its_row_keeps,
    ];
    keeps(&runs, &world, rules);
    plain::a_second_rehearsal_finds_the_runs_of_the_first(&file, world);
}

#[test]
fn with_sixty_percent_of_its_cost_each_priced_run_stops_before_its_limit() {
    let Some(file) = data::file() else { return };
    let (runs, world) = (data::runs(&file), fresh(&file, budget::sixty_percent));
    let rules: &[Rule] = rules![
        budget::no_account_ever_passes_its_limit,
        budget::each_priced_run_stops_and_says_which_account_stopped_it,
        budget::the_call_that_was_denied_would_have_passed_the_limit,
        plain::replay_of_every_run_is_the_state_that_its_row_keeps,
    ];
    keeps(&runs, &world, rules);
}
