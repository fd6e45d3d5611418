//! Rules, rates and halts of the owner bind a session over the socket, also one with a block in hand.

use std::time::Duration;

use mission_control::{
    Admission, ErrorKind, HaltScope, MissionControl, ModelRequest, Permit, Policy, RunQuery,
    Session, SessionOptions,
};

use crate::common::{answer, open, place, request};

/// A rule, and the part of a denial that names it.
const DENYING: [(&str, &str); 4] = [
    ("agents: { deny: [host] }", "r: agents"),
    ("models: { deny: [test/m] }", "r: models"),
    ("models: { allow: ['other/*'] }", "r: models"),
    (
        "max_cost_per_call: { usd: '0.049' }",
        "r: max_cost_per_call",
    ),
];

async fn publish(control: &MissionControl, policy: &str) {
    let policy = Policy::from_yaml(policy).unwrap();
    control.publish_policy("ann", policy).await.unwrap();
}

/// A session of a handle that has joined, with a block of which it has drawn.
async fn session(joined: &MissionControl) -> Session {
    assert!(joined.is_joined());
    let opened = joined.guard("host", SessionOptions::default()).await;
    let session = opened.unwrap();
    for warm in ["one", "two"] {
        settled(session.reserve(&request(warm)).await.unwrap()).await;
    }
    session
}

fn permit(admission: Admission) -> Permit {
    match admission {
        Admission::Allowed(permit) | Admission::Clamped(permit) => permit,
        other @ (Admission::Answered(_) | Admission::NeedsApproval(_) | Admission::Denied(_)) => {
            panic!("{other:?}")
        }
    }
}

async fn settled(admission: Admission) {
    permit(admission).settle(&answer(20)).await.unwrap();
}

/// What a denied call is told.
async fn denied(session: &Session, request: &ModelRequest) -> String {
    match session.reserve(request).await.unwrap() {
        Admission::Denied(error) => {
            assert_eq!(error.kind(), ErrorKind::PolicyDenied);
            error.message().to_owned()
        }
        other @ (Admission::Allowed(_)
        | Admission::Clamped(_)
        | Admission::Answered(_)
        | Admission::NeedsApproval(_)) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rule_that_comes_while_a_block_is_in_hand_denies_as_at_the_owner() {
    for (rule, told) in DENYING {
        let (_dir, path) = place();
        let owner = open(&path).await;
        let joined = open(&path).await;
        let there = session(&joined).await;
        let rule = format!("guardrails: [{{ id: r, at: model_call, {rule} }}]");
        publish(&joined, &rule).await;
        let here = owner.guard("host", SessionOptions::default()).await;
        let at_owner = denied(&here.unwrap(), &request("p")).await;
        let at_joined = denied(&there, &request("p")).await;
        assert!(at_joined.starts_with(told), "{at_joined}");
        assert_eq!(at_joined, at_owner);
        publish(&owner, "no_progress: enforce").await;
        settled(there.reserve(&request("p")).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_halt_is_heard_by_a_session_with_a_block_in_hand_and_so_is_its_end() {
    for scope in ["workspace", "agent:host"] {
        let (_dir, path) = place();
        let owner = open(&path).await;
        let joined = open(&path).await;
        let session = session(&joined).await;
        let scope: HaltScope = scope.parse().unwrap();
        // Whoever halts has the answer once the owner has written it down and told everybody.
        let halted = joined
            .halt(("ann", "as tested"), scope.clone(), Duration::ZERO)
            .await;
        halted.unwrap();
        let refused = session.reserve(&request("p")).await.unwrap();
        let Admission::Denied(error) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        owner.resume(("ann", "as tested"), scope).await.unwrap();
        settled(session.reserve(&request("p")).await.unwrap()).await;
    }
}

#[tokio::test]
async fn calls_in_flight_of_the_owner_and_of_a_session_over_the_socket_are_counted_together() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let joined = open(&path).await;
    let there = session(&joined).await;
    publish(&owner, "rates: [{ for: { model: test/m }, in_flight: 1 }]").await;
    let here = owner.guard("host", SessionOptions::default()).await;
    let here = here.unwrap();
    let first = permit(here.reserve(&request("first")).await.unwrap());
    let second = request("second");
    let second = async { settled(there.reserve(&second).await.unwrap()).await };
    let settles = async {
        // By its answer the owner has heard of the call that waits.
        joined.runs(RunQuery::default()).await.unwrap();
        first.settle(&answer(20)).await.unwrap();
    };
    futures::future::join(second, settles).await;
    let log = owner.log().read_workspace(0, 1_000).await.unwrap();
    let kinds = log.iter().map(|one| (one.run_id, one.kind.to_string()));
    let kinds: Vec<_> = kinds.collect();
    let at = |of: &Session, kind: &str| {
        let place = kinds
            .iter()
            .rposition(|(run, one)| *run == of.id() && one == kind);
        place.unwrap()
    };
    assert!(at(&there, "model_call.reserved") > at(&here, "model_call.settled"));
}
