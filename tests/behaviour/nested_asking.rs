//! Approvals in runs that are nested in others: whose request it is, and what it would do to every
//! budget around.

use crate::asking::*;
use crate::common::*;
use crate::nested::{SPENDING, outer, publish, spender};
use mission_control::{ApprovalFault, ApprovalRequest};

/// One step of which two people have to know.
const PAY: &str = "{ workflow: gate, steps: { pay: { agent: it, risk: financial } } }";

/// Its run begins with an agent's answer, or by whoever lets the outer run go on.
const LATER: &str =
    "{ workflow: w, steps: { a: { agent: it }, qa: { uses: 'gate@1', needs: [a], input: {} } } }";

/// An agent that takes its time.
fn slow(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            ctx.sleep(secs(5)).await;
            notes.add(ctx.step().as_str());
            Ok(input.into())
        }
    })
}

/// The one request, once nothing else moves.
async fn blocked(control: &MissionControl, run: &RunHandle) -> ApprovalRequest {
    run.settled_or_blocked().await.unwrap();
    only(control).await
}

async fn open_slow(world: &World) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "it", slow(notes.clone())).await;
    (control, notes)
}

/// The request is one of who started the outermost run, who may not approve it; another may.
async fn is_hers(control: &MissionControl, asked: &ApprovalRequest) {
    assert_eq!(asked.started_by.to_string(), "operator:ann");
    let own = control.approve(asked.id, "ann", "my own").await;
    refused(own, ApprovalFault::FourEyes);
    control.approve(asked.id, "bob", "seen").await.unwrap();
}

#[test]
fn who_started_the_outermost_run_is_the_starter_of_those_nested_in_it() {
    for yaml in [&outer(""), LATER] {
        let world = World::seeded(1);
        world.run(async {
            let (control, notes) = open_slow(&world).await;
            publish(&control, PAY).await;
            let run = begin(&control, yaml, json!({})).await;
            is_hers(&control, &blocked(&control, &run).await).await;
            completes(&run).await;
            assert!(notes.all().contains(&"pay".to_owned()));
        });
    }
}

#[test]
fn however_deep_it_is_nested() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_slow(&world).await;
        publish(&control, PAY).await;
        let mid = LATER.replace("workflow: w", "workflow: mid");
        publish(&control, &mid).await;
        let yaml = LATER.replace("gate@1", "mid@1");
        let run = begin(&control, &yaml, json!({})).await;
        is_hers(&control, &blocked(&control, &run).await).await;
        completes(&run).await;
    });
}

#[test]
fn a_run_that_is_nested_by_anothers_resume_is_still_the_starters() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_slow(&world).await;
        publish(&control, PAY).await;
        let run = begin(&control, LATER, json!({})).await;
        run.pause(("ann", "as tested")).await.unwrap();
        world.pass(secs(10)).await;
        run.resume(("bob", "as tested")).await.unwrap();
        is_hers(&control, &blocked(&control, &run).await).await;
        completes(&run).await;
    });
}

#[test]
fn a_run_that_is_nested_after_a_crash_is_still_the_starters_and_stays_hers() {
    let world = World::seeded(4);
    let run = world.run(async {
        let (control, _) = open_slow(&world).await;
        publish(&control, PAY).await;
        let run = begin(&control, LATER, json!({})).await;
        world.pass(secs(2)).await;
        run.id()
    });
    world.crash();
    world.run(async {
        let (control, _) = open_slow(&world).await;
        control.start_dispatch().await.unwrap();
        blocked(&control, &control.run(run)).await;
    });
    world.crash();
    world.run(async {
        let (control, _) = open_slow(&world).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(run);
        is_hers(&control, &blocked(&control, &run).await).await;
        completes(&run).await;
    });
}

#[test]
fn a_policy_that_asks_for_a_second_pair_of_eyes_ends_what_the_starter_approved_before() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_slow(&world).await;
        publish(&control, &PAY.replace("financial", "irreversible")).await;
        let run = begin(&control, LATER, json!({})).await;
        let first = blocked(&control, &run).await;
        run.pause(("bob", "as tested")).await.unwrap();
        control.approve(first.id, "ann", "my own").await.unwrap();
        enforce(&control, "approvals: { four_eyes: [irreversible] }").await;
        run.resume(("bob", "as tested")).await.unwrap();
        let second = blocked(&control, &run).await;
        assert_ne!(first.id, second.id);
        is_hers(&control, &second).await;
        completes(&run).await;
    });
}

/// Limit, spent and the sum with the request, in thousandths of a dollar.
fn shown(asked: &ApprovalRequest, account: &str) -> (Option<NanoUsd>, NanoUsd, NanoUsd) {
    let mut all = asked.budgets.iter();
    let found = all.find(|one| one.account.to_string() == account);
    let found = found.unwrap_or_else(|| panic!("{account} in {:?}", asked.budgets));
    (found.limit.money, found.spent.money, found.after.money)
}

#[test]
fn a_request_shows_what_it_would_do_to_the_budgets_of_every_run_around() {
    let world = World::seeded(6);
    world.run(async {
        let control = open_for(&world, "it", spender()).await;
        publish(&control, SPENDING).await;
        let estimate = format!(
            "{{ model: {}, input_tokens: 0, max_output_tokens: 50 }}",
            model()
        );
        let pay =
            format!("pay: {{ agent: it, risk: financial, needs: [s], estimate: {estimate} }}");
        publish(
            &control,
            &format!("{{ workflow: pay, steps: {{ s: {{ agent: it }}, {pay} }} }}"),
        )
        .await;
        let yaml = "{ workflow: w, budget: { usd: '0.5' }, steps: { pre: { uses: 'gate@1' }, \
                    qa: { uses: 'pay@1', needs: [pre], budget: { usd: '0.3' } } } }";
        let run = begin(&control, yaml, json!({})).await;
        let asked = blocked(&control, &run).await;
        let (run, nested) = (run.id(), asked.id.run_id);
        let expected =
            |limit: i64, spent: i64| (Some(mills(limit)), mills(spent), mills(spent + 50));
        assert_eq!(shown(&asked, &format!("run:{run}")), expected(500, 60));
        assert_eq!(shown(&asked, &format!("step:{run}/qa")), expected(300, 20));
        assert_eq!(
            shown(&asked, &format!("run:{nested}")),
            (None, mills(20), mills(70))
        );
        assert_eq!(asked.path, "qa/pay");
        assert_eq!(asked.outermost, Some(run));
    });
}
