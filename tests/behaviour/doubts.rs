//! Money in doubt: it stands in the way until somebody says what was billed, or a week has passed.

use crate::common::*;

fn loses_its_call() -> Agent {
    agent(|ctx, _| async move {
        let lost = ProviderError::new(CallFailure::Timeout, "no answer");
        let request = request("p", 50);
        let done = ctx.model_call(&request, |_| {
            let lost = lost.clone();
            async move { Err(lost) }
        });
        assert!(done.await.is_err());
        Ok(json!(1).into())
    })
}

#[test]
fn what_only_doubt_holds_up_is_blocked_until_it_is_reconciled() {
    let yaml = "
workflow: w
steps:
  a: { agent: loser }
  b: { agent: caller, needs: [a], input: { bound: 50, cost: 20 } }
";
    let world = World::seeded(10);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        register(&control, "loser", loses_its_call()).await;
        set(&control, AccountId::Workspace, 80, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(
            blocks(&position),
            [("b".to_owned(), BlockReason::Budget, "only_doubt".to_owned())]
        );
        let (hold, amount) = run.doubts().await.unwrap().remove(0);
        assert_eq!(amount.money, mills(50));
        run.reconcile("ann", &hold, Amount::ZERO, "the provider's bill")
            .await
            .unwrap();
        completes(&run).await;
        assert_eq!(workspace(&control).spent().money, mills(20));
    });
}

#[test]
fn what_nobody_settled_in_a_week_counts_as_spent_and_the_run_is_sealed() {
    let yaml = "{ workflow: w, steps: { a: { agent: loser } } }";
    for resident_runs in [100, 0] {
        let world = World::seeded(15);
        world.run(async {
            let control = world
                .open_with(Settings {
                    resident_runs,
                    ..settings()
                })
                .await;
            let loser = loses_its_call();
            register(&control, "loser", loser).await;
            let run = begin(&control, yaml, json!({})).await;
            run.outcome().await.unwrap();
            let day = secs(24 * 3_600);
            world.pass(6 * day).await;
            let doubt = workspace(&control);
            assert_eq!(doubt.in_doubt().money, mills(50));
            assert!(!run.state().await.unwrap().sealed);
            world.pass(day + secs(5)).await;
            let spent = workspace(&control);
            assert_eq!(spent.spent().money, mills(50), "time frees no money");
            assert!(spent.in_doubt().is_zero());
            assert_eq!(
                facts(&control, &run, "budget.reconciled").await["assumed"],
                json!(true)
            );
            assert!(run.state().await.unwrap().sealed);
        });
    }
}
