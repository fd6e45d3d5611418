//! Streams that were cut before their usage came: what counts as spent.

use mission_control::CutStreams;

use crate::common::*;

fn believing() -> Settings {
    Settings {
        cut_streams: CutStreams::AsObserved,
        ..settings()
    }
}

/// A stream of at most ten thousandths that was cut when so many were seen.
fn cut_at(seen: u64) -> ProviderError {
    let usage = Usage {
        output_text: seen,
        ..Usage::default()
    };
    ProviderError::cut(usage, "the reader went away")
}

/// The facts of the call's end and what the workspace spent, of a call that was cut.
fn spent(settings: Settings, seen: u64) -> (Value, NanoUsd) {
    let yaml = one(", retry: { maximum_attempts: 1 }");
    let (world, _, events) = one_call(settings, &yaml, move |_| Err(cut_at(seen)));
    let account = world.run(async { world.open().await.account(&AccountId::Workspace).unwrap() });
    assert!(account.reserved().is_zero() && account.in_doubt().is_zero());
    let facts = find(&events, "model_call.settled").unwrap();
    (facts, account.spent().money)
}

#[test]
fn what_was_seen_of_a_cut_stream_is_no_proof_unless_the_workspace_believes_it() {
    let (facts, money) = spent(settings(), 3);
    assert_eq!((&facts["flags"], money), (&json!(["cut"]), mills(10)));
    let (facts, money) = spent(believing(), 3);
    assert_eq!(facts["flags"], json!(["cut", "observed"]));
    assert_eq!(facts["usage"]["output_text"], 3);
    assert_eq!(money, mills(3));
}

#[test]
fn what_was_seen_never_counts_for_more_than_was_held() {
    let (facts, money) = spent(believing(), 12);
    assert_eq!(facts["flags"], json!(["cut", "observed"]));
    assert_eq!(money, mills(10));
}

#[test]
fn a_failure_that_is_no_cut_is_not_settled_by_what_was_seen() {
    let yaml = one(", retry: { maximum_attempts: 1 }");
    let (world, ..) = one_call(believing(), &yaml, |_| {
        Err(ProviderError {
            failure: CallFailure::Timeout,
            ..cut_at(3)
        })
    });
    let account = world.run(async { world.open().await.account(&AccountId::Workspace).unwrap() });
    assert_eq!(account.in_doubt().money, mills(10));
    assert!(account.spent().is_zero());
}

#[test]
fn a_stream_that_is_cut_after_its_run_was_aborted_settles_its_doubt_as_observed() {
    let world = World::seeded(4);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let admission = ctx.reserve(&request("p", 10)).await?;
            ctx.sleep(secs(60)).await;
            if let Admission::Allowed(permit) = admission {
                permit.fail(&cut_at(4)).await?;
            }
            Ok(json!(1).into())
        });
        let control = open_with(&world, believing(), "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        world.pass(secs(100)).await;
        let account = control.account(&AccountId::Workspace).unwrap();
        assert_eq!(account.spent().money, mills(4));
        assert!(account.in_doubt().is_zero());
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let late = find(&log, "result.late").unwrap();
        assert_eq!(late["used"]["flags"], json!(["cut", "observed"]));
    });
}
