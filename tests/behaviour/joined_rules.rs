//! Rules, rates and halts bind a session of a joined process exactly as one of the owner's.
//!
//! The same calls are made in either; what is told of each, and when, has to be the same, whether the
//! rule was there before or comes while the session has a block in hand.

use crate::common::*;
use crate::guardrails::{different, publish, rail, verdict};
use mission_control::core::sequencer::HaltScope;

/// In which process a session is.
#[derive(Clone, Copy, Debug)]
enum Side {
    Owner,
    Joined,
}

/// When a rule comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before the session is opened.
    Before,
    /// While it has a block in hand, of which it has drawn already.
    Within,
}

/// A session of the agent `host` on either side, and its owner.
struct Bench<'w> {
    world: &'w World,
    owner: MissionControl,
    joined: Joined,
    session: Session,
}

impl<'w> Bench<'w> {
    /// Opens a session; the rules come before that, or once it has drawn on its block.
    async fn open(world: &'w World, side: Side, policy: &str, when: When) -> Self {
        let owner = world.open().await;
        let joined = join(world, &owner);
        if when == When::Before {
            publish(&owner, policy).await;
        }
        let session = match side {
            Side::Owner => guard(&owner).await,
            Side::Joined => guard(&joined.control).await,
        };
        if when == When::Within {
            for warm in ["one", "two"] {
                let request = request(warm, 4);
                let called = session.model_call(&request, |_| async { Ok(answer("ok", 4)) });
                called.await.unwrap();
            }
            publish(&owner, policy).await;
        }
        Self {
            world,
            owner,
            joined,
            session,
        }
    }

    /// Makes a call that takes ten seconds: when it went out and how it was limited, or what was told.
    async fn call(&self, request: &ModelRequest) -> String {
        let begun = self.world.elapsed();
        let called = self.session.model_call(request, |most| async move {
            let sent = self.world.elapsed().saturating_sub(begun);
            self.world.pass(secs(10)).await;
            let text = format!("after {} s, at most {most:?}", sent.as_secs());
            Ok(answer(&text, most.unwrap_or(4)))
        });
        match called.await {
            Ok(answered) => answered.output.as_str().unwrap().to_owned(),
            Err(CallError::Denied(error)) => format!("{} {}", error.code(), error.message()),
            Err(
                other @ (CallError::NeedsApproval(_)
                | CallError::Provider(_)
                | CallError::Engine(_)),
            ) => format!("{other:?}"),
        }
    }
}

/// What is told of each call, and the first verdict in the log.
fn told(side: Side, when: When, policy: &str, calls: &[ModelRequest]) -> Vec<String> {
    let world = World::seeded(61);
    world.run(async {
        let bench = Bench::open(&world, side, policy, when).await;
        let calls = calls.iter().map(|request| bench.call(request));
        let mut told = futures::future::join_all(calls).await;
        let run = bench.owner.run(bench.session.id());
        bench.session.close().await.unwrap();
        told.push(format!("{:?}", verdict(&bench.owner, &run).await));
        let spent = bench
            .owner
            .account(&AccountId::Workspace)
            .map(|one| *one.spent());
        told.push(format!("{spent:?}"));
        drop(bench.joined);
        told
    })
}

/// Both sides are told the same, and it is this: a text that each line has to hold.
fn binds(policy: &str, calls: &[ModelRequest], each: &[&str]) {
    for when in [When::Before, When::Within] {
        let owner = told(Side::Owner, when, policy, calls);
        let joined = told(Side::Joined, when, policy, calls);
        assert_eq!(owner, joined, "{policy} {when:?}");
        for (line, part) in joined.iter().zip(each) {
            assert!(line.contains(part), "{policy} {when:?}: {line}");
        }
    }
}

const OUT: &str = "after 0 s, at most Some(4)";

#[test]
fn a_rule_that_denies_an_agent_or_a_model_denies_it_in_a_joined_process() {
    for (rule, told) in [
        ("agents: { deny: [host] }", "policy_denied r: agents"),
        ("models: { deny: [test/m] }", "policy_denied r: models"),
        ("models: { allow: ['other/*'] }", "policy_denied r: models"),
    ] {
        let rule = format!("at: model_call, {rule}");
        let one = different(1);
        binds(&rail(&rule, "enforce"), &one, &[told]);
        binds(&rail(&rule, "observe"), &one, &[OUT]);
    }
}

