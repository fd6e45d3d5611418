//! Costs worked out by hand.

use super::super::{
    CallBound, Cost, CostFault, CostFlag, Missing, ServiceTier, Terms, TierChoice, TokenClass,
    Unit, cost, input_bound, reserve_bound,
};
use super::{at, only};
use crate::money::NanoUsd;
use crate::usage::Usage;

const TIERED: &str = r#"max_input_tokens = 1050000
    max_output_tokens = 128000
    rate = [
        { input = "2.5", cache_read = "0.25", output = "15" },
        { tier_start = 272000, input = "5", cache_read = "0.5", output = "22.5" },
        { service_tier = "batch", input = "1.25", cache_read = "0.13", output = "7.5" },
    ]
    unit = [{ name = "web_search", per = 1000, price = "10" }]"#;

fn usd(lines: &str, usage: Usage) -> String {
    cost(&only(lines), &usage, &Terms::default())
        .unwrap()
        .money
        .to_string()
}

#[test]
fn a_plain_call_costs_its_tokens() {
    // 1,000 x 2.50 and 500 x 15 USD per million.
    assert_eq!(usd(TIERED, Usage::text(1000, 500)), "0.01");
    assert_eq!(usd(TIERED, Usage::default()), "0.00");
}

#[test]
fn one_token_is_rounded_up_once_for_the_call() {
    let fine = r#"rate = [{ input = "0.0001", output = "0.0002" }]"#;
    assert_eq!(usd(fine, Usage::text(1, 0)), "0.000000001");
    assert_eq!(usd(fine, Usage::text(5, 2)), "0.000000001");
    assert_eq!(usd(fine, Usage::text(10, 1)), "0.000000002");
}

#[test]
fn a_longer_input_moves_the_whole_call_into_the_next_tier() {
    assert_eq!(usd(TIERED, Usage::text(272_000, 0)), "0.68");
    assert_eq!(usd(TIERED, Usage::text(272_001, 0)), "1.360005");
    let cached = Usage {
        input_cache_read: 72_001,
        ..Usage::text(200_000, 10)
    };
    assert_eq!(usd(TIERED, cached), "1.0362255");
    let inclusive = format!("tier_inclusive = true\n{TIERED}");
    assert_eq!(usd(&inclusive, Usage::text(272_000, 0)), "1.36");
}

#[test]
fn reasoning_costs_as_output_unless_it_has_its_own_price() {
    let usage = Usage {
        output_reasoning: 1_000_000,
        ..Usage::default()
    };
    assert_eq!(usd(TIERED, usage), "15.00");
    assert_eq!(
        usd(
            r#"rate = [{ input = "1", output = "2", reasoning = "3" }]"#,
            usage
        ),
        "3.00"
    );
}

#[test]
fn searches_cost_by_the_thousand() {
    let usage = Usage {
        web_searches: 3,
        ..Usage::text(0, 0)
    };
    assert_eq!(usd(TIERED, usage), "0.03");
}

#[test]
fn a_class_without_a_price_is_an_error_or_the_dearest_with_a_flag() {
    let price = only(TIERED);
    let usage = Usage {
        input_audio: 1_000_000,
        ..Usage::default()
    };
    let strict = cost(&price, &usage, &Terms::default());
    assert_eq!(
        strict,
        Err(CostFault::ClassUnpriced(TokenClass::InputAudio))
    );
    let terms = Terms {
        missing: Missing::Dearest,
        ..Terms::default()
    };
    let dearest = cost(&price, &usage, &terms).unwrap();
    assert_eq!(dearest.money.to_string(), "5.00");
    assert!(dearest.flags.contains(&CostFlag::DearestClass));
}

#[test]
fn a_class_that_inherits_costs_as_the_other() {
    let lines = r#"inherits = { cache_write_1h = "cache_write_5m" }
        rate = [{ input = "1", cache_write_5m = "1.25", output = "2" }]"#;
    assert_eq!(
        usd(
            lines,
            Usage {
                input_cache_write_1h: 1_000_000,
                ..Usage::default()
            }
        ),
        "1.25"
    );
}

#[test]
fn a_service_tier_a_region_and_an_hour_choose_the_rate() {
    let price = only(
        r#"uplift = { eu = "11/10" }
        rate = [{ input = "1", output = "1" },
                { service_tier = "flex", input = "0.5", output = "0.5" },
                { valid_hours_utc = "16:30-00:30", input = "0.25", output = "0.25" }]"#,
    );
    let usd = |time: &str, service_tier, region| {
        let terms = Terms {
            at: at(time),
            service_tier,
            region,
            ..Terms::default()
        };
        cost(&price, &Usage::text(1_000_000, 0), &terms).map(|cost| cost.money.to_string())
    };
    let noon = "2026-11-20T12:00:00Z";
    assert_eq!(usd(noon, ServiceTier::Standard, None).unwrap(), "1.00");
    assert_eq!(usd(noon, ServiceTier::Flex, None).unwrap(), "0.50");
    assert_eq!(
        usd(noon, ServiceTier::Standard, Some("eu")).unwrap(),
        "1.10"
    );
    assert_eq!(
        usd("2026-11-20T23:00:00Z", ServiceTier::Standard, None).unwrap(),
        "0.25"
    );
    assert_eq!(
        usd(noon, ServiceTier::Priority, None),
        Err(CostFault::TierUnpriced(ServiceTier::Priority))
    );
    assert_eq!(
        usd(noon, ServiceTier::Standard, Some("mars")),
        Err(CostFault::UnknownRegion("mars".to_owned()))
    );
}

