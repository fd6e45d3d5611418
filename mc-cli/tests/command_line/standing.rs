//! What stands still goes on by a command: signals, blocked steps, money in doubt.

use mc_cli::Exit;
use mc_testkit::model_server::{Answer as Reply, ModelServer, Script};
use serde_json::{Value, json};

use crate::joining::Host;
use crate::support::{Answer, Desk};

/// One step whose agent is somewhere else.
const REMOTE: &str =
    "workflow: brief\nbudget: { usd: \"1.00\" }\nsteps: { plan: { agent: planner, risk: read } }";
const USED: &str = r#"[{"model":"openai/gpt-5.4","usage":{"input_uncached":30,"output_text":5}}]"#;

/// A desk whose run waits for the late answer of an agent, with the name of the signal.
fn pending() -> (Desk, ModelServer, String) {
    let pending = Reply::json(202, json!({"status": "pending"}));
    let server = ModelServer::start(Script::always(pending)).unwrap();
    let desk = Desk::new();
    desk.write("workflow.yaml", REMOTE);
    let url = server.url("/planner");
    let models = "[ { model: openai/gpt-5.4, input_tokens: 40, max_output_tokens: 10 } ]";
    let agent =
        format!("agents: {{ planner: {{ kind: http, url: \"{url}\", models: {models} }} }}");
    desk.write("agents.yaml", &agent);
    let answer = desk.run(&["--key", "k"]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    let name = server.received()[0].body["reply_signal"].clone();
    let name = name.as_str().unwrap().to_owned();
    let told = format!("`mission-control signal {} {name} JSON", desk.newest());
    assert!(answer.out.contains(&told), "{told}: {}", answer.out);
    (desk, server, name)
}

fn doubts(desk: &Desk) -> Vec<Value> {
    let listed = desk.ask(&["reconcile", "--list", "--json"]).json();
    listed["doubts"].as_array().unwrap().clone()
}

#[test]
fn a_signal_lets_the_step_that_waits_for_it_go_on() {
    let (desk, server, name) = pending();
    desk.write(
        "reply.json",
        &format!("{{\"output\":\"late\",\"usage\":{USED}}}"),
    );
    let reply = format!("@{}", desk.text("reply.json"));
    let sent = desk.ask(&["signal", &desk.newest(), &name, &reply]);
    assert_eq!(sent.exit, Exit::Done, "{sent:?}");
    assert!(sent.out.starts_with("plan has its signal"), "{}", sent.out);
    let again = desk.run(&["--key", "k", "--json"]);
    assert_eq!(again.exit, Exit::Done, "{again:?}");
    assert_eq!(again.json()["status"], "completed");
    assert_eq!(server.received().len(), 1);
    assert_eq!(doubts(&desk), Vec::<Value>::new());
}

#[test]
fn a_signal_reaches_the_process_that_drives_the_run() {
    let (desk, _server, name) = pending();
    let host = Host::of(&desk);
    let file = std::fs::read(desk.path("agents.yaml")).unwrap();
    let specs = mc_agents::file::read(&file, &mc_agents::file::Place::of("")).unwrap();
    host.runtime.block_on(async {
        let agent = specs[0].agent().unwrap();
        host.control.register_agent("planner", agent).await.unwrap();
        host.control.start_dispatch().await.unwrap();
    });
    let id = desk.newest();
    let sent = desk.ask(&["signal", &id, &name, "{\"output\":\"late\"}", "--json"]);
    assert_eq!(sent.json()["step"], "plan", "{sent:?}");
    let run = host.control.run(id.parse().unwrap());
    let outcome = host.runtime.block_on(run.outcome()).unwrap();
    assert_eq!(outcome.output(), Some(&json!("late")));
    drop(run);
    host.close();
}

#[test]
fn a_signal_is_kept_for_later_and_what_is_none_is_refused() {
    let (desk, _server, name) = pending();
    let id = desk.newest();
    let early = desk.ask(&["signal", &id, "paid"]);
    assert_eq!(early.exit, Exit::Done, "{early:?}");
    assert!(
        early.out.contains("no step waits for `paid` yet"),
        "{early:?}"
    );
    assert_eq!(desk.ask(&["signal", &id, &name, "{"]).exit, Exit::Usage);
    assert_eq!(desk.ask(&["signal", &id, "", "1"]).exit, Exit::Usage);
    let absent = desk.ask(&["signal", &id, &name, "@absent.json"]);
    assert_eq!(absent.exit, Exit::CannotOpen, "{absent:?}");
    desk.ask(&["abort", &id, "--reason", "as tested"]);
    let ended = desk.ask(&["signal", &id, &name, "1"]);
    assert_eq!(ended.exit, Exit::Negative, "{ended:?}");
    assert!(ended.err.contains("has ended"), "{}", ended.err);
}

/// A desk whose planner a policy holds up.
fn blocked() -> Desk {
    let desk = Desk::new();
    desk.edit("calls.jsonl", "\"came back empty\"", "null");
    let rule = "{ id: no-planning, at: model_call, agents: { deny: [planner] } }";
    desk.write("p.yaml", &format!("guardrails: [ {rule} ]"));
    let published = desk.ask(&["policy", "publish", &desk.text("p.yaml")]);
    assert_eq!(published.exit, Exit::Done, "{published:?}");
    let answer = desk.run(&["--key", "k"]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    let told = format!("`mission-control unblock {} plan --db", desk.newest());
    assert!(answer.out.contains(&told), "{told}: {}", answer.out);
    desk
}

#[test]
fn an_unblocked_step_tries_afresh_and_the_log_says_why() {
    let desk = blocked();
    desk.write("q.yaml", "approvals: { from: irreversible }");
    desk.ask(&["policy", "publish", &desk.text("q.yaml")]);
    let id = desk.newest();
    let word = ["unblock", &id, "plan", "--reason", "the rule is gone"];
    let said = desk.ask(&word);
    assert_eq!(said.exit, Exit::Done, "{said:?}");
    assert!(said.out.starts_with("plan tries afresh"), "{}", said.out);
    let again = desk.run(&["--key", "k"]);
    assert_eq!(again.exit, Exit::Done, "{again:?}");
    let watched = desk.ask(&["watch", "--run", &id]).out;
    let line = watched.lines().find(|line| line.contains("step.unblocked"));
    let line = line.unwrap();
    assert!(line.contains("said=\"the rule is gone\""), "{line}");
}

#[test]
fn a_step_that_is_not_blocked_so_is_not_unblocked() {
    let desk = blocked();
    let id = desk.newest();
    for step in ["write", "nothing"] {
        let refused = desk.ask(&["unblock", &id, step, "--reason", "as tested"]);
        assert_eq!(refused.exit, Exit::Negative, "{refused:?}");
        let next = format!("next: `mission-control show {id}`");
        assert!(refused.err.contains(&next), "{}", refused.err);
    }
    assert_eq!(
        desk.ask(&["unblock", &id, "No Step", "--reason", "as tested"])
            .exit,
        Exit::Usage
    );
    assert_eq!(desk.count("step.unblocked"), 0);
}

fn reconcile(desk: &Desk, hold: &str, billed: &str) -> Answer {
    let id = desk.newest();
    let evidence = ["--reason", "invoice 11, line 17", "--json"];
    let args = ["reconcile", &id, "--hold", hold, "--billed", billed];
    desk.ask(&[&args[..], &evidence].concat())
}

#[test]
fn one_hold_is_settled_with_what_was_billed() {
    let (desk, _server, _) = pending();
    let listed = doubts(&desk);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let hold = listed[0]["hold"].as_str().unwrap().to_owned();
    let shown = desk.ask(&["reconcile", &desk.newest()]).out;
    assert!(
        shown.contains(&hold) && shown.contains("--billed"),
        "{shown}"
    );
    // As fine as prices are.
    let settled = reconcile(&desk, &hold, "0.000012345");
    assert_eq!(settled.exit, Exit::Done, "{settled:?}");
    assert_eq!(settled.json()["billed_nano_usd"], 12_345);
    assert_eq!(doubts(&desk), Vec::<Value>::new());
    let costs = desk.ask(&["costs", "--by", "agent", "--json"]).out;
    assert!(costs.contains("12345"), "{costs}");
    let twice = reconcile(&desk, &hold, "0.000012345");
    assert_eq!(twice.exit, Exit::Negative, "{twice:?}");
    assert!(twice.err.contains("is not in doubt"), "{}", twice.err);
}

#[test]
fn what_cannot_be_settled_is_refused_by_its_name() {
    let (desk, _server, _) = pending();
    let hold = doubts(&desk)[0]["hold"].as_str().unwrap().to_owned();
    for (hold, billed, told) in [
        (hold.as_str(), "-1", "may not be negative"),
        (&hold, "0.0000000001", "at most nine decimals"),
        (&hold, "some", "`full`, `nothing` or an amount"),
        ("plan", "1", "--hold"),
    ] {
        let refused = reconcile(&desk, hold, billed);
        assert_eq!(refused.exit, Exit::Usage, "{refused:?}");
        assert!(refused.err.contains(told), "{told}: {}", refused.err);
    }
    let none = reconcile(&desk, "plan#7/3", "0.01");
    assert_eq!(none.exit, Exit::Negative, "{none:?}");
    assert!(none.err.contains("hold `plan#7/3`"), "{}", none.err);
    assert!(none.err.contains("--list"), "{}", none.err);
    let id = desk.newest();
    for args in [
        &["reconcile", &id, "--billed", "0.01", "--reason", "r"][..],
        &["reconcile", "--billed", "full", "--reason", "r"],
        &["reconcile", &id, "--billed", "full"],
        &["reconcile", &id, "--hold", &hold],
    ] {
        assert_eq!(desk.ask(args).exit, Exit::Usage, "{args:?}");
    }
    assert_eq!(doubts(&desk).len(), 1);
}