#[test]
fn a_list_of_allowed_models_lets_out_what_is_on_it_and_nothing_else() {
    let mut other = request("p", 4);
    other.model = "test/n".parse().unwrap();
    let rule = rail("at: model_call, models: { allow: [test/m] }", "enforce");
    let calls = [request("p", 4), other];
    binds(&rule, &calls, &[OUT, "policy_denied "]);
}

#[test]
fn caps_of_calls_bind_a_joined_process() {
    let dear = [request("p", 4), request("q", 5)];
    let cost = "at: model_call, max_cost_per_call: { usd: '0.004' }";
    let denied = "policy_denied r: max_cost_per_call";
    binds(&rail(cost, "enforce"), &dear, &[OUT, denied]);
    let most = "at: model_call, max_output_tokens: 3";
    let clamped = "at most Some(3)";
    binds(&rail(most, "enforce"), &dear, &[clamped, clamped]);
    let again = "at: model_call, repeated_prompt: { times: 1, within: 1h }";
    let same = [request("p", 4), request("p", 4)];
    let denied = "policy_denied r: repeated_prompt";
    binds(&rail(again, "enforce"), &same, &[OUT, denied]);
}

#[test]
fn requests_a_minute_and_calls_in_flight_hold_a_joined_process_back() {
    let after = |seconds: u64| format!("after {seconds} s");
    let expect = |rate: &str, when: [u64; 3]| {
        for of in ["provider: test", "model: test/m", "agent: host"] {
            let policy = format!("rates: [{{ for: {{ {of} }}, {rate} }}]");
            let when = when.map(after);
            let when: Vec<&str> = when.iter().map(String::as_str).collect();
            let calls = different(3);
            let before = told(Side::Owner, When::Before, &policy, &calls);
            for (line, part) in before.iter().zip(&when) {
                assert!(line.starts_with(part), "{policy}: {line}");
            }
            binds(&policy, &calls, &[]);
        }
    };
    expect("requests_per_minute: 2", [0, 0, 61]);
    expect("in_flight: 1", [0, 10, 20]);
}

#[test]
fn calls_of_both_processes_share_one_rate() {
    let world = World::seeded(62);
    world.run(async {
        let rate = "rates: [{ for: { provider: test }, in_flight: 1 }]";
        let bench = Bench::open(&world, Side::Joined, rate, When::Within).await;
        let at_owner = guard(&bench.owner).await;
        let first = at_owner.reserve(&request("first", 4)).await.unwrap();
        let Admission::Allowed(permit) = first else {
            panic!("{first:?}");
        };
        let request = request("second", 4);
        let settles = async {
            bench.world.pass(secs(30)).await;
            permit.settle(&answer("ok", 4)).await.unwrap();
        };
        let (second, ()) = futures::future::join(bench.call(&request), settles).await;
        assert!(second.starts_with("after 30 s"), "{second}");
    });
}

/// What a session is told while something is halted, and once that is resumed.
fn halted(side: Side, scope: fn(&Bench<'_>) -> HaltScope) -> Vec<String> {
    let world = World::seeded(63);
    world.run(async {
        let bench = Bench::open(&world, side, "no_progress: enforce", When::Within).await;
        let scope = scope(&bench);
        let halt = bench
            .owner
            .halt(("ann", "as tested"), scope.clone(), Duration::ZERO);
        halt.await.unwrap();
        let mut told = vec![bench.call(&request("halted", 4)).await];
        bench
            .owner
            .resume(("ann", "as tested"), scope)
            .await
            .unwrap();
        told.push(bench.call(&request("resumed", 4)).await);
        told.push(format!("{:?}", workspace(&bench.owner).spent()));
        told
    })
}

#[test]
fn a_halt_binds_a_joined_process_that_has_a_block_in_hand() {
    let agent = |_: &Bench<'_>| "agent:host".parse().unwrap();
    let workspace = |_: &Bench<'_>| HaltScope::Workspace;
    let session = |bench: &Bench<'_>| HaltScope::Run(bench.session.id());
    let scopes: [fn(&Bench<'_>) -> HaltScope; 3] = [agent, workspace, session];
    for scope in scopes {
        let (owner, joined) = (halted(Side::Owner, scope), halted(Side::Joined, scope));
        assert_eq!(owner, joined);
        assert!(joined[0].contains("halted"), "{joined:?}");
        assert_eq!(joined[1], OUT);
    }
}
