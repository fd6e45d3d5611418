//! Panics: a handler that panics harms its own attempt and nothing else.

use crate::common::*;

#[test]
fn a_panic_fails_its_attempt_and_nothing_else() {
    let world = World::seeded(7);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            match ctx.attempt() {
                1 => panic!("in words"),
                2 => std::panic::panic_any(17),
                attempt => Ok(json!(attempt).into()),
            }
        });
        register(&control, "it", it).await;
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 3 }"),
            json!({}),
        )
        .await;
        let outcome = run.outcome().await.unwrap();
        assert_eq!(
            facts(&control, &run, "attempt.failed").await["code"],
            "internal"
        );
        outcome
    });
    std::panic::set_hook(hook);
    assert_eq!(output(&outcome), json!(3));
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("even its payload panics");
    }
}

#[test]
fn a_panic_whose_payload_panics_again_fails_its_attempt_and_nothing_else() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        let it = agent(|_, _| async { std::panic::resume_unwind(Box::new(Bomb)) });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "internal"));
    });
}
