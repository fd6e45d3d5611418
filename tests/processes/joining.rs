//! A second handle on a file joins the first, wherever that is.

use std::time::Duration;

use mission_control::{
    AccountId, ErrorKind, Outcome, RunNews, RunQuery, SessionOptions, StartOptions,
};

use crate::common::{Echo, answer, hello, mills, open, place, request, workflow};

const ONE: &str = "{ workflow: one, steps: { a: { agent: echo } } }";
const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_joined_handle_publishes_starts_and_sees_the_end() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    owner.register_agent("echo", Echo).await.unwrap();
    owner.start_dispatch().await.unwrap();
    let joined = open(&path).await;
    assert!(joined.is_joined() && !owner.is_joined());
    joined.publish(workflow(ONE)).await.unwrap();
    let run = joined.start("one", hello(), StartOptions::by("ann")).await;
    let run = run.unwrap();
    assert_eq!(run.outcome().await.unwrap().output(), Some(&hello()));
    let page = joined.runs(RunQuery::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
}

#[tokio::test]
async fn an_agent_of_a_joined_process_runs_what_the_owner_starts() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let joined = open(&path).await;
    joined.register_agent("echo", Echo).await.unwrap();
    joined.start_dispatch().await.unwrap();
    owner.publish(workflow(ONE)).await.unwrap();
    let run = owner.start("one", hello(), StartOptions::by("ann")).await;
    let outcome = run.unwrap().outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_joined_session_spends_what_the_owner_holds() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let joined = open(&path).await;
    let session = joined
        .guard("worker", SessionOptions::default())
        .await
        .unwrap();
    for n in 0..20 {
        let request = request(&format!("{n}"));
        let call = session.model_call(&request, |_| async { Ok(answer(20)) });
        call.await.unwrap();
    }
    session.close().await.unwrap();
    let account = joined.account(&AccountId::Workspace).unwrap();
    assert_eq!(account.spent().money, mills(400));
    assert_eq!(account.exposure().money, mills(400));
    assert_eq!(owner.account(&AccountId::Workspace), Some(account));
}

#[tokio::test]
async fn a_subscriber_of_a_joined_process_hears_every_event() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    owner.register_agent("echo", Echo).await.unwrap();
    owner.publish(workflow(ONE)).await.unwrap();
    let joined = open(&path).await;
    let run = joined.start("one", hello(), StartOptions::by("ann")).await;
    let run = run.unwrap();
    let mut events = run.events();
    joined.start_dispatch().await.unwrap();
    let mut kinds = Vec::new();
    while let Some(news) = events.next().await.unwrap() {
        if let RunNews::Event(record) = news {
            kinds.push(record.kind.to_string());
        }
    }
    assert_eq!(kinds.first().map(String::as_str), Some("run.created"));
    assert_eq!(kinds.last().map(String::as_str), Some("run.sealed"));
}

#[tokio::test]
async fn a_handle_that_was_shut_down_leaves_the_owner_as_it_was() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let joined = open(&path).await;
    joined.register_agent("echo", Echo).await.unwrap();
    joined.shutdown(GRACE).await.unwrap();
    let asked = joined.runs(RunQuery::default()).await;
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::Unavailable);
    let error = joined.start_dispatch().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    owner.publish(workflow(ONE)).await.unwrap();
    let refused = owner.start("one", hello(), StartOptions::by("ann")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidWorkflow);
}

#[tokio::test]
async fn what_a_joined_process_does_is_known_by_its_socket() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let joined = open(&path).await;
    joined.publish(workflow(ONE)).await.unwrap();
    let head = owner.log().head().await.unwrap();
    let last = owner
        .log()
        .read_workspace(head.next_seq - 1, 1)
        .await
        .unwrap();
    assert_eq!(last[0].auth_method.as_str(), "socket");
}
