//! Calls that take too long are cut by the engine's clock, though nobody reports how far they have come;
//! and an attempt knows how long it has left.

use crate::asking::enforce;
use crate::common::*;
use crate::guardrails::{publish, rail};
use mission_control::RiskTier;

const FIVE: &str = "at: in_flight, max_duration: 5s";
/// When a call that may take five seconds is cut.
const CUT: Duration = Duration::from_millis(5_001);

/// Makes a call in a session that takes so many seconds; what came of it, and when.
async fn silent(
    world: &World,
    control: &MissionControl,
    takes: u64,
) -> (Result<(), String>, Duration, Vec<Value>) {
    let session = guard(control).await;
    let begun = world.elapsed();
    let request = request("p", 10);
    let called = session.model_call(&request, |_| async {
        world.pass(secs(takes)).await;
        Ok(answer("ok", 4))
    });
    let came = match called.await {
        Ok(_) => Ok(()),
        Err(CallError::Denied(error)) => Err(error.message().to_owned()),
        Err(other) => panic!("{other:?}"),
    };
    let took = world.elapsed().saturating_sub(begun);
    let run = control.run(session.id());
    session.close().await.unwrap();
    (came, took, verdicts(control, &run).await)
}

/// Every verdict in a run's log: the rule and its mode.
async fn verdicts(control: &MissionControl, run: &RunHandle) -> Vec<Value> {
    let events = events(control, run).await;
    let judged = events.iter().filter(|one| &*one.kind == "guardrail.judged");
    let facts = judged.map(|one| serde_json::from_str::<Value>(&one.facts).unwrap());
    facts.map(|facts| facts["rule"].clone()).collect()
}

#[test]
fn a_model_call_that_says_nothing_is_cut_once_its_time_is_over() {
    let world = World::seeded(91);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        publish(&owner, &rail(FIVE, "enforce")).await;
        for control in [&owner, &joined.control] {
            let before = owner.account(&AccountId::Workspace).unwrap_or_default();
            let (came, took, judged) = silent(&world, control, 100).await;
            let told = came.unwrap_err();
            assert!(
                told.starts_with("r: max_duration: it takes 5001 ms"),
                "{told}"
            );
            assert_eq!((took, judged), (CUT, vec![json!("r")]));
            // Nobody knows what the provider bills.
            let doubt = workspace(&owner).in_doubt().money.as_nano();
            assert_eq!(
                doubt - before.in_doubt().money.as_nano(),
                mills(10).as_nano()
            );
            let (came, took, judged) = silent(&world, control, 5).await;
            assert_eq!((came, took, judged.len()), (Ok(()), secs(5), 0));
        }
    });
}

#[test]
fn a_rule_that_observes_or_concerns_others_lets_a_call_take_its_time() {
    for (rule, mode, told) in [
        (FIVE, "observe", 1),
        (FIVE, "'off'", 0),
        (
            "for: { agents: [other] }, at: in_flight, max_duration: 5s",
            "enforce",
            0,
        ),
        (
            "for: { models: ['x/*'] }, at: in_flight, max_duration: 5s",
            "enforce",
            0,
        ),
        (
            "for: { tools: [pay] }, at: in_flight, max_duration: 5s",
            "enforce",
            0,
        ),
    ] {
        let world = World::seeded(92);
        world.run(async {
            let control = world.open().await;
            publish(&control, &rail(rule, mode)).await;
            let (came, took, judged) = silent(&world, &control, 100).await;
            assert_eq!(
                (came, took, judged.len()),
                (Ok(()), secs(100), told),
                "{rule} {mode}"
            );
        });
    }
}

/// Two rules: one that only tells, and one that is obeyed.
const TWO: &str = "guardrails: [{ id: early, at: in_flight, mode: observe, max_duration: 2s }, \
                   { id: late, at: in_flight, max_duration: 5s }]";

#[test]
fn each_rule_tells_once_when_its_own_time_is_over() {
    let world = World::seeded(93);
    world.run(async {
        let control = world.open().await;
        publish(&control, TWO).await;
        let (came, took, judged) = silent(&world, &control, 100).await;
        assert!(came.unwrap_err().starts_with("late: "));
        assert_eq!((took, judged), (CUT, vec![json!("early"), json!("late")]));
    });
}