#[test]
fn a_cost_that_does_not_fit_is_named() {
    let price = only(r#"rate = [{ input = "9000000000000", output = "1" }]"#);
    let usage = Usage::text(u64::MAX, 0);
    assert_eq!(
        cost(&price, &usage, &Terms::default()),
        Err(CostFault::Overflow)
    );
    let call = CallBound {
        input_tokens: Some(u64::MAX),
        max_output_tokens: Some(u64::MAX),
        choices: u32::MAX,
        hidden_retries: u32::MAX,
        ..CallBound::default()
    };
    assert_eq!(reserve_bound(&price, &call), Err(CostFault::Overflow));
}

#[test]
fn a_bound_takes_the_dearest_reading() {
    let call = CallBound {
        input_tokens: Some(300_000),
        max_output_tokens: Some(1000),
        units: &[(Unit::WebSearch, 2)],
        choices: 2,
        hidden_retries: 1,
        ..CallBound::default()
    };
    let bound = reserve_bound(&only(TIERED), &call).unwrap();
    // Twice sent: 300,000 x 5 and 2 x 1,000 x 22.5 USD per million, and two searches at 0.01.
    assert_eq!(bound.money.to_string(), "3.13");
    assert_eq!((bound.input_tokens, bound.output_tokens), (600_000, 4000));
    assert_eq!(bound.basis.bound(), Some(bound));
}

#[test]
fn a_bound_needs_limits_and_prices() {
    let open = only(r#"rate = [{ input = "1", output = "1" }]"#);
    let call = CallBound {
        input_tokens: Some(1),
        ..CallBound::default()
    };
    assert_eq!(
        reserve_bound(&open, &CallBound::default()),
        Err(CostFault::InputUnbounded)
    );
    assert_eq!(reserve_bound(&open, &call), Err(CostFault::OutputUnbounded));
    let call = CallBound {
        max_output_tokens: Some(1),
        units: &[(Unit::WebSearch, 1)],
        ..call
    };
    assert_eq!(
        reserve_bound(&open, &call),
        Err(CostFault::UnitUnpriced(Unit::WebSearch))
    );
    let call = CallBound {
        units: &[],
        service_tier: TierChoice::Exactly(ServiceTier::Batch),
        ..call
    };
    assert_eq!(
        reserve_bound(&open, &call),
        Err(CostFault::TierUnpriced(ServiceTier::Batch))
    );
}

#[test]
fn reasoning_outside_the_output_limit_is_bounded_by_the_model() {
    let lines = r#"max_output_tokens = 1000
        max_tokens_includes_reasoning = false
        rate = [{ input = "0", output = "1" }]"#;
    let call = CallBound {
        input_tokens: Some(0),
        max_output_tokens: Some(10),
        ..CallBound::default()
    };
    assert_eq!(
        reserve_bound(&only(lines), &call).unwrap().output_tokens,
        1010
    );
}

#[test]
fn affordable_output_is_the_most_that_fits() {
    let call = CallBound {
        input_tokens: Some(1000),
        max_output_tokens: Some(4096),
        ..CallBound::default()
    };
    let basis = reserve_bound(&only(TIERED), &call).unwrap().basis;
    let usd = |text: &str| basis.affordable_output(text.parse().unwrap());
    // The input takes 0.0025 USD; a token of output 0.000015.
    assert_eq!(usd("0.0024"), None);
    assert_eq!(usd("0.0025"), Some(0));
    assert_eq!(usd("0.004"), Some(100));
    assert_eq!(usd("5"), Some(4096));
    assert_eq!(basis.affordable_output(NanoUsd::from_nano(-1)), None);
}

#[test]
fn bytes_bound_the_input_where_the_row_says_that_tokens_are_at_least_a_byte() {
    let bytes = format!("input_bound = {{ kind = \"bytes\", framing = 64 }}\n{TIERED}");
    let tokens = |row: &str, call: CallBound<'_>| {
        let bound = reserve_bound(&only(row), &call).unwrap();
        bound.basis.input_tokens
    };
    let of = |bytes| CallBound {
        rendered_bytes: Some(bytes),
        ..CallBound::default()
    };
    assert_eq!(tokens(&bytes, of(1000)), 1064);
    assert_eq!(tokens(&bytes, of(u64::MAX)), 1_050_000);
    assert_eq!(tokens(TIERED, of(10)), 1_050_000);
    let counted = |input_tokens| CallBound {
        input_tokens: Some(input_tokens),
        ..of(1000)
    };
    assert_eq!(tokens(&bytes, counted(10)), 10);
    assert_eq!(tokens(&bytes, counted(5000)), 1064);
}

#[test]
fn bytes_say_nothing_of_images_and_of_the_providers_tools() {
    let bytes = format!("input_bound = {{ kind = \"bytes\", framing = 64 }}\n{TIERED}");
    let text = CallBound {
        rendered_bytes: Some(10),
        ..CallBound::default()
    };
    let classes = &[TokenClass::Input, TokenClass::InputImage];
    let images = CallBound { classes, ..text };
    let searches = |cap| [(Unit::WebSearch, cap)];
    let (none, some) = (searches(0), searches(1));
    let units = |units| CallBound { units, ..text };
    for (call, expected) in [
        (text, Some(74)),
        (images, Some(1_050_000)),
        (units(&none), Some(74)),
        (units(&some), Some(1_050_000)),
    ] {
        assert_eq!(input_bound(&only(&bytes), &call), expected);
    }
}

#[test]
fn a_cost_is_written_as_nano_and_flags() {
    let cost = Cost {
        money: NanoUsd::from_nano(7),
        flags: [CostFlag::Unpriced].into(),
    };
    let text = serde_json::to_string(&cost).unwrap();
    assert_eq!(text, r#"{"cost_nano_usd":7,"flags":["unpriced"]}"#);
    assert_eq!(serde_json::from_str::<Cost>(&text).unwrap(), cost);
}
