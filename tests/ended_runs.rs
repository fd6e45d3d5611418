//! Runs that have ended stay as they are.

use mission_control::testing::Scenario;
use mission_control::{
    AccountId, AgentError, AgentExecutor, Error, ErrorKind, Limit, NanoUsd, OnExceed, StartOptions,
    StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};

struct Echo;

#[mission_control::async_trait]
impl AgentExecutor for Echo {
    async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        Ok(input.into())
    }
}

#[test]
fn the_limit_of_a_run_that_has_ended_is_not_changed_and_nothing_follows_its_seal() {
    let world = Scenario::seeded(5);
    let (refused, last) = world
        .run(async {
            let control = world.open().await?;
            control.register_agent("echo", Echo).await?;
            let one = Workflow::from_yaml("{ workflow: one, steps: { a: { agent: echo } } }")?;
            control.publish(one).await?;
            control.start_dispatch().await?;
            let run = control
                .start("one", json!({}), StartOptions::by("ann"))
                .await?;
            run.outcome().await?;
            let limit = Limit::usd(NanoUsd::from_nano(5));
            let account = AccountId::Run(run.id());
            let refused = control
                .set_limit(("ann", "as tested"), account, limit, OnExceed::Abort)
                .await;
            let events = control.log().read_run(run.id(), 0, 100).await?;
            Ok::<_, Error>((refused, events.last().unwrap().kind.clone()))
        })
        .unwrap()
        .unwrap();
    assert_eq!(&*last, "run.sealed");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidTransition);
}
