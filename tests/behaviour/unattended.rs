//! Runs that nobody attends: what only a person could unblock ends them, and harms nothing else.

use crate::common::*;
use mission_control::core::event::run::RunPolicy;
use mission_control::{AbortReason, Policy};

/// Two calls: one that is settled below its bound, then one of this prompt.
fn asks(prompt: &'static str) -> Agent {
    agent(move |ctx, _| async move {
        for prompt in ["ok", prompt] {
            let request = request(prompt, 30);
            let sent = ctx.model_call(&request, |_| async { Ok(answer("ok", 10)) });
            sent.await?;
        }
        Ok(json!(1).into())
    })
}

/// Runs one step unattended under a policy: how it ends, and how often the engine had to restart.
fn unattended(policy: &str, rest: &str, it: Agent) -> (Outcome, u64, Account) {
    let world = World::seeded(3);
    world.run(async {
        let control = open_for(&world, "it", it).await;
        let policy = Policy::from_yaml(policy).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let options = StartOptions {
            policy: Some(RunPolicy {
                unattended: true,
                ..settings().run_policy
            }),
            ..StartOptions::by("ann")
        };
        let run = begin_with(&control, &one(rest), json!({}), options).await;
        let outcome = run.outcome().await.unwrap();
        world.pass(secs(100)).await;
        let account = control.account(&AccountId::Workspace);
        let restarts = control.metrics().soft_restarts;
        (outcome, restarts, account.unwrap_or_default())
    })
}

fn aborted_by(code: &str) -> Outcome {
    let code = code.to_owned();
    Outcome::Aborted(AbortReason::Policy { code })
}

const ESTIMATE: &str =
    ", estimate: { model: test/m, input_tokens: 0, max_output_tokens: 30, calls: 3 }";

#[test]
fn a_denied_call_ends_the_run_and_harms_nothing_else() {
    for (rule, rest, risk) in [
        ("at: model_call, forbidden: [stop]", ESTIMATE, ""),
        (
            "at: model_call, forbidden: [stop], verdict: halt",
            ESTIMATE,
            "",
        ),
        (
            "at: model_call, forbidden: [stop]",
            "",
            ", risk: irreversible",
        ),
        (
            "at: model_call, forbidden: [stop], verdict: halt",
            ESTIMATE,
            ", risk: irreversible",
        ),
    ] {
        let policy = format!(
            "guardrails: [{{ id: r, mode: enforce, {rule} }}]\napprovals: {{ from: financial }}"
        );
        let (outcome, restarts, account) =
            unattended(&policy, &format!("{rest}{risk}"), asks("stop"));
        assert_eq!((outcome, restarts), (aborted_by("r"), 0), "{rule} {risk}");
        assert_eq!(account.spent().money, mills(10), "{rule} {risk}");
        assert_eq!(account.reserved().money, mills(0), "{rule} {risk}");
    }
}

#[test]
fn an_answer_that_breaks_a_rule_ends_the_run_and_is_paid_for() {
    let policy = "guardrails: [{ id: r, mode: enforce, at: after, forbidden: [\"^ok$\"] }]";
    let (outcome, restarts, account) = unattended(policy, ESTIMATE, asks("more"));
    assert_eq!((outcome, restarts), (aborted_by("r"), 0));
    assert_eq!(account.spent().money, mills(10));
}

#[test]
fn what_asks_a_person_ends_the_run_where_there_is_none() {
    let (outcome, restarts, _) = unattended("{}", ", risk: irreversible", asks("more"));
    assert_eq!((outcome, restarts), (aborted_by("approval"), 0));
}
