//! The switch beside the store is looked at before anything goes out, though nobody watches it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mission_control::core::engine::{Engine, Parts};
use mission_control::core::id::AuthMethod;
use mission_control::core::ports::{HaltSwitch, Pulled};
use mission_control::core::sequencer::HaltScope;
use mission_control::store::MemoryLog;

use crate::asking::only;
use crate::common::*;

/// A switch that tells nobody when it is pulled.
#[derive(Debug, Default)]
struct Lever {
    down: AtomicBool,
    looks: AtomicUsize,
}

impl Lever {
    fn set(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }
}

impl HaltSwitch for Lever {
    fn pulled(&self) -> Option<Pulled> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.down.load(Ordering::SeqCst).then(|| Pulled {
            by: "eve".to_owned(),
            reason: "stop".to_owned(),
            place: "the lever".to_owned(),
        })
    }
}

/// A store with a lever beside it.
async fn open(world: &World, lever: &Arc<Lever>) -> MissionControl {
    open_over(world, lever, &Arc::new(MemoryLog::new())).await
}

async fn open_over(world: &World, lever: &Arc<Lever>, log: &Arc<MemoryLog>) -> MissionControl {
    let simulation = world.0.simulation();
    let parts = Parts {
        log: Arc::clone(log) as _,
        clock: Arc::clone(simulation.clock()) as _,
        entropy: Arc::clone(simulation.entropy()) as _,
        spawner: simulation.spawner(),
        settings: settings(),
        auth_method: AuthMethod::Library,
        switch: Some(Arc::clone(lever) as _),
    };
    Engine::open(parts).await.unwrap()
}

/// Notes that it begins; its first attempt ends after ten seconds in the way that its input says.
fn worker(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            notes.add(ctx.step().as_str());
            if ctx.attempt() > 1 || ctx.resumed().is_some() {
                return Ok(json!(1).into());
            }
            ctx.sleep(secs(10)).await;
            match input["way"].as_str() {
                Some("fails") => Err(AgentError::new("again")),
                Some("sleeps") => Ok(suspended(json!(1), until(60))),
                Some("signal") => Ok(suspended(json!(1), go())),
                _ => Ok(json!(1).into()),
            }
        }
    })
}

const CHAIN: &str =
    "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a], input: {} } } }";
const RETRIED: &str = "{ workflow: w, steps: { a: { agent: it, retry: \
                       { maximum_attempts: 2, initial_interval: 30s } } } }";
const ASKED: &str = "{ workflow: w, steps: { a: { agent: it }, \
                     b: { agent: it, needs: [a], input: {}, risk: irreversible } } }";
const WAVE: &str = "{ workflow: w, steps: { a: { agent: it }, \
                    b: { agent: it, needs: [a], input: {}, for_each: '[1, 2, 3]' } } }";

/// What lets the next step go out, beside time.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    Nothing,
    Signal,
    Approval,
}

async fn pull_the_trigger(control: &MissionControl, run: &RunHandle, on: Trigger) {
    match on {
        Trigger::Nothing => {}
        Trigger::Signal => run.signal("ann", "go", json!(1)).await.unwrap(),
        Trigger::Approval => {
            let asked = only(control).await;
            control.approve(asked.id, "bob", "due").await.unwrap();
        }
    }
}

/// The lever is pulled while the first attempt is on its way to its end, and nobody says so.
async fn held(world: &World, yaml: &str, way: &str, on: Trigger) -> (usize, usize) {
    let (lever, notes) = (Arc::new(Lever::default()), Notes::default());
    let control = open(world, &lever).await;
    register(&control, "it", worker(notes.clone())).await;
    let run = begin(&control, yaml, json!({ "way": way })).await;
    world.pass(secs(5)).await;
    if !matches!(on, Trigger::Nothing) {
        world.pass(secs(10)).await;
    }
    assert!(control.halts().is_empty());
    lever.set(true);
    pull_the_trigger(&control, &run, on).await;
    world.pass(secs(100)).await;
    assert_eq!(control.halts().len(), 1, "{yaml}");
    let began = notes.len();
    lever.set(false);
    control
        .resume(("ann", "as tested"), HaltScope::Workspace)
        .await
        .unwrap();
    completes(&run).await;
    (began, notes.len())
}

