//! A few simulated worlds in every test run; the `simulate` binary lives many more.

use mc_testkit::simulate::live;

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
fn the_same_seed_gives_the_same_log() {
    for seed in [3, 104, 117] {
        assert_eq!(live(seed).root, live(seed).root, "seed {seed}");
    }
}

#[test]
fn a_fan_out_that_waits_for_money_keeps_its_turn() {
    let lived = live(25);
    assert!(lived.findings.is_empty(), "{:?}", lived.findings);
}
