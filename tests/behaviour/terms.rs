//! Terms: service tier, region and caps of the provider's own tools select what is held and spent.

use std::sync::Arc;

use mission_control::{ServiceTier, SessionOptions, TierChoice, Unit};

use crate::common::*;

/// A token costs a thousandth of a dollar at the list price, a search ten thousandths.
const PRICES: &str = r#"
uplift = { eu = "11/10" }
rate = [
  { input = "1000", output = "1000" },
  { service_tier = "batch", input = "500", output = "500" },
  { service_tier = "priority", input = "2000", output = "2000" },
]
unit = [{ name = "web_search", per = 1000, price = "10" }]
"#;

fn priced() -> Settings {
    Settings {
        prices: Arc::new(PriceTable::parse(&test_prices(PRICES)).unwrap()),
        ..Settings::default()
    }
}

fn used(output: u64, searches: u64, tier: Option<ServiceTier>) -> ModelAnswer {
    let usage = Usage {
        output_text: output,
        web_searches: searches,
        ..Usage::default()
    };
    ModelAnswer {
        service_tier: tier,
        ..ModelAnswer::text("ok", usage)
    }
}

const PRIORITY: TierChoice = TierChoice::Exactly(ServiceTier::Priority);

/// What one call holds and spends in nano-USD, and what its settlement is flagged with.
fn holds_and_spends(request: &ModelRequest, answer: &ModelAnswer) -> (i64, i64, Value) {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open_with(priced()).await;
        let guard = control.guard("host", SessionOptions::default());
        let session = guard.await.unwrap();
        let admission = session.reserve(request).await.unwrap();
        let Admission::Allowed(permit) = admission else {
            panic!("{admission:?}");
        };
        permit.settle(answer).await.unwrap();
        let run = control.run(session.id());
        session.close().await.unwrap();
        let reserved = facts(&control, &run, "model_call.reserved").await;
        let settled = facts(&control, &run, "model_call.settled").await;
        let nano = |amount: &Value| amount["nano_usd"].as_i64().unwrap_or_default();
        let flags = settled["flags"].clone();
        (nano(&reserved["amount"]), nano(&settled["actual"]), flags)
    })
}

#[test]
fn the_usual_terms_are_the_list_price() {
    let (held, spent, flags) = holds_and_spends(&request("p", 100), &used(50, 0, None));
    assert_eq!((held, spent), (100_000_000, 50_000_000));
    assert_eq!(flags, Value::Null);
}

#[test]
fn a_service_tier_is_held_and_spent_at_its_own_price() {
    let asked = request("p", 100).service_tier(PRIORITY);
    let (held, spent, _) = holds_and_spends(&asked, &used(50, 0, None));
    assert_eq!((held, spent), (200_000_000, 100_000_000));
}

#[test]
fn a_region_raises_the_price_of_tokens_alone() {
    let asked = request("p", 100).region("eu".parse().unwrap());
    let (held, spent, _) = holds_and_spends(&asked, &used(50, 0, None));
    assert_eq!((held, spent), (110_000_000, 55_000_000));
    let all = asked.service_tier(PRIORITY).cap(Unit::WebSearch, 5);
    let (held, spent, _) = holds_and_spends(&all, &used(50, 3, None));
    assert_eq!(
        (held, spent),
        (220_000_000 + 50_000_000, 110_000_000 + 30_000_000)
    );
}

#[test]
fn searches_are_held_up_to_their_cap_and_flagged_beyond_it() {
    let asked = request("p", 100).cap(Unit::WebSearch, 2);
    let (held, spent, flags) = holds_and_spends(&asked, &used(100, 2, None));
    assert_eq!(
        (held, spent, flags),
        (120_000_000, 120_000_000, Value::Null)
    );
    let (_, spent, flags) = holds_and_spends(&asked, &used(100, 3, None));
    assert_eq!((spent, flags), (130_000_000, json!(["overrun"])));
}

#[test]
fn a_tier_of_the_providers_choice_is_held_at_the_dearest_and_spent_as_served() {
    let asked = request("p", 100).service_tier(TierChoice::Auto);
    for (served, costs) in [
        (None, 100_000_000),
        (Some(ServiceTier::Standard), 50_000_000),
        (Some(ServiceTier::Batch), 25_000_000),
    ] {
        let (held, spent, flags) = holds_and_spends(&asked, &used(50, 0, served));
        assert_eq!(
            (held, spent, flags),
            (200_000_000, costs, Value::Null),
            "{served:?}"
        );
    }
}

#[test]
fn another_tier_than_asked_for_is_charged_as_served_and_flagged() {
    let asked = request("p", 100).service_tier(PRIORITY);
    let served = used(50, 0, Some(ServiceTier::Standard));
    let (_, spent, flags) = holds_and_spends(&asked, &served);
    assert_eq!((spent, flags), (50_000_000, json!(["tier_changed"])));
    // A tier without a price costs what the dearest one does.
    let (_, spent, flags) = holds_and_spends(&asked, &used(50, 0, Some(ServiceTier::Flex)));
    assert_eq!((spent, flags), (100_000_000, json!(["tier_changed"])));
}

#[test]
fn terms_without_a_price_are_refused_by_name() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open_with(priced()).await;
        let guard = control.guard("host", SessionOptions::default());
        let session = guard.await.unwrap();
        let asked = || request("p", 100);
        let flex = TierChoice::Exactly(ServiceTier::Flex);
        for (request, named) in [
            (
                asked().region("mars".parse().unwrap()),
                "region: region `mars` has no price",
            ),
            (
                asked().service_tier(flex),
                "service_tier: service tier `flex` has no price",
            ),
            (
                asked().cap(Unit::ToolCall, 1),
                "units: `tool_call` has no price",
            ),
        ] {
            let refused = session.reserve(&request).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            let text = refused.message();
            assert_eq!(text, format!("{named} at model `test/m`"));
        }
    });
}

#[test]
fn a_call_on_other_terms_is_another_call_of_the_journal() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open_with(priced()).await;
        let caller = agent(|ctx, _| async move {
            let request = request("p", 100);
            let tier = if ctx.attempt() == 1 {
                TierChoice::default()
            } else {
                PRIORITY
            };
            let request = request.service_tier(tier);
            ctx.model_call(&request, |_| async { Ok(answer("ok", 1)) })
                .await?;
            if ctx.attempt() == 1 {
                return Err(AgentError::new("again"));
            }
            Ok(json!(1).into())
        });
        control.register_agent("caller", caller).await.unwrap();
        let yaml =
            "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 2 } } } }";
        let run = begin(&control, yaml, json!({})).await;
        run.outcome().await.unwrap();
        assert_eq!(count(&control, &run, "model_call.reserved").await, 2);
        assert_eq!(count(&control, &run, "journal.diverged").await, 1);
    });
}
