//! What becomes of a model call's money, for every way in which a call can end.
//!
//! Each row is looked at in every account of the call, to the nano-dollar, with the event that says
//! so. The prices are uneven, so that a sum that is rounded once too often shows. What is *not*
//! here: who is admitted (`money`), and what the refusals of a provider do to its breaker (`calls`).

use crate::common::*;
use mission_control::core::resilience::OutputBegun::{No, Yes};

/// A call of 1,000 tokens in and 1,001 out: 8,118,887.777 nano-dollars, rounded up.
const HELD: i64 = 8_118_888;
/// What 500 tokens in and 333 out cost: 2,756,666.241 nano-dollars, rounded up.
const BILLED: i64 = 2_756_667;
/// What a session takes at a time where no limit is tighter.
const BLOCK: i64 = 250_000_000;

const ESTIMATE: &str =
    ", estimate: { model: test/m, input_tokens: 1000, max_output_tokens: 1001, calls: 2 }";

fn uneven() -> Settings {
    let prices = TEST_PRICES
        .replace("input = \"1000\"", "input = \"0.333333\"")
        .replace("output = \"1000\"", "output = \"7.777777\"")
        .replace("max_output_tokens = 1000", "max_output_tokens = 1001");
    let prices = Arc::new(PriceTable::parse(&prices).unwrap());
    Settings {
        prices,
        ..settings()
    }
}

fn asked() -> ModelRequest {
    ModelRequest::text(model(), "p")
        .input_tokens(1_000)
        .max_output_tokens(1_001)
}

/// How a host ends a call.
#[derive(Clone, Copy, Debug)]
enum End {
    Answered,
    AnsweredWithoutUsage,
    Failed(CallFailure),
    Dropped,
}
use End::{Answered, AnsweredWithoutUsage, Dropped, Failed};

const fn refused(code: u16, output_begun: OutputBegun) -> End {
    Failed(CallFailure::Status { code, output_begun })
}

async fn end(admission: Admission, how: End) {
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    let usage = Usage::text(500, 333);
    match how {
        Answered => permit
            .settle(&ModelAnswer::text("ok", usage))
            .await
            .unwrap(),
        AnsweredWithoutUsage => permit.settle(&ModelAnswer::default()).await.unwrap(),
        Failed(failure) => {
            let error = ProviderError::new(failure, "as told");
            permit.fail(&error).await.unwrap();
        }
        Dropped => drop(permit),
    }
}

/// Spent, reserved and in doubt: the same in every account of the call.
async fn columns(control: &MissionControl, run: &RunHandle) -> [i64; 3] {
    columns_of(control, run, "it").await
}

/// As `columns`, of a call in an agent's name.
async fn columns_of(control: &MissionControl, run: &RunHandle, agent: &str) -> [i64; 3] {
    let nano = |account: Account| {
        let columns = [account.spent(), account.reserved(), account.in_doubt()];
        columns.map(|amount| amount.money.as_nano())
    };
    let shared = |id: &str| nano(control.account(&id.parse().unwrap()).unwrap_or_default());
    let workspace = shared("workspace");
    assert_eq!(shared(&format!("agent:{agent}")), workspace);
    let state = run.state().await.unwrap();
    let own = state.accounts.get(&AccountId::Run(run.id())).cloned();
    assert_eq!(nano(own.unwrap_or_default()), workspace);
    workspace
}

/// A world with a run of one step, whose agent acts as told.
async fn one_step(world: &World, rest: &str, it: Agent) -> (MissionControl, RunHandle) {
    let control = world.open_with(uneven()).await;
    register(&control, "it", it).await;
    let retry = "retry: { maximum_attempts: 1 }";
    let yaml = format!("{{ workflow: w, steps: {{ a: {{ agent: it, {retry}{rest} }} }} }}");
    let run = begin(&control, &yaml, json!({})).await;
    (control, run)
}

/// An agent that ends its call after `first`, and itself ten seconds later.
fn ends(how: End, first: u64) -> Agent {
    ends_in_the_name(how, first, None)
}

