//! Detectors of the host in rules: asked by name, and what is not there denies.

use crate::common::*;
use mission_control::core::policy::guard::Detector;
use mission_control::{Detail, Opaque, Policy};

/// Finds a word; panics at another.
#[derive(Debug)]
struct Word;

impl Detector for Word {
    fn is_in(&self, text: &str) -> bool {
        assert!(!text.contains("poison"), "as the test wants it");
        text.contains("Jane Doe")
    }
}

const RULE: &str = "guardrails: [{ id: person, at: model_call, pii: [names] }]";

fn with_word() -> Settings {
    let name: Opaque = "names".parse().unwrap();
    let mut settings = settings();
    settings.detectors.insert(name, Arc::new(Word));
    settings
}

/// What a rule says of a prompt: the kind of its denial.
async fn denial(session: &Session, prompt: &str) -> Option<String> {
    match session.reserve(&request(prompt, 1)).await.unwrap() {
        Admission::Allowed(permit) => {
            permit.settle(&answer("ok", 1)).await.unwrap();
            None
        }
        Admission::Denied(error) => {
            let code = error.message().split(": ").nth(1);
            Some(code.unwrap_or_default().to_owned())
        }
        other @ (Admission::Clamped(_) | Admission::Answered(_) | Admission::NeedsApproval(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn what_a_detector_finds_is_denied_and_one_that_panics_denies_too() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open_with(with_word()).await;
        let policy = Policy::from_yaml(RULE).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let session = guard(&control).await;
        assert_eq!(denial(&session, "Jane D.").await, None);
        assert_eq!(
            denial(&session, "to Jane Doe").await.as_deref(),
            Some("pii")
        );
        assert_eq!(
            denial(&session, "poison").await.as_deref(),
            Some("rule_error")
        );
        let run = control.run(session.id());
        session.close().await.unwrap();
        assert_eq!(count(&control, &run, "guardrail.judged").await, 2);
    });
}

#[test]
fn an_unknown_detector_is_refused_by_name() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        let policy = Policy::from_yaml(RULE).unwrap();
        let error = control.publish_policy("ann", policy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let Some(Detail::Violations(all)) = error.detail() else {
            panic!("{error:?}")
        };
        assert_eq!(all[0].path, "/guardrails/0/pii");
        assert!(all[0].rule.contains("`names`"), "{error}");
    });
}

#[test]
fn a_detector_that_is_not_there_any_more_denies() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open_with(with_word()).await;
        let policy = Policy::from_yaml(RULE).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        control.shutdown(Duration::ZERO).await.unwrap();
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        assert_eq!(
            denial(&session, "hello").await.as_deref(),
            Some("rule_error")
        );
    });
}
