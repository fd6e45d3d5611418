//! Contended, not exceeded: what does not fit together fits one after the other, in the order of asking.

use crate::common::*;

/// Parallel calls, what each may cost at most and what it costs, in thousandths of a dollar: twenty
/// times the worst case is five times the limit, and twenty times the cost is less than it.
const CALLS: u64 = 20;
const BOUND: u64 = 100;
const COST: u64 = 15;
const LIMIT: i64 = 400;

const STEPS: &str = "{ workflow: w, steps: { a: { agent: caller, for_each: \"${{ inputs.list }}\", input: { bound: 100, cost: 15 } } } }";

/// What the workspace has spent and holds after each event, by the facts of the log alone.
fn exposures(log: &[Record]) -> Vec<i64> {
    let mut now = 0;
    let after = log.iter().map(|record| {
        let facts: Value = serde_json::from_str(&record.facts).unwrap();
        let nano = |name: &str| facts[name]["nano_usd"].as_i64().unwrap_or(0);
        now += match &*record.kind {
            "model_call.reserved" => nano("extended"),
            "model_call.settled" => nano("actual") - nano("held") - nano("released"),
            "step.completed" => -nano("released"),
            _ => 0,
        };
        now
    });
    after.collect()
}

/// Nothing was refused, nothing ended early, and the money was never above the limit.
async fn fits_one_after_the_other(control: &MissionControl) {
    let log = control.log().read_workspace(0, 10_000).await.unwrap();
    for ends in [
        "model_call.denied",
        "attempt.failed",
        "run.aborted",
        "run.paused",
        "step.blocked",
    ] {
        assert!(log.iter().all(|record| &*record.kind != ends), "{ends}");
    }
    let settled = log
        .iter()
        .filter(|record| &*record.kind == "model_call.settled");
    assert_eq!(settled.count() as u64, CALLS);
    let exposures = exposures(&log);
    let most = exposures.iter().copied().max().map(NanoUsd::from_nano);
    assert!(most.unwrap() <= mills(LIMIT), "{most:?}");
    // It was worth the wait: four at a time at first, more than the limit in all.
    assert!(most.unwrap() > mills(LIMIT - 100), "{most:?}");
    let spent = i64::try_from(CALLS * COST).unwrap();
    assert_eq!(workspace(control).spent().money, mills(spent));
    assert_eq!(exposures.last(), Some(&mills(spent).as_nano()));
}

#[test]
fn twenty_parallel_steps_that_do_not_fit_together_all_complete_in_the_order_of_asking() {
    for seed in 0..10 {
        let world = World::seeded(seed);
        world.run(async {
            let (control, notes) = open_caller(&world).await;
            set(&control, AccountId::Workspace, LIMIT, OnExceed::Abort).await;
            let list: Vec<u64> = (0..CALLS).collect();
            let run = begin(&control, STEPS, json!({"list": list})).await;
            completes(&run).await;
            fits_one_after_the_other(&control).await;
            let events = events(&control, &run).await;
            let admitted = events
                .iter()
                .filter(|event| &*event.kind == "model_call.reserved");
            let step = |event: &Record| -> Value { serde_json::from_str(&event.facts).unwrap() };
            let admitted = admitted.map(|event| step(event)["step"].as_str().unwrap().to_owned());
            assert_eq!(admitted.collect::<Vec<_>>(), notes.all());
            assert_eq!(notes.len() as u64, CALLS);
        });
    }
}

/// A session that asks as soon as it is polled, notes when it was admitted, and ends with its call: what
/// it has left of its hold is for its next calls until then.
async fn one_call(world: &World, session: Session, (n, admitted): (u64, &Notes)) {
    let request = request(&format!("p{n}"), BOUND);
    let called = session.model_call(&request, |_| async move {
        admitted.add(format!("p{n}"));
        world.pass(secs(1)).await;
        Ok(answer("ok", COST))
    });
    called.await.unwrap();
    session.close().await.unwrap();
}

#[test]
fn twenty_parallel_sessions_that_do_not_fit_together_all_get_their_call_in_the_order_of_asking() {
    for seed in 0..10 {
        let world = World::seeded(seed);
        world.run(async {
            let control = world.open().await;
            set(&control, AccountId::Workspace, LIMIT, OnExceed::Abort).await;
            let admitted = Notes::default();
            let mut sessions = Vec::new();
            for _ in 0..CALLS {
                sessions.push(guard(&control).await);
            }
            let calls = (0..).zip(sessions);
            let calls = calls.map(|(n, session)| one_call(&world, session, (n, &admitted)));
            futures::future::join_all(calls).await;
            let asked: Vec<String> = (0..CALLS).map(|n| format!("p{n}")).collect();
            assert_eq!(admitted.all(), asked);
            fits_one_after_the_other(&control).await;
        });
    }
}

#[test]
fn twenty_parallel_steps_of_two_calls_each_all_complete() {
    for seed in 0..10 {
        let world = World::seeded(seed);
        world.run(async {
            let control = world.open().await;
            set(&control, AccountId::Workspace, LIMIT, OnExceed::Abort).await;
            let twice = agent(|ctx, _| async move {
                call(&ctx, "first", BOUND, 7).await?;
                call(&ctx, "second", BOUND, 7).await?;
                Ok(json!(1).into())
            });
            register(&control, "caller", twice).await;
            let list: Vec<u64> = (0..CALLS).collect();
            let run = begin(&control, STEPS, json!({"list": list})).await;
            completes(&run).await;
        });
    }
}