/// As `ends`, with a call in the name of another agent.
fn ends_in_the_name(how: End, first: u64, name: Option<&'static str>) -> Agent {
    agent(move |ctx, _| async move {
        let mut asked = asked();
        asked.agent = name.map(|name| name.parse().unwrap());
        let admission = ctx.reserve(&asked).await?;
        ctx.sleep(secs(first)).await;
        end(admission, how).await;
        ctx.sleep(secs(10)).await;
        Ok(json!(1).into())
    })
}

/// A way in which a call ends while its attempt lives: the event, its code, spent and in doubt.
type Live = (End, &'static str, &'static str, i64, i64);

const LIVE: [Live; 22] = [
    (Failed(CallFailure::NotSent), "released", "not_sent", 0, 0),
    (
        Failed(CallFailure::Unreachable),
        "released",
        "unreachable",
        0,
        0,
    ),
    (refused(400, No), "released", "status_400", 0, 0),
    (refused(401, No), "released", "status_401", 0, 0),
    (refused(404, No), "released", "status_404", 0, 0),
    (refused(422, No), "released", "status_422", 0, 0),
    (Answered, "settled", "", BILLED, 0),
    (AnsweredWithoutUsage, "settled", "usage_missing", HELD, 0),
    (
        Failed(CallFailure::UsageMissing),
        "settled",
        "usage_missing",
        HELD,
        0,
    ),
    (refused(200, No), "settled", "usage_missing", HELD, 0),
    (refused(200, Yes), "settled", "usage_missing", HELD, 0),
    (Failed(CallFailure::Cut), "settled", "cut", HELD, 0),
    (refused(500, No), "doubted", "status_500", 0, HELD),
    (refused(502, No), "doubted", "status_502", 0, HELD),
    (refused(504, No), "doubted", "status_504", 0, HELD),
    (refused(400, Yes), "doubted", "status_400", 0, HELD),
    (refused(429, Yes), "doubted", "status_429", 0, HELD),
    (refused(503, Yes), "doubted", "status_503", 0, HELD),
    (refused(529, Yes), "doubted", "status_529", 0, HELD),
    (Failed(CallFailure::Timeout), "doubted", "timeout", 0, HELD),
    (Failed(CallFailure::Reset), "doubted", "reset", 0, HELD),
    (Dropped, "doubted", "dropped", 0, HELD),
];

/// What the event says in short: its code, or its flag.
fn said(facts: &Value) -> &str {
    let code = facts["code"].as_str();
    code.unwrap_or_else(|| facts["flags"][0].as_str().unwrap_or(""))
}

/// What holds the money of a call of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// A hold of its own: it goes in another agent's name.
    Alone,
    /// The hold of its step, which grew by it.
    Grown,
    /// The hold that its step was given beforehand: two calls' worth.
    Estimated,
}

impl Held {
    /// Spent, reserved and in doubt of a call that has ended, while its attempt goes on.
    const fn after(self, [spent, in_doubt]: [i64; 2]) -> [i64; 3] {
        let kept = match self {
            // Its rest is anybody's.
            Self::Alone | Self::Grown => 0,
            // It is for the attempt's next one.
            Self::Estimated => 2 * HELD - spent - in_doubt,
        };
        [spent, kept, in_doubt]
    }
}

/// A row of a call of a step: while it is out, while its attempt goes on, and at the end.
fn holds_to_its_row(held: Held, row: Live) {
    let (how, kind, code, spent, in_doubt) = row;
    let (rest, out, name) = match held {
        Held::Alone => ("", HELD, Some("other")),
        Held::Grown => ("", HELD, None),
        Held::Estimated => (ESTIMATE, 2 * HELD, None),
    };
    let world = World::seeded(1);
    world.run(async {
        let it = ends_in_the_name(how, 10, name);
        let (control, run) = one_step(&world, rest, it).await;
        let agent = name.unwrap_or("it");
        world.pass(secs(5)).await;
        assert_eq!(columns_of(&control, &run, agent).await, [0, out, 0]);
        world.pass(secs(10)).await;
        let after = columns_of(&control, &run, agent).await;
        assert_eq!(after, held.after([spent, in_doubt]), "{held:?}, {how:?}");
        run.outcome().await.unwrap();
        let after = columns_of(&control, &run, agent).await;
        assert_eq!(after, [spent, 0, in_doubt], "{held:?}, {how:?}");
        let facts = facts(&control, &run, &format!("model_call.{kind}")).await;
        assert_eq!(said(&facts), code, "{held:?}, {how:?}");
    });
}