#[test]
fn whatever_lets_a_step_go_out_it_does_not_while_the_switch_is_pulled() {
    for (yaml, way, on, all) in [
        (CHAIN, "", Trigger::Nothing, 2),
        (WAVE, "", Trigger::Nothing, 4),
        (RETRIED, "fails", Trigger::Nothing, 2),
        (ONE, "sleeps", Trigger::Nothing, 2),
        (ONE, "signal", Trigger::Signal, 2),
        (ASKED, "", Trigger::Approval, 2),
    ] {
        let world = World::seeded(71);
        let began = world.run(held(&world, yaml, way, on));
        assert_eq!(began, (1, all), "{yaml} {way}");
    }
}

#[test]
fn an_agent_that_comes_late_gets_nothing_while_the_switch_is_pulled() {
    let world = World::seeded(72);
    let (lever, log) = (Arc::new(Lever::default()), Arc::new(MemoryLog::new()));
    let notes = Notes::default();
    let id = world.run(async {
        let control = open_over(&world, &lever, &log).await;
        register(&control, "it", worker(notes.clone())).await;
        let run = begin(&control, &one(", risk: read"), json!({})).await;
        world.pass(secs(5)).await;
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_over(&world, &lever, &log).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::AgentUnavailable);
        lever.set(true);
        register(&control, "it", worker(notes.clone())).await;
        world.pass(secs(100)).await;
        assert_eq!((notes.len(), control.halts().len()), (1, 1));
        lever.set(false);
        control
            .resume(("ann", "as tested"), HaltScope::Workspace)
            .await
            .unwrap();
        completes(&run).await;
        assert_eq!(notes.len(), 2);
    });
}

#[test]
fn a_start_goes_nowhere_while_the_switch_is_pulled() {
    let world = World::seeded(73);
    world.run(async {
        let (lever, notes) = (Arc::new(Lever::default()), Notes::default());
        let control = open(&world, &lever).await;
        register(&control, "it", worker(notes.clone())).await;
        completes(&begin(&control, ONE, json!({})).await).await;
        lever.set(true);
        let run = start(&control, json!({})).await;
        world.pass(secs(100)).await;
        assert_eq!(notes.len(), 1);
        assert_eq!(status(&run, "a").await, StepStatus::Blocked);
        let placed = control.log().read_workspace(0, 100).await.unwrap();
        let placed = placed.iter().find(|one| &*one.kind == "halt.placed");
        assert_eq!(placed.unwrap().actor.to_string(), "operator:eve");
    });
}

#[test]
fn the_switch_is_looked_at_anew_before_each_attempt_begins() {
    let world = World::seeded(74);
    world.run(async {
        let lever = Arc::new(Lever::default());
        let control = open(&world, &lever).await;
        let looks = Arc::new(Mutex::new(vec![0]));
        let (seen, looked) = (Arc::clone(&looks), Arc::clone(&lever));
        let counts = agent(move |_, _| {
            seen.lock().unwrap().push(looked.looks());
            async { Ok(json!(1).into()) }
        });
        register(&control, "it", counts).await;
        let steps: Vec<String> = (1..20)
            .map(|n| format!("s{n}: {{ agent: it, needs: [s{}] }}", n - 1))
            .collect();
        let yaml = format!(
            "{{ workflow: w, steps: {{ s0: {{ agent: it }}, {} }} }}",
            steps.join(", ")
        );
        completes(&begin(&control, &yaml, json!({})).await).await;
        let looks = looks.lock().unwrap();
        assert_eq!(looks.len(), 21);
        assert!(looks.is_sorted_by(|one, next| one < next), "{looks:?}");
    });
}
