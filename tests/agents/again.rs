//! Chat agents whose attempts come again: what was answered is neither paid nor done twice.

use mission_control::{Redaction, RedactionScope, Redactor, Resolution};

use crate::common::*;
use crate::tools::{
    ASKS, ONCE, agents, asked, done, model, pay, policy, told, tool, until, wants, world,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_answered_is_not_done_again_by_an_attempt_that_comes_after_it() {
    let server = ModelServer::start(
        Script::always(Answer::text("done", Usage::text(5, 5)))
            .then(wants("pay", &json!({"to": "eve"})))
            .then(Answer::status(500)),
    );
    let server = server.unwrap();
    let world = world(&server, "openai_chat", &format!("tools: {{ {} }}", pay())).await;
    let step = "agent: a, retry: { maximum_attempts: 2, initial_interval: 1ms }";
    let run = world.start(step, json!("hi")).await;
    output(&run.outcome().await.unwrap());
    assert_eq!(done(&world).len(), 1);
    assert_eq!(server.counts().received, 3);
    assert!(world.facts(&run, "journal.diverged").await.is_empty());
}

/// The store of a world whose process is gone: another one takes its log over.
pub(crate) async fn taken_over(world: &World, server: &ModelServer, tools: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    let builder = Builder::new().with_settings(priced(PRICES));
    let log = Arc::clone(world.control.log());
    let control = builder.open_log(log).await.unwrap();
    let text = agents(server, "openai_chat", tools);
    let place = Place::of(world.dir.path());
    let spec = file::read(text.as_bytes(), &place).unwrap().remove(0);
    control
        .register_agent("a", spec.agent().unwrap())
        .await
        .unwrap();
    control.start_dispatch().await.unwrap();
    World { control, dir }
}

/// What cannot be undone, and is not asked of a person.
pub(crate) const UNASKED: &str =
    "approvals: { from: financial }\ntools: { pay: { risk: irreversible } }";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_and_was_out_when_its_process_died_is_not_done_twice() {
    let hangs = tool("pay", "echo once >> done; sleep 60", ", grace: 10ms");
    let tools = format!("tools: {{ {hangs} }}");
    let server = model([wants("pay", &json!({}))]);
    let before = world(&server, "openai_chat", &tools).await;
    policy(&before, UNASKED).await;
    let run = before.start(ONCE, json!("hi")).await;
    until(|| !done(&before).is_empty()).await;
    let after = taken_over(&before, &server, &tools).await;
    let run = after.control.run(run.id());
    let position = run.settled_or_blocked().await.unwrap();
    let Position::Blocked { steps, .. } = position else {
        panic!("{position:?}");
    };
    assert_eq!(steps[0].reason, BlockReason::InDoubt);
    let happened = Resolution::Happened(json!("paid").into());
    run.resolve("bob", &steps[0].step, happened, "seen at the bank")
        .await
        .unwrap();
    assert_eq!(output(&run.outcome().await.unwrap()), "paid");
    assert_eq!((done(&before).len(), server.counts().received), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_knows_a_call_again_that_was_out_when_its_process_died() {
    // The first time it says its key and hangs; the second time it says it and is done.
    let script = "n=$(cat done 2>/dev/null | wc -l); echo $MISSION_CONTROL_EFFECT_KEY >> done; [ $n = 1 ] && sleep 60; echo $n";
    let note = tool("note", script, ", grace: 10ms");
    let tools = format!("tools: {{ {note} }}");
    let server = model([
        wants("note", &json!({})),
        wants("note", &json!({})),
        wants("note", &json!({})),
    ]);
    let before = world(&server, "openai_chat", &tools).await;
    let run = before.start(ONCE, json!("hi")).await;
    until(|| done(&before).len() == 2).await;
    let after = taken_over(&before, &server, &tools).await;
    let run = after.control.run(run.id());
    output(&run.outcome().await.unwrap());
    let keys = done(&before);
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert!(keys.iter().all(|key| key.len() == 64), "{keys:?}");
    assert_eq!(keys[1], keys[2]);
    assert!(keys[0] != keys[1] && keys[1] != keys[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_its_process_died_is_in_the_journal_of_the_next() {
    let stalls = Completion {
        fault: Fault::StallAfter(1),
        ..Completion::default()
    };
    let tools = format!("tools: {{ {} }}", pay());
    let server = model([wants("pay", &json!({"to": "eve"})), stalls]);
    let before = world(&server, "openai_chat", &tools).await;
    policy(&before, UNASKED).await;
    let run = before.start(ONCE, json!("hi")).await;
    server.until(|counts| counts.received == 2).await;
    let after = taken_over(&before, &server, &tools).await;
    let run = after.control.run(run.id());
    output(&run.outcome().await.unwrap());
    assert_eq!((done(&before).len(), server.counts().received), (1, 3));
    assert!(after.facts(&run, "journal.diverged").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_redactor_takes_out_of_the_log_is_still_what_a_person_approved() {
    let secret = format!("sk-ant-{}", "aB3".repeat(10));
    let server = model([wants("pay", &json!({ "to": secret }))]);
    let redactor = Arc::new(<dyn Redactor>::secrets());
    let scope = RedactionScope::Shown;
    let settings = Settings {
        redaction: Some(Redaction { redactor, scope }),
        ..priced(PRICES)
    };
    let text = agents(&server, "openai_chat", &format!("tools: {{ {} }}", pay()));
    let world = World::under(settings, &text).await;
    policy(&world, ASKS).await;
    let run = world.start(ONCE, json!("hi")).await;
    let id = asked(&world, &run).await;
    world.control.approve(id, "bob", "yes").await.unwrap();
    output(&run.outcome().await.unwrap());
    assert_eq!(done(&world), [json!({ "to": secret }).to_string()]);
    assert!(told(&server, 1).0.contains(&secret));
    assert_eq!(server.counts().received, 2);
    assert!(world.facts(&run, "journal.diverged").await.is_empty());
}
