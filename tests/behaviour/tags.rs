//! Tags: an account for whatever a host counts by.

use crate::common::*;
use crate::nested::{outer, publish};

fn tagged(tags: &[&str]) -> StartOptions {
    StartOptions {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..StartOptions::by("ann")
    }
}

fn tag(name: &str) -> AccountId {
    AccountId::Tag(name.parse().unwrap())
}

#[test]
fn a_tags_limit_binds_all_runs_and_sessions_that_carry_it_and_no_others() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, tag("acme"), 15, OnExceed::Abort).await;
        let yaml =
            |name: &str| format!("{{ workflow: {name}, steps: {{ a: {{ agent: caller }} }} }}");
        let input = || json!({"bound": 10, "cost": 10});
        let first = begin_with(&control, &yaml("v"), input(), tagged(&["acme", "q4"])).await;
        completes(&first).await;
        let second = begin_with(&control, &yaml("w"), input(), tagged(&["acme"])).await;
        let outcome = second.outcome().await.unwrap();
        let Outcome::Aborted(reason) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            reason,
            mission_control::AbortReason::Budget {
                account: tag("acme")
            }
        );
        completes(&begin_with(&control, &yaml("w"), input(), tagged(&[])).await).await;
        let spent = |name: &str| control.account(&tag(name)).unwrap().spent().money;
        assert_eq!([spent("acme"), spent("q4")], [mills(10), mills(10)]);
        let options = SessionOptions {
            tags: vec!["acme".to_owned()],
            ..SessionOptions::default()
        };
        let session = control.guard("host", options).await.unwrap();
        let request = request("p", 6);
        let call = session.model_call(&request, |_| async { Ok(answer("ok", 6)) });
        assert!(call.await.is_err());
    });
}

#[test]
fn a_nested_run_carries_the_tags_of_the_run_around_it() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        publish(
            &control,
            "{ workflow: gate, steps: { check: { agent: caller } } }",
        )
        .await;
        let input = json!({"bound": 10, "cost": 4});
        let run = begin_with(&control, &outer(""), input, tagged(&["acme"])).await;
        completes(&run).await;
        assert_eq!(
            control.account(&tag("acme")).unwrap().spent().money,
            mills(4)
        );
    });
}

#[test]
fn a_run_has_at_most_eight_tags_and_each_is_a_name() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        publish(&control, "{ workflow: w, steps: { a: { agent: caller } } }").await;
        for (tags, place) in [(vec!["Acme"], "tags[0]"), (vec!["t"; 9], "tags")] {
            let started = control.start("w", json!({}), tagged(&tags)).await;
            let error = started.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(place), "{error}");
        }
    });
}
