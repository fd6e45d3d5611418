//! What the tests of approvals share.

use crate::common::*;
use mission_control::{
    ApprovalFault, ApprovalFilter, ApprovalId, ApprovalRequest, ApprovalState, Detail, Permit,
    Policy,
};

/// An agent that notes its step and gives its input back.
pub fn noting(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            notes.add(ctx.step().as_str());
            Ok(input.into())
        }
    })
}

/// Opens the store with the agent `it`, which notes its steps.
pub async fn open_noting(world: &World) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "it", noting(notes.clone())).await;
    (control, notes)
}

/// The one request that waits for a person.
pub async fn only(control: &MissionControl) -> ApprovalRequest {
    loop {
        let mut all = control.approvals(ApprovalFilter::Pending).await.unwrap();
        assert!(all.len() < 2, "{all:?}");
        match all.pop() {
            Some(one) => return one,
            None => tokio::task::yield_now().await,
        }
    }
}

/// The request of a run that waits for a person.
pub async fn pending(control: &MissionControl, run: &RunHandle) -> ApprovalId {
    run.settled_or_blocked().await.unwrap();
    let all = control.approvals(ApprovalFilter::Pending).await.unwrap();
    let mut all = all.iter().filter(|one| one.id.run_id == run.id());
    all.next().expect("a request").id
}

/// Where the first request of a run stands.
pub async fn state_of(run: &RunHandle) -> ApprovalState {
    let run = run.state().await.unwrap();
    run.approvals.values().next().unwrap().state
}

/// Holds an answer to a refusal for a reason.
pub fn refused(answer: mission_control::Result<()>, reason: ApprovalFault) {
    let error = answer.expect_err("a refusal");
    assert_eq!(
        error.detail(),
        Some(&Detail::Approval { reason }),
        "{error:?}"
    );
}

/// Puts a policy into force.
pub async fn enforce(control: &MissionControl, text: &str) {
    let policy = Policy::from_yaml(text).unwrap();
    control.publish_policy("ann", policy).await.unwrap();
}

/// The command that an event of a run came with: one commit.
pub async fn commit_of(control: &MissionControl, run: &RunHandle, kind: &str) -> String {
    let events = events(control, run).await;
    let found = events.iter().find(|event| &*event.kind == kind).unwrap();
    found.cmd_id.to_string()
}

/// A permit of a session, in thousandths of a dollar.
pub async fn permit(session: &Session, of: u64) -> Permit {
    let admission = session.reserve(&request("p", of)).await.unwrap();
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    permit
}