#[test]
fn every_way_a_call_can_fail_moves_its_money_as_the_table_says() {
    for held in [Held::Alone, Held::Grown, Held::Estimated] {
        for row in LIVE {
            holds_to_its_row(held, row);
        }
    }
}

#[test]
fn a_call_inside_a_sessions_block_ends_as_its_row_says() {
    for (how, kind, code, spent, in_doubt) in LIVE {
        let world = World::seeded(3);
        world.run(async {
            let control = world.open_with(uneven()).await;
            let session = control
                .guard("it", SessionOptions::default())
                .await
                .unwrap();
            let run = control.run(session.id());
            let admission = session.reserve(&asked()).await.unwrap();
            assert_eq!(columns(&control, &run).await, [0, BLOCK, 0], "{how:?}");
            end(admission, how).await;
            world.pass(secs(1)).await;
            let after = [spent, BLOCK - spent - in_doubt, in_doubt];
            assert_eq!(columns(&control, &run).await, after, "{how:?}");
            session.close().await.unwrap();
            let after = [spent, 0, in_doubt];
            assert_eq!(columns(&control, &run).await, after, "{how:?}");
            let facts = facts(&control, &run, &format!("model_call.{kind}")).await;
            assert_eq!(said(&facts), code, "{how:?}");
        });
    }
}

/// An agent whose call is refused once, and answered a minute later.
fn refused_once(code: u16) -> Agent {
    agent(move |ctx, _| async move {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let asked = asked();
        let done = ctx.model_call(&asked, |_| {
            let first = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            async move {
                if !first {
                    return Ok(ModelAnswer::text("ok", Usage::text(500, 333)));
                }
                let failure = CallFailure::Status {
                    code,
                    output_begun: No,
                };
                let retry_after = Some(secs(60));
                Err(ProviderError {
                    retry_after,
                    ..ProviderError::new(failure, "later")
                })
            }
        });
        done.await?;
        Ok(json!(ctx.attempt()).into())
    })
}

#[test]
fn a_call_that_is_refused_for_overload_holds_nothing_of_its_own_while_it_waits() {
    for (code, rest, held) in [
        (429, "", 0),
        (503, "", 0),
        (529, "", 0),
        (429, ESTIMATE, 2 * HELD),
        (503, ESTIMATE, 2 * HELD),
        (529, ESTIMATE, 2 * HELD),
    ] {
        let world = World::seeded(4);
        world.run(async {
            let (control, run) = one_step(&world, rest, refused_once(code)).await;
            world.pass(secs(30)).await;
            assert_eq!(columns(&control, &run).await, [0, held, 0], "{code}");
            assert_eq!(output_of(&run).await, json!(1), "it is no attempt");
            assert_eq!(columns(&control, &run).await, [BILLED, 0, 0], "{code}");
            let throttled = facts(&control, &run, "model_call.throttled").await;
            assert_eq!(throttled["status"], code);
            assert_eq!(count(&control, &run, "model_call.released").await, 0);
        });
    }
}

