//! A provider is down for ten minutes while fifty runs want an answer of it.
//!
//! The agents, the sockets and the server are real; the time is not. It stands while a call is out, as
//! the log has it, and passes when nothing can move. What may reach the server meanwhile is in
//! docs/budgets.md, "When a provider is down".

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use mission_control::core::event::Record;
use mission_control::core::ports::Clock as _;
use mission_control::core::resilience::BreakerSettings;
use mission_control::testing::Scenario;

use crate::common::*;

const RUNS: usize = 50;
const DOWN: Duration = Duration::from_secs(600);

/// The defaults of a breaker, which the document has too.
const THRESHOLD: usize = 5;
const OPEN_FOR: Duration = Duration::from_secs(30);
const PROBES: usize = 1;

/// Longer than anything here takes, in real time.
const LONG: Duration = Duration::from_secs(60);

const FLOW: &str = "{ workflow: w, steps: { s: { agent: a } } }";

/// What came of it all.
struct Story {
    outcomes: Vec<Outcome>,
    /// Calls that reached the server before it answered again, and after.
    calls: (usize, usize),
    log: Vec<Record>,
}

/// A store in virtual time, and the agent that asks the server.
fn open(world: &Scenario, server: &ModelServer) -> MissionControl {
    let url = server.url("/v1");
    let text = format!(
        "agents: {{ a: {{ kind: chat, api: openai_chat, base_url: \"{url}\", model: test/m,
           max_output_tokens: 100, stream: false }} }}"
    );
    let dir = tempfile::tempdir().unwrap();
    let specs = file::read(text.as_bytes(), &Place::of(dir.path())).unwrap();
    let opened = world.run(async {
        let control = world.open_with(priced(PRICES)).await.unwrap();
        let agent = specs[0].agent().unwrap();
        control.register_agent("a", agent).await.unwrap();
        let flow = Workflow::from_yaml(FLOW).unwrap();
        control.publish(flow).await.unwrap();
        control.start_dispatch().await.unwrap();
        control
    });
    opened.unwrap()
}

async fn all_runs(control: MissionControl) -> Vec<Outcome> {
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let input = json!(format!("question {n}"));
        let started = control.start("w", input, StartOptions::by("ann"));
        runs.push(started.await.unwrap());
    }
    let mut outcomes = Vec::new();
    for run in runs {
        outcomes.push(run.outcome().await.unwrap());
    }
    outcomes
}

/// The log so far, and how many calls are out by it.
struct Reader {
    control: MissionControl,
    log: Vec<Record>,
    out: usize,
}

impl Reader {
    fn calls_out(&mut self) -> usize {
        loop {
            let from = u64::try_from(self.log.len()).unwrap();
            let page = self.control.log().read_workspace(from, 1_000);
            let page = page.now_or_never().unwrap().unwrap();
            if page.is_empty() {
                return self.out;
            }
            for record in &page {
                match &*record.kind {
                    "model_call.reserved" => self.out += 1,
                    "model_call.settled"
                    | "model_call.throttled"
                    | "model_call.released"
                    | "model_call.doubted" => self.out -= 1,
                    _ => {}
                }
            }
            self.log.extend(page);
        }
    }
}