#[test]
fn who_sends_by_itself_hears_that_its_call_is_overdue() {
    let world = World::seeded(94);
    world.run(async {
        let control = world.open().await;
        publish(&control, &rail(FIVE, "enforce")).await;
        let session = guard(&control).await;
        let admitted = session.reserve(&request("p", 10)).await.unwrap();
        let Admission::Allowed(permit) = admitted else {
            panic!("{admitted:?}");
        };
        let begun = world.elapsed();
        let error = permit.overdue().await;
        assert_eq!(error.kind(), ErrorKind::PolicyDenied);
        assert_eq!(world.elapsed().saturating_sub(begun), CUT);
        drop(permit);
    });
}

/// Calls the tool `slow`, which takes a hundred seconds; what came of it.
fn slow(notes: Notes) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            let params = json!({});
            let called = ctx.tool_call("slow", RiskTier::Read, &params, || async {
                notes.add("called");
                ctx.sleep(secs(100)).await;
                notes.add("done");
                Ok(json!("done"))
            });
            match called.await {
                Ok(done) => Ok(done.into()),
                Err(error) => Ok(json!(error.message()).into()),
            }
        }
    })
}

/// A store with a tool of a tier, and rules about how long it may take.
async fn open_slow(world: &World, risk: &str, rules: &str) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "it", slow(notes.clone())).await;
    let tools = format!("tools: {{ slow: {{ risk: {risk} }} }}");
    let asks = "approvals: { from: financial }";
    enforce(&control, &format!("{tools}\n{asks}\n{rules}")).await;
    (control, notes)
}

#[test]
fn a_tool_that_can_be_called_again_fails_once_its_time_is_over() {
    for risk in ["read", "write"] {
        let world = World::seeded(95);
        world.run(async {
            let (control, notes) = open_slow(&world, risk, TWO).await;
            let run = begin(&control, ONE, json!({})).await;
            let told = output_of(&run).await;
            let told = told.as_str().unwrap().to_owned();
            assert!(told.starts_with("late: max_duration: "), "{told}");
            assert_eq!(notes.all(), ["called"]);
            let failed = facts(&control, &run, "tool_call.failed").await;
            assert_eq!(failed["code"], "policy_denied");
            let judged = verdicts(&control, &run).await;
            assert_eq!(judged, [json!("early"), json!("late")]);
            assert_eq!(world.elapsed(), CUT);
        });
    }
}

#[test]
fn a_tool_that_cannot_be_undone_may_have_acted_and_is_not_called_again() {
    let world = World::seeded(96);
    world.run(async {
        let (control, notes) = open_slow(&world, "irreversible", TWO).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let expected = ("a".to_owned(), BlockReason::Guardrail, "late".to_owned());
        assert_eq!(blocks(&position), [expected]);
        assert_eq!(count(&control, &run, "tool_call.failed").await, 0);
        assert_eq!(count(&control, &run, "attempt.abandoned").await, 1);
        world.pass(secs(1_000)).await;
        assert_eq!(notes.all(), ["called"]);
    });
}

#[test]
fn a_tool_under_a_rule_that_observes_takes_its_time() {
    let world = World::seeded(97);
    world.run(async {
        let rule = rail(FIVE, "observe");
        let (control, notes) = open_slow(&world, "irreversible", &rule).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, "done");
        assert_eq!(notes.len(), 2);
        assert_eq!(verdicts(&control, &run).await, [json!("r")]);
    });
}

/// What an attempt has left when it begins, and ten seconds later, in seconds.
fn left(rules: &str, timeout: &str) -> Value {
    let world = World::seeded(98);
    world.run(async {
        let tells = agent(|ctx, _| async move {
            let left = || ctx.time_left().map(|left| left.as_secs());
            let first = left();
            ctx.sleep(secs(10)).await;
            Ok(json!([first, left()]).into())
        });
        let owner = world.open().await;
        let joined = join(&world, &owner);
        publish(&owner, rules).await;
        register(&joined.control, "it", tells).await;
        let run = begin(&owner, &one(timeout), json!({})).await;
        output_of(&run).await
    })
}

#[test]
fn an_attempt_knows_how_long_it_has_left() {
    let none = "no_progress: enforce";
    let deadline = "guardrails: [{ id: r, at: model_call, deadline: 30s }]";
    let observed = "guardrails: [{ id: r, at: model_call, mode: observe, deadline: 30s }]";
    assert_eq!(left(none, ""), json!([null, null]));
    assert_eq!(left(none, ", timeout: 60s"), json!([60, 50]));
    assert_eq!(left(deadline, ", timeout: 60s"), json!([30, 20]));
    assert_eq!(left(deadline, ", timeout: 15s"), json!([15, 5]));
    assert_eq!(left(observed, ""), json!([null, null]));
}
