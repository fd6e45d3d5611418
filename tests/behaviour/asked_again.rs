//! Commands of a joined process whose answer was lost: given again, they are answered by what the log
//! says that they came to.

use crate::asking::*;
use crate::common::*;
use mission_control::ApprovalFault;

const DENIES: &str =
    "guardrails: [{ id: r, mode: enforce, at: admission, agents: { deny: [it] } }]";

async fn asking(world: &World) -> (MissionControl, Joined) {
    let (owner, _) = open_noting(world).await;
    let joined = join(world, &owner);
    joined.ask_twice();
    (owner, joined)
}

#[test]
fn a_word_on_an_approval_counts_once_and_is_told_so() {
    let world = World::seeded(1);
    world.run(async {
        let (owner, joined) = asking(&world).await;
        let run = begin(&owner, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&owner, &run).await;
        run.pause(("ann", "as tested")).await.unwrap();
        joined.control.approve(asked, "bob", "yes").await.unwrap();
        joined.control.revoke(asked, "bob", "no").await.unwrap();
        let late = joined.control.approve(asked, "bob", "yes").await;
        refused(late, ApprovalFault::Revoked);
        let late = joined.control.revoke(asked, "bob", "again").await;
        refused(late, ApprovalFault::Revoked);
        run.resume(("ann", "as tested")).await.unwrap();
        let second = pending(&owner, &run).await;
        joined.control.approve(second, "bob", "yes").await.unwrap();
        completes(&run).await;
        assert_eq!(count(&owner, &run, "approval.decided").await, 2);
    });
}

#[test]
fn what_was_refused_is_still_refused_when_it_is_given_again() {
    let world = World::seeded(2);
    world.run(async {
        let (owner, joined) = asking(&world).await;
        owner
            .publish(Workflow::from_yaml(ONE).unwrap())
            .await
            .unwrap();
        enforce(&owner, DENIES).await;
        let by = StartOptions::by("ann");
        let started = joined.control.start("w", json!({}), by).await;
        assert_eq!(started.unwrap_err().kind(), ErrorKind::PolicyDenied);
        let opened = joined.control.guard("it", SessionOptions::default()).await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::PolicyDenied);
        enforce(&owner, "{}").await;
        let by = StartOptions::by("ann");
        let run = joined.control.start("w", json!({}), by).await.unwrap();
        owner.start_dispatch().await.unwrap();
        completes(&owner.run(run.id())).await;
    });
}

#[test]
fn an_answer_that_a_rule_refused_is_still_refused_when_it_is_given_again() {
    let world = World::seeded(3);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let rule = "guardrails: [{ id: r, mode: enforce, at: after, forbidden: [bad] }]";
        enforce(&owner, rule).await;
        let session = guard(&joined.control).await;
        let permit = permit(&session, 50).await;
        joined.ask_twice();
        let error = permit.settle(&answer("bad", 20)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PolicyDenied, "{error:?}");
        assert!(error.message().starts_with("r: "), "{error}");
        assert_eq!(workspace(&owner).spent().money, mills(20));
    });
}