/// Fifty runs begin; ten minutes later the server answers as it should.
fn outage(seed: u64, down: impl Into<Answer>) -> Story {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let server = ModelServer::start(Script::always(down)).unwrap();
    server.hold();
    let world = Scenario::seeded(seed);
    let control = open(&world, &server);
    let ended = Arc::new(Mutex::new(None));
    let (place, runs) = (Arc::clone(&ended), all_runs(control.clone()));
    let simulation = world.simulation();
    simulation.spawner().spawn_handler(Box::pin(async move {
        let outcomes = runs.await;
        *place.lock().unwrap() = Some(outcomes);
    }));
    let mut reader = Reader {
        control,
        log: Vec::new(),
        out: 0,
    };
    let (clock, begun) = (simulation.clock(), Instant::now());
    let mut before = None;
    loop {
        simulation.settle();
        let outcomes = ended.lock().unwrap().take();
        let out = reader.calls_out();
        if let Some(outcomes) = outcomes {
            let received = server.counts().received;
            let before = before.unwrap();
            return Story {
                outcomes,
                calls: (before, received - before),
                log: reader.log,
            };
        }
        assert!(begun.elapsed() < LONG, "{out} calls are out for too long");
        if out > 0 {
            if out == RUNS && server.counts().received == RUNS {
                // All of them are out together.
                server.go_on();
            }
            std::thread::yield_now();
            continue;
        }
        let next = clock.next_deadline().unwrap();
        if before.is_none() && next >= DOWN {
            clock.advance(DOWN.saturating_sub(clock.monotonic()));
            before = Some(server.counts().received);
            server.answer_always(Completion::default());
        } else {
            clock.advance_to_next();
        }
    }
}

fn facts(record: &Record) -> Value {
    serde_json::from_str(&record.facts).unwrap()
}

/// What the document allows: those that were out when the breaker opened, and a probe each time it let
/// one through.
fn bound() -> usize {
    let times = usize::try_from(DOWN.as_secs() / OPEN_FOR.as_secs()).unwrap();
    THRESHOLD - 1 + RUNS + PROBES * times
}

/// The breaker opened after so many failures, let one call through each time its time was over, opened
/// again, and closed once.
fn breaker_did_as_documented(log: &[Record]) {
    let circuit = log.iter().filter(|one| one.kind.starts_with("circuit."));
    let circuit: Vec<&Record> = circuit.collect();
    let name = |one: &&Record| one.kind.strip_prefix("circuit.").unwrap().to_owned();
    let names: Vec<String> = circuit.iter().map(name).collect();
    let opened = names.iter().filter(|one| *one == "opened").count();
    let mut expected = ["opened", "half_opened"].repeat(opened);
    expected.push("closed");
    assert_eq!(names, expected);
    let first = facts(circuit[0]);
    assert_eq!(first["failures"], json!(THRESHOLD), "{first}");
    for pair in circuit.chunks_exact(2) {
        let until = facts(pair[0])["until"].clone();
        let open_for = pair[0].ts.after(OPEN_FOR);
        assert_eq!(serde_json::to_value(open_for).unwrap(), until);
        assert!(pair[1].ts >= open_for, "it was half open too early");
    }
}

fn holds(down: impl Into<Answer>) {
    let breaker = BreakerSettings::default();
    let documented = BreakerSettings::new(
        u32::try_from(THRESHOLD).unwrap(),
        OPEN_FOR,
        u32::try_from(PROBES).unwrap(),
    );
    assert_eq!(breaker, documented.unwrap());
    let down = down.into();
    for seed in 1..4 {
        let story = outage(seed, down.clone());
        for outcome in &story.outcomes {
            assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
        }
        assert_eq!(story.outcomes.len(), RUNS);
        let (during, after) = story.calls;
        assert!((RUNS..=bound()).contains(&during), "{during} calls");
        assert_eq!(after, RUNS, "each run asked once more");
        breaker_did_as_documented(&story.log);
    }
}

#[test]
fn a_provider_that_refuses_for_ten_minutes_gets_few_calls_and_fails_no_run() {
    holds(Answer::status(503));
}

#[test]
fn a_provider_that_asks_to_wait_for_ten_minutes_gets_few_calls_and_fails_no_run() {
    holds(Answer::too_many("20"));
}

#[test]
fn a_provider_that_errs_for_ten_minutes_gets_few_calls_and_fails_no_run() {
    holds(Answer::status(500));
}

#[test]
fn a_provider_that_hangs_up_for_ten_minutes_gets_few_calls_and_fails_no_run() {
    holds(Completion {
        fault: Fault::CutAfter(0),
        ..Completion::default()
    });
}
