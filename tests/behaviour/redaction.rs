//! Redaction: what is taken out of content before it is hashed and stored.

use std::borrow::Cow;

use mission_control::core::event::PartContent;
use mission_control::{Redaction, RedactionScope, Redactor, RiskTier};

use crate::common::*;

fn secret() -> String {
    format!("sk-ant-{}", "aB3".repeat(10))
}

fn with(redactor: Arc<dyn Redactor>, scope: RedactionScope) -> Settings {
    Settings {
        redaction: Some(Redaction { redactor, scope }),
        ..settings()
    }
}

/// A run that says the secret wherever it can; the kinds of events in whose content it stands.
fn leaks(settings: Settings) -> Vec<String> {
    let world = World::seeded(31);
    world.run(async {
        let control = world.open_with(settings).await;
        let it = agent(|ctx, input| async move {
            assert_eq!(input["key"], secret(), "an attempt gets the exact input");
            call(&ctx, &secret(), 4, 1).await?;
            let params = json!({ "key": secret() });
            let tool = || async { Ok(json!("fine")) };
            ctx.tool_call("use", RiskTier::Write, &params, tool).await?;
            ctx.side_effect(&secret(), "k").await?;
            Ok(json!({ "key": secret() }).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({ "key": secret() })).await;
        run.outcome().await.unwrap();
        let events = events(&control, &run).await;
        let holds = |event: &&Record| {
            let parts = event.parts.iter().filter_map(|part| match &part.content {
                PartContent::Inline(bytes) => Some(bytes),
                PartContent::Blob(_) | PartContent::Erased(_) => None,
            });
            let mut texts = parts.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            texts.any(|text| text.contains(&secret()))
        };
        events
            .iter()
            .filter(holds)
            .map(|event| event.kind.to_string())
            .collect()
    })
}

#[test]
fn without_a_redactor_everything_is_logged_as_it_is() {
    let found = leaks(settings());
    for kind in [
        "run.created",
        "model_call.reserved",
        "tool_call.dispatched",
        "step.completed",
    ] {
        assert!(found.iter().any(|one| one == kind), "{kind} in {found:?}");
    }
}

#[test]
fn what_is_only_shown_is_redacted_and_what_is_handed_on_is_not() {
    let redactor = Arc::new(<dyn Redactor>::secrets());
    let found = leaks(with(redactor, RedactionScope::Shown));
    assert_eq!(found, ["run.created", "step.dispatched", "step.completed"]);
}

#[derive(Debug)]
struct Broken;

impl Redactor for Broken {
    fn redact<'a>(&self, _: &'a str) -> Cow<'a, str> {
        panic!("a redactor with a defect")
    }
}

#[test]
fn a_redactor_that_panics_takes_the_part_and_nothing_else() {
    let found = leaks(with(Arc::new(Broken), RedactionScope::Shown));
    assert_eq!(found, ["run.created", "step.dispatched", "step.completed"]);
}

#[test]
fn with_the_explicit_option_steps_downstream_get_redacted_values() {
    let world = World::seeded(32);
    let redactor = Arc::new(<dyn Redactor>::secrets());
    let settings = with(redactor, RedactionScope::Everything);
    world.run(async {
        let control = world.open_with(settings).await;
        register(
            &control,
            "it",
            agent(|_, _| async { Ok(json!({ "key": secret() }).into()) }),
        )
        .await;
        register(&control, "echo", echo()).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: echo, needs: [a] } } }";
        let run = begin(&control, yaml, json!({})).await;
        let output = output_of(&run).await;
        assert!(
            output.to_string().contains("[redacted:provider_key]"),
            "{output}"
        );
        assert!(!output.to_string().contains(&secret()), "{output}");
    });
}
