//! Redrive: a failed run goes on from a step, by an operator's word.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::common::*;
use mission_control::core::run::replay;
use mission_control::{Policy, Resolution, RunNews};

/// Whether the step `b` works by now.
#[derive(Clone, Default)]
struct Mended(Arc<AtomicBool>);

impl Mended {
    fn mend(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Notes who works; `b`, or what has `bad` in its input, fails until it is mended.
    fn agent(&self, notes: Notes) -> Agent {
        let mended = self.clone();
        agent(move |ctx, input| {
            notes.add(ctx.step().as_str());
            let works = mended.0.load(Ordering::Relaxed);
            let fails = !works && (ctx.step().name() == "b" || input["bad"] == json!(true));
            async move {
                call(&ctx, "p", 10, 5).await?;
                if fails {
                    return Err(AgentError::new("not yet").fatal());
                }
                Ok(json!(ctx.attempt()).into())
            }
        })
    }
}

const CHAIN: &str = "{ workflow: w, steps: { a: { agent: it, risk: read }, b: { agent: it, risk: read, needs: [a] }, c: { agent: it, risk: read, needs: [b] } } }";

/// A run of a workflow that has failed, and what mends it.
async fn failed(
    world: &World,
    yaml: &str,
    input: Value,
) -> (MissionControl, RunHandle, Notes, Mended) {
    let (notes, mended) = (Notes::default(), Mended::default());
    let control = open_for(world, "it", mended.agent(notes.clone())).await;
    let run = begin(&control, yaml, input).await;
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    (control, run, notes, mended)
}

fn step(name: &str) -> mission_control::StepKey {
    name.parse().unwrap()
}

#[test]
fn the_same_run_goes_on_from_the_step_that_failed() {
    let world = World::seeded(1);
    world.run(async {
        let (control, run, notes, mended) = failed(&world, CHAIN, json!({})).await;
        assert!(run.state().await.unwrap().sealed);
        mended.mend();
        control
            .redrive(run.id(), None, "ann", "mended")
            .await
            .unwrap();
        assert_eq!(output_of(&run).await, json!(1));
        assert_eq!(notes.all(), ["a", "b", "b", "c"]);
        let state = run.state().await.unwrap();
        assert_eq!(state.step(&step("b")).unwrap().attempt, 2);
        assert!(state.sealed);
        let told = facts(&control, &run, "run.redriven").await;
        assert_eq!(told, json!({"from": "b", "steps": ["b", "c"]}));
        assert_eq!(replay(&events(&control, &run).await).unwrap(), *state);
        assert_eq!(count(&control, &run, "run.sealed").await, 2);
    });
}

#[test]
fn calls_that_were_answered_are_not_paid_for_again() {
    let world = World::seeded(2);
    world.run(async {
        let (control, run, _, mended) = failed(&world, CHAIN, json!({})).await;
        assert_eq!(workspace(&control).spent().money, mills(10));
        mended.mend();
        run.redrive("ann", None, "mended").await.unwrap();
        completes(&run).await;
        assert_eq!(
            workspace(&control).spent().money,
            mills(15),
            "a, b and c once each"
        );
    });
}

#[test]
fn a_named_step_and_all_behind_it_are_done_again() {
    let world = World::seeded(3);
    world.run(async {
        let (_, run, notes, mended) = failed(&world, CHAIN, json!({})).await;
        mended.mend();
        run.redrive("ann", Some(&step("a")), "from the start")
            .await
            .unwrap();
        completes(&run).await;
        assert_eq!(notes.all(), ["a", "b", "a", "b", "c"]);
    });
}

#[test]
fn a_for_each_goes_on_with_the_items_that_did_not_complete() {
    let world = World::seeded(4);
    world.run(async {
        let yaml = "{ workflow: w, steps: { e: { agent: it, risk: read, for_each: 'inputs.list', max_parallel: 1, input: { bad: '${{ item }}' } } } }";
        let (control, run, notes, mended) = failed(&world, yaml, json!({"list": [false, true, false]})).await;
        assert_eq!(notes.all(), ["e[0]", "e[1]"]);
        mended.mend();
        run.redrive("ann", None, "mended").await.unwrap();
        assert_eq!(output_of(&run).await, json!([1, 2, 1]));
        assert_eq!(notes.all(), ["e[0]", "e[1]", "e[1]", "e[2]"]);
        let state = run.state().await.unwrap();
        assert_eq!(replay(&events(&control, &run).await).unwrap(), *state);
    });
}

#[test]
fn what_the_failure_cancelled_beside_it_is_done_too() {
    let world = World::seeded(5);
    world.run(async {
        let yaml = "{ workflow: w, steps: { b: { agent: it, risk: read }, x: { agent: slow, risk: read }, z: { agent: slow, risk: read, needs: [b, x] } } }";
        let (notes, mended) = (Notes::default(), Mended::default());
        let control = open_for(&world, "it", mended.agent(notes)).await;
        let slow = agent(|ctx, _| async move {
            ctx.sleep(secs(5)).await;
            Ok(json!("slow").into())
        });
        register(&control, "slow", slow).await;
        let run = begin(&control, yaml, json!({})).await;
        run.outcome().await.unwrap();
        assert_eq!(status(&run, "x").await, StepStatus::Cancelled);
        world.pass(secs(10)).await;
        mended.mend();
        run.redrive("ann", None, "mended").await.unwrap();
        assert_eq!(output_of(&run).await, json!("slow"));
    });
}

#[test]
fn only_a_run_that_failed_goes_on_and_every_refusal_says_what_to_do() {
    let world = World::seeded(6);
    world.run(async {
        let (control, run, _, _) = failed(&world, CHAIN, json!({})).await;
        let redrive = async |run: &RunHandle, from: &str| {
            let refused = run.redrive("ann", Some(&step(from)), "try").await;
            refused.unwrap_err().message().to_owned()
        };
        assert!(redrive(&run, "zzz").await.contains("zzz"));
        let told = redrive(&run, "c").await;
        assert!(
            told.contains("`c` needs `b`, which is failed; redrive from `b`"),
            "{told}"
        );
        assert!(redrive(&run, "b[1]").await.contains("whole step"));
        let waits = agent(|_, _| async { Ok(suspended(json!(1), go())) });
        register(&control, "waits", waits).await;
        let open = begin(
            &control,
            "{ workflow: v, steps: { b: { agent: waits } } }",
            json!({}),
        )
        .await;
        open.settled_or_blocked().await.unwrap();
        assert!(redrive(&open, "b").await.contains("has not ended"));
        open.abort(("ann", "as tested")).await.unwrap();
        assert!(redrive(&open, "b").await.contains("start another run"));
    });
}

#[test]
fn what_cannot_be_undone_is_never_done_again() {
    let world = World::seeded(7);
    world.run(async {
        let yaml = "{ workflow: w, steps: { a: { agent: it, risk: irreversible }, b: { agent: it, risk: read, needs: [a] } } }";
        let (notes, mended) = (Notes::default(), Mended::default());
        let control = open_for(&world, "it", mended.agent(notes.clone())).await;
        let run = begin(&control, yaml, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        let asked = control.approvals(mission_control::ApprovalFilter::default()).await.unwrap();
        control.approve(asked[0].id, "eve", "yes").await.unwrap();
        run.outcome().await.unwrap();
        let refused = run.redrive("ann", Some(&step("a")), "again").await.unwrap_err();
        assert!(refused.message().contains("`a` completed, and what it did cannot be undone"), "{refused}");
        mended.mend();
        run.redrive("ann", None, "mended").await.unwrap();
        completes(&run).await;
        assert_eq!(notes.all(), ["a", "b", "b"]);
    });
}

#[test]
fn a_composed_step_gets_a_new_nested_run() {
    let world = World::seeded(8);
    world.run(async {
        let (notes, mended) = (Notes::default(), Mended::default());
        let control = open_for(&world, "it", mended.agent(notes)).await;
        let gate = "{ workflow: gate, steps: { b: { agent: it, risk: read } } }";
        control
            .publish(Workflow::from_yaml(gate).unwrap())
            .await
            .unwrap();
        let run = begin(
            &control,
            "{ workflow: w, steps: { qa: { uses: 'gate@1' } } }",
            json!({}),
        )
        .await;
        run.outcome().await.unwrap();
        let nested = *run.state().await.unwrap().nested.keys().next().unwrap();
        let refused = control
            .redrive(nested, None, "ann", "try")
            .await
            .unwrap_err();
        assert!(
            refused
                .message()
                .contains(&format!("redrive run {}", run.id())),
            "{refused}"
        );
        mended.mend();
        run.redrive("ann", None, "mended").await.unwrap();
        completes(&run).await;
        let state = run.state().await.unwrap();
        assert_eq!(state.nested.len(), 2);
        assert_eq!(state.spent_nested().money, mills(10));
        let account = control.account(&AccountId::Run(run.id())).unwrap();
        assert_eq!(account.spent().money, mills(10));
    });
}

#[test]
fn a_run_that_left_memory_goes_on_and_a_crash_changes_nothing() {
    let world = World::seeded(9);
    let id = world.run(async {
        let few = Settings {
            resident_runs: 0,
            ..settings()
        };
        let control = open_with(&world, few, "it", Mended::default().agent(Notes::default())).await;
        let run = begin(&control, CHAIN, json!({"x": 1})).await;
        run.outcome().await.unwrap();
        run.redrive("ann", None, "again").await.unwrap();
        run.id()
    });
    world.crash();
    world.run(async {
        let mended = Mended::default();
        mended.mend();
        let control = open_for(&world, "it", mended.agent(Notes::default())).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        let outcome = run.outcome().await.unwrap();
        if matches!(outcome, Outcome::Failed { .. }) {
            run.redrive("ann", None, "mended").await.unwrap();
        }
        completes(&run).await;
    });
}

/// `a` pays for a minute while `b` fails; what a person then says of `a`, and whether the run may be
/// driven again.
fn driven_after(resolution: Resolution) -> (bool, usize) {
    let world = World::seeded(31);
    world.run(async {
        let notes = Notes::default();
        let paid = notes.clone();
        let it = agent(move |ctx, _| {
            let notes = paid.clone();
            async move {
                if ctx.step().name() == "b" && ctx.attempt() == 1 {
                    ctx.sleep(secs(1)).await;
                    return Err(AgentError::new("not yet").fatal());
                }
                notes.add(ctx.step().as_str());
                let pays = ctx.step().name() == "a" && ctx.attempt() == 1;
                ctx.sleep(secs(if pays { 60 } else { 1 })).await;
                Ok(json!(1).into())
            }
        });
        let control = open_for(&world, "it", it).await;
        let policy = Policy::from_yaml("approvals: { from: financial }").unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let yaml = "{ workflow: w, steps: { a: { agent: it, risk: irreversible }, b: { agent: it, risk: read } } }";
        let run = begin(&control, yaml, json!({})).await;
        assert!(matches!(run.outcome().await.unwrap(), Outcome::Failed { .. }));
        world.pass(secs(100)).await;
        run.resolve("ann", &step("a"), resolution, "looked").await.unwrap();
        let driven = control.redrive(run.id(), None, "ann", "mended").await;
        world.pass(secs(100)).await;
        let pays = notes.all().iter().filter(|line| *line == "a").count();
        (driven.is_ok(), pays)
    })
}

#[test]
fn what_may_have_happened_in_a_failed_run_is_not_done_again_by_a_redrive() {
    let happened = Resolution::Happened(Arc::new(json!(1)));
    assert_eq!(driven_after(happened), (false, 1));
    assert_eq!(driven_after(Resolution::Abort), (false, 1));
    assert_eq!(driven_after(Resolution::DidNotHappen), (true, 2));
}

#[test]
fn a_subscriber_follows_a_run_behind_a_seal_that_ends_a_page() {
    let world = World::seeded(20);
    world.run(async {
        // As many decisions as make the first seal the last event of a page of 256.
        let (many, mended) = (Arc::new(AtomicU32::new(0)), Mended::default());
        let it = {
            let (many, mended) = (Arc::clone(&many), mended.clone());
            agent(move |ctx, _| {
                let many = many.load(Ordering::Relaxed);
                let fails = !mended.0.load(Ordering::Relaxed);
                async move {
                    for n in 0..many {
                        ctx.decision(json!(n), json!(0), json!(0)).await?;
                    }
                    if fails {
                        Err(AgentError::new("not yet").fatal())
                    } else {
                        Ok(json!("done").into())
                    }
                }
            })
        };
        let control = open_for(&world, "it", it).await;
        let short = begin(&control, ONE, json!({})).await;
        short.outcome().await.unwrap();
        let short = events(&control, &short).await.len();
        many.store(u32::try_from(256 - short).unwrap(), Ordering::Relaxed);
        let run = start(&control, json!({})).await;
        run.outcome().await.unwrap();
        assert_eq!(events(&control, &run).await.len(), 256);
        mended.mend();
        control
            .redrive(run.id(), None, "ann", "mended")
            .await
            .unwrap();
        completes(&run).await;
        let all = events(&control, &run).await.len();
        assert!(all > 256);
        let (mut own, mut family) = (run.events(), run.family_events());
        let mut seen = [0, 0];
        while let Some(news) = own.next().await.unwrap() {
            seen[0] += usize::from(matches!(news, RunNews::Event(_)));
        }
        while let Some(news) = family.next().await.unwrap() {
            seen[1] += usize::from(matches!(news, RunNews::Event(_)));
        }
        assert_eq!(seen, [all, all]);
    });
}