/// What a host reports of a call whose attempt is over: spent, in doubt, and the late result.
type Late = (End, i64, i64, &'static str);

const LATE: [Late; 15] = [
    (Answered, BILLED, 0, "settled"),
    (AnsweredWithoutUsage, HELD, 0, "settled"),
    (Failed(CallFailure::UsageMissing), HELD, 0, "settled"),
    (Failed(CallFailure::Cut), HELD, 0, "settled"),
    (refused(200, Yes), HELD, 0, "settled"),
    (Failed(CallFailure::NotSent), 0, 0, "released"),
    (Failed(CallFailure::Unreachable), 0, 0, "released"),
    (refused(400, No), 0, 0, "released"),
    (refused(429, No), 0, 0, "released"),
    (refused(503, No), 0, 0, "released"),
    (refused(503, Yes), 0, HELD, ""),
    (refused(500, No), 0, HELD, ""),
    (Failed(CallFailure::Timeout), 0, HELD, ""),
    (Failed(CallFailure::Reset), 0, HELD, ""),
    (Dropped, 0, HELD, ""),
];

/// The late result of a call, if there is one.
async fn late(control: &MissionControl) -> Option<Value> {
    let log = control.log().read_workspace(0, 1_000).await.unwrap();
    let late = log.iter().filter(|event| &*event.kind == "result.late");
    let mut facts = late.map(|event| serde_json::from_str::<Value>(&event.facts).unwrap());
    facts.find(|facts| facts["ordinal"].is_u64())
}

/// Whatever ended the attempt at five seconds: what its call turns out to be counts.
async fn over(world: &World, (control, run): (MissionControl, RunHandle), row: Late) {
    let (how, spent, in_doubt, outcome) = row;
    world.pass(secs(1)).await;
    assert_eq!(columns(&control, &run).await, [0, 0, HELD], "{how:?}");
    assert_eq!(count(&control, &run, "model_call.doubted").await, 1);
    world.pass(secs(100)).await;
    let after = [spent, 0, in_doubt];
    assert_eq!(columns(&control, &run).await, after, "{how:?}");
    let late = late(&control).await.unwrap_or_default();
    assert_eq!(late["outcome"].as_str().unwrap_or(""), outcome, "{how:?}");
    if !outcome.is_empty() {
        assert_eq!(late["held"]["nano_usd"], json!(HELD), "{late}");
    }
    let is_sealed = run.state().await.unwrap().sealed;
    assert_eq!(is_sealed, in_doubt == 0, "{how:?}");
}

#[test]
fn what_an_aborted_call_turns_out_to_be_counts_whatever_held_its_money() {
    for row in LATE {
        for rest in ["", ESTIMATE] {
            let world = World::seeded(5);
            world.run(async {
                let (control, run) = one_step(&world, rest, ends(row.0, 60)).await;
                world.pass(secs(5)).await;
                run.abort(("ann", "as tested")).await.unwrap();
                over(&world, (control, run), row).await;
            });
        }
    }
}

#[test]
fn what_a_call_past_its_time_turns_out_to_be_counts_whatever_held_its_money() {
    for row in LATE {
        for rest in [String::new(), ESTIMATE.to_owned()] {
            let world = World::seeded(6);
            world.run(async {
                let rest = format!(", timeout: 5s, risk: read{rest}");
                let open = one_step(&world, &rest, ends(row.0, 60)).await;
                world.pass(secs(5)).await;
                over(&world, open, row).await;
            });
        }
    }
}

/// An agent with one call that was answered and one that is out when the process dies.
fn is_out() -> Agent {
    agent(|ctx, _| async move {
        end(ctx.reserve(&asked()).await?, Answered).await;
        let _permit = ctx.reserve(&asked()).await?;
        ctx.sleep(secs(1_000)).await;
        Ok(json!(1).into())
    })
}

#[test]
fn a_crash_puts_what_is_held_in_doubt_whole_and_keeps_what_was_settled() {
    for (rest, in_doubt) in [("", HELD), (ESTIMATE, 2 * HELD - BILLED)] {
        let world = World::seeded(7);
        let id = world.run(async {
            let (control, run) = one_step(&world, rest, is_out()).await;
            world.pass(secs(5)).await;
            let before = [BILLED, in_doubt, 0];
            assert_eq!(columns(&control, &run).await, before, "{rest}");
            run.id()
        });
        world.crash();
        world.run(async {
            let control = world.open_with(uneven()).await;
            let run = control.run(id);
            assert_eq!(
                columns(&control, &run).await,
                [BILLED, 0, in_doubt],
                "{rest}"
            );
            assert_eq!(count(&control, &run, "attempt.interrupted").await, 1);
        });
    }
}

#[test]
fn an_abort_before_anything_was_sent_gives_the_whole_hold_back() {
    let world = World::seeded(8);
    world.run(async {
        let idle = agent(|ctx, _| async move {
            ctx.cancelled().await;
            Err(AgentError::new("stopped"))
        });
        let (control, run) = one_step(&world, ESTIMATE, idle).await;
        world.pass(secs(5)).await;
        assert_eq!(columns(&control, &run).await, [0, 2 * HELD, 0]);
        run.abort(("ann", "as tested")).await.unwrap();
        assert_eq!(columns(&control, &run).await, [0, 0, 0]);
        let cancelled = facts(&control, &run, "step.cancelled").await;
        assert_eq!(cancelled["released"]["nano_usd"], json!(2 * HELD));
    });
}
