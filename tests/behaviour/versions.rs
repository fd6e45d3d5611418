//! The version of an agent stands in the facts of what it is given to do.

use mission_control::SessionOptions;

use crate::common::*;

/// An agent of a version that notes which steps it does.
struct Versioned(&'static str, Notes);

fn versioned(version: &'static str) -> Versioned {
    Versioned(version, Notes::default())
}

#[mission_control::async_trait]
impl AgentExecutor for Versioned {
    fn version(&self) -> Option<&str> {
        Some(self.0)
    }

    async fn execute(&self, ctx: StepContext, _: Value) -> Answered {
        self.1.add(format!("{} by {}", ctx.step(), self.0));
        ctx.sleep(secs(1)).await;
        Ok(json!({}).into())
    }
}

const TWO: &str = "
workflow: two
steps:
  first: { agent: writer }
  second: { agent: writer, needs: [first] }
";

async fn dispatched(control: &MissionControl, run: &RunHandle) -> Vec<Value> {
    let events = events(control, run).await;
    let dispatched = events.iter().filter(|e| &*e.kind == "step.dispatched");
    dispatched
        .map(|event| serde_json::from_str(&event.facts).unwrap())
        .collect()
}

#[test]
fn a_dispatch_records_the_version_of_the_agent_that_got_it() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        let register = control.register_agent("writer", versioned("2.1.0"));
        register.await.unwrap();
        let run = begin(&control, TWO, json!({})).await;
        run.outcome().await.unwrap();
        let facts = facts(&control, &run, "step.dispatched").await;
        assert_eq!(facts["agent_version"], "2.1.0");
        let state = run.state().await.unwrap();
        let step = state.step(&"first".parse().unwrap()).unwrap();
        assert_eq!(step.agent_version.as_ref().unwrap().as_str(), "2.1.0");
    });
}

#[test]
fn an_agent_without_a_version_leaves_no_trace_of_one() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        control.register_agent("writer", echo()).await.unwrap();
        let run = begin(&control, TWO, json!({})).await;
        run.outcome().await.unwrap();
        let facts = facts(&control, &run, "step.dispatched").await;
        assert_eq!(facts.get("agent_version"), None);
        assert_eq!(control.agents().len(), 1);
        assert!(control.agents().values().all(Option::is_none));
    });
}

#[test]
fn each_attempt_is_done_by_the_version_that_its_dispatch_names() {
    for seed in 0..20 {
        let world = World::seeded(seed);
        world.run(async {
            let control = world.open().await;
            let notes = Notes::default();
            let (one, two) = (Versioned("1", notes.clone()), Versioned("2", notes.clone()));
            control.register_agent("writer", one).await.unwrap();
            let run = begin(&control, TWO, json!({})).await;
            world.pass(Duration::from_micros(999_900 + seed * 10)).await;
            control.register_agent("writer", two).await.unwrap();
            run.outcome().await.unwrap();
            let named = dispatched(&control, &run).await.into_iter().map(|facts| {
                let (step, version) = (&facts["step"], &facts["agent_version"]);
                format!(
                    "{} by {}",
                    step.as_str().unwrap(),
                    version.as_str().unwrap()
                )
            });
            assert_eq!(notes.all(), named.collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(control.agents().values().flatten().count(), 1);
        });
    }
}

#[test]
fn a_session_records_its_agents_version() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open().await;
        let register = control.register_agent("host", versioned("7"));
        register.await.unwrap();
        let own = SessionOptions {
            agent_version: Some("8-rc1".to_owned()),
            ..SessionOptions::default()
        };
        for (options, version) in [(SessionOptions::default(), "7"), (own, "8-rc1")] {
            let session = control.guard("host", options).await.unwrap();
            let run = control.run(session.id());
            let facts = facts(&control, &run, "step.dispatched").await;
            assert_eq!(facts["agent_version"], version);
        }
    });
}

#[test]
fn what_is_no_version_is_refused() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        let long = "x".repeat(65).leak();
        for bad in ["", "a\nb", long] {
            let refused = control.register_agent("writer", versioned(bad)).await;
            assert_eq!(
                refused.unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{bad:?}"
            );
        }
        let longest = "x".repeat(64).leak();
        let register = control.register_agent("writer", versioned(longest));
        register.await.unwrap();
    });
}
