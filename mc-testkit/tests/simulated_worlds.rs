//! A few simulated worlds in every test run; the `simulate` binary lives many more.

use mc_testkit::simulate::{Habits, live, live_with};

#[test]
fn no_world_breaks_an_invariant() {
    for seed in 100..120 {
        let lived = live(seed);
        assert!(
            lived.findings.is_empty(),
            "seed {seed}: {:?}",
            lived.findings
        );
    }
}

#[test]
fn nothing_that_cannot_be_undone_goes_out_unasked_or_twice() {
    let mut used = 0;
    for seed in 0..15 {
        let lived = live_with(seed, Habits::Asking);
        used += lived.approvals;
        assert!(
            lived.findings.is_empty(),
            "seed {seed}: {:?}",
            lived.findings
        );
    }
    assert!(used > 20, "{used} approvals were used");
}

#[test]
fn runs_nested_in_one_another_and_runs_that_go_on_break_nothing() {
    let (mut nested, mut redriven) = (0, 0);
    for seed in (0..12).chain([144, 195, 275, 315]) {
        let lived = live_with(seed, Habits::Nesting);
        nested += lived.nested;
        redriven += lived.redriven;
        let findings = lived.findings;
        assert!(findings.is_empty(), "seed {seed}: {findings:?}");
    }
    assert!(
        nested > 10 && redriven > 2,
        "{nested} nested, {redriven} redriven"
    );
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in [3, 104, 117] {
        assert_eq!(live(seed).root, live(seed).root, "seed {seed}");
    }
}

fn breaks_nothing(seed: u64) {
    let lived = live_with(seed, Habits::Tame);
    assert!(lived.findings.is_empty(), "{:?}", lived.findings);
}

#[test]
fn a_fan_out_that_waits_for_money_keeps_its_turn() {
    breaks_nothing(25);
}

#[test]
fn a_call_that_waited_for_a_breaker_says_that_only_doubt_stands_in_its_way() {
    breaks_nothing(36);
}
