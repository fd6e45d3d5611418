//! Approvals of model calls in sessions, which nothing enters again.

use crate::asking::*;
use crate::common::*;
use crate::model_approvals::POLICY;

#[test]
fn a_session_waits_or_is_told_and_asks_the_same_again() {
    let world = World::seeded(14);
    world.run(async {
        let control = world.open().await;
        enforce(&control, POLICY).await;
        let session = guard(&control).await;
        let dear = request("p", 5);
        let Admission::NeedsApproval(id) = session.reserve(&dear).await.unwrap() else {
            panic!("nobody was asked")
        };
        // While nobody has decided it is the same question.
        let again = session.reserve(&dear).await.unwrap();
        assert!(matches!(again, Admission::NeedsApproval(same) if same == id));
        control.approve(id, "bob", "yes").await.unwrap();
        session.decided(id).await.unwrap();
        let permit = permit(&session, 5).await;
        permit.settle(&answer("ok", 1)).await.unwrap();
        // The same call once more is another call.
        let other = session.reserve(&dear).await.unwrap();
        let Admission::NeedsApproval(other) = other else {
            panic!("{other:?}")
        };
        control.reject(other, "bob", "no").await.unwrap();
        let denied = session.try_model_call(&dear, |_| async { Ok(answer("ok", 1)) });
        let denied = mission_control::Error::from(denied.await.unwrap_err());
        assert_eq!(denied.kind(), ErrorKind::ApprovalInvalid);
    });
}

#[test]
fn a_session_that_waits_goes_on_with_the_word_and_expires_without() {
    let world = World::seeded(15);
    world.run(async {
        let control = world.open().await;
        enforce(&control, POLICY).await;
        let session = guard(&control).await;
        let dear = request("p", 5);
        let send = |_| async { Ok(answer("ok", 1)) };
        let approved = async {
            let asked = only(&control).await;
            control.approve(asked.id, "bob", "yes").await.unwrap();
        };
        let (sent, ()) = futures::join!(session.model_call(&dear, send), approved);
        assert_eq!(sent.unwrap().output, "ok");
        let error = session.model_call(&dear, send).await.unwrap_err();
        assert!(matches!(error, CallError::Denied(_)), "{error:?}");
        assert!(world.elapsed() >= secs(24 * 3_600));
        session.close().await.unwrap();
    });
}
