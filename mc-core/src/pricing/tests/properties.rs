//! The cost against an oracle in fractions, and the bound against every usage within it.

use proptest::prelude::*;

use super::super::{
    Bound, CallBound, InputBound, Missing, ModelPrice, PriceTable, ServiceTier, Side, Terms,
    TierChoice, TokenClass, Unit, cost, reserve_bound,
};
use super::{HEAD, row};
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::usage::Usage;

/// Decimal text of up to six places.
fn price() -> impl Strategy<Value = String> {
    (0_u32..200, 0_u32..1_000_000, 0_usize..=6).prop_map(|(whole, micro, places)| {
        let digits = format!("{micro:06}");
        if places == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{}", &digits[..places])
        }
    })
}

/// A rate's prices: the classes in the order of `TokenClass::ALL`.
fn prices() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(price(), TokenClass::ALL.len())
}

fn rate_text(extra: &str, prices: &[String], named: &[bool]) -> String {
    let classes = TokenClass::ALL.iter().zip(prices).zip(named);
    let always = |class: TokenClass| class == TokenClass::Input || class == TokenClass::Output;
    let fields: Vec<String> = classes
        .filter(|((class, _), named)| **named || always(**class))
        .map(|((class, price), _)| format!("{} = \"{price}\"", class.key()))
        .collect();
    format!("{{ {extra}{} }}", fields.join(", "))
}

/// A model with three tiers, hours in the second, two service tiers, an uplift and two units. The
/// prices of tiers are independent, so a later tier may well be cheaper.
fn model() -> impl Strategy<Value = ModelPrice> {
    let named = prop::collection::vec(any::<bool>(), TokenClass::ALL.len());
    let rates = prop::collection::vec(prices(), 5);
    (
        rates,
        named,
        1_u64..2000,
        any::<bool>(),
        any::<bool>(),
        1_u32..30,
    )
        .prop_map(|(rates, named, step, inclusive, extra, uplift)| {
            let heads = [
                String::new(),
                format!("tier_start = {step}, "),
                format!("tier_start = {step}, valid_hours_utc = \"06:00-18:00\", "),
                format!("tier_start = {}, ", step * 2),
                "service_tier = \"batch\", ".to_owned(),
            ];
            let rates: Vec<String> = heads
                .iter()
                .zip(&rates)
                .map(|(head, prices)| rate_text(head, prices, &named))
                .collect();
            let text = format!(
                "{HEAD}{}max_output_tokens = 500\nmax_tokens_includes_reasoning = {}\n\
                 tier_inclusive = {inclusive}\nuplift = {{ eu = \"{uplift}/10\" }}\nrate = [{}]\n\
                 unit = [{{ name = \"web_search\", per = 1000, price = \"10.5\" }}, \
                 {{ name = \"request\", per = 1000, price = \"5\" }}]\n",
                row("m"),
                !extra,
                rates.join(", "),
            );
            PriceTable::parse(&text).unwrap().models()[0].clone()
        })
}

/// Calls of all sizes, so that they end in all tiers, and of few classes, so that the dearest class
/// is often the only one.
fn usage() -> impl Strategy<Value = Usage> {
    let count = |most| prop_oneof![4 => Just(0), 1 => 0..most];
    let counts = prop::sample::select(vec![10_u64, 200, 5000])
        .prop_flat_map(move |most| prop::collection::vec(count(most), TokenClass::ALL.len()));
    (counts, 0_u64..4).prop_map(|(counts, web_searches)| Usage {
        input_uncached: counts[0],
        input_cache_read: counts[1],
        input_cache_write_5m: counts[2],
        input_cache_write_1h: counts[3],
        input_audio: counts[4],
        input_audio_cached: counts[5],
        input_image: counts[6],
        input_image_cached: counts[7],
        input_video: counts[8],
        input_video_cached: counts[9],
        output_text: counts[10],
        output_reasoning: counts[11],
        output_audio: counts[12],
        output_image: counts[13],
        requests: 1,
        web_searches,
        ..Usage::default()
    })
}

fn terms(hour: i64, service_tier: ServiceTier, region: Option<&str>) -> Terms<'_> {
    let at = Timestamp::from_unix_us(hour * 3_600_000_000);
    Terms {
        at,
        service_tier,
        region,
        missing: Missing::Dearest,
        largest_input: None,
    }
}

/// Input tokens, output tokens and searches that a bound has to spare: often none, so that a price
/// that is too low is not hidden behind tokens that are too many.
fn slack() -> impl Strategy<Value = (u64, u64, u64)> {
    let tokens = || prop::sample::select(vec![0_u64, 1, 20, 3000]);
    (tokens(), tokens(), 0_u64..2)
}

/// The tightest bound that still covers a usage.
fn tight<'a>(usage: &Usage, region: Option<&'a str>, units: &'a [(Unit, u64)]) -> CallBound<'a> {
    CallBound {
        input_tokens: Some(usage.input_tokens()),
        max_output_tokens: Some(usage.output_tokens()),
        classes: TokenClass::ALL,
        units,
        region,
        ..CallBound::default()
    }
}

/// A fraction of USD, added without rounding.
#[derive(Clone, Copy)]
struct Fraction(u128, u128);

impl Fraction {
    fn plus(self, other: Self) -> Self {
        let (a, b) = (self.0 * other.1 + other.0 * self.1, self.1 * other.1);
        let common = gcd(a, b);
        Self(a / common, b / common)
    }

    /// The least number of billionths that is not below the fraction, found by trying.
    fn nano_up(self) -> u128 {
        let floor = self.0 * 1_000_000_000 / self.1;
        if floor * self.1 == self.0 * 1_000_000_000 {
            floor
        } else {
            floor + 1
        }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Decimal text times tokens, per million, as a fraction.
fn of_text(text: &str, tokens: u64) -> Fraction {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let scale = 10_u128.pow(u32::try_from(part.len()).unwrap());
    let digits: u128 = format!("{whole}{part}").parse().unwrap();
    Fraction(digits * u128::from(tokens), scale * 1_000_000)
}

proptest! {
    #[test]
    fn a_cost_is_the_exact_sum_rounded_up_once(prices in prices(), usage in usage()) {
        let named = [true; 14];
        let text = format!("{HEAD}{}rate = [{}]\n", row("m"), rate_text("", &prices, &named));
        let table = PriceTable::parse(&text).unwrap();
        let usage = Usage { web_searches: 0, ..usage };
        let exact = TokenClass::ALL.iter().zip(&prices).fold(Fraction(0, 1), |sum, (class, text)| {
            sum.plus(of_text(text, class.count(&usage)))
        });
        let cost = cost(&table.models()[0], &usage, &Terms::default()).unwrap();
        prop_assert_eq!(u128::from(cost.money.as_nano().unsigned_abs()), exact.nano_up());
    }

    #[test]
    fn no_usage_within_the_bound_costs_more(
        model in model(),
        usage in usage(),
        hour in 0_i64..24,
        slack in slack(),
        european in any::<bool>(),
    ) {
        let region = european.then_some("eu");
        let model = ModelPrice { max_output_tokens: Some(100_000), ..model };
        let units = [(Unit::WebSearch, usage.web_searches + slack.2)];
        let call = CallBound {
            input_tokens: Some(usage.input_tokens() + slack.0),
            max_output_tokens: Some(usage.output_tokens() + slack.1),
            ..tight(&usage, region, &units)
        };
        let bound = reserve_bound(&model, &call).unwrap();
        let cost = cost(&model, &usage, &terms(hour, ServiceTier::Standard, region)).unwrap();
        prop_assert!(cost.money <= bound.money, "{:?} > {:?}", cost.money, bound);
    }

    #[test]
    fn a_bound_for_any_tier_covers_each_tier(model in model(), usage in usage(), hour in 0_i64..24) {
        let units = [(Unit::WebSearch, usage.web_searches)];
        let model = ModelPrice { max_output_tokens: Some(100_000), ..model };
        let call = CallBound { service_tier: TierChoice::Auto, ..tight(&usage, None, &units) };
        let bound = reserve_bound(&model, &call).unwrap();
        for tier in [ServiceTier::Standard, ServiceTier::Batch] {
            let cost = cost(&model, &usage, &terms(hour, tier, None)).unwrap();
            prop_assert!(cost.money <= bound.money);
        }
    }

    #[test]
    fn a_bound_of_named_classes_covers_usage_of_those_classes(model in model(), usage in usage()) {
        let text = Usage {
            input_uncached: usage.input_uncached,
            input_cache_read: usage.input_cache_read,
            output_text: usage.output_text,
            output_reasoning: usage.output_reasoning,
            requests: 1,
            ..Usage::default()
        };
        let model = ModelPrice { max_output_tokens: Some(100_000), ..model };
        let call = CallBound { classes: TokenClass::TEXT_UNCACHED, ..tight(&text, None, &[]) };
        let bound = reserve_bound(&model, &call).unwrap();
        for hour in [0, 12] {
            let cost = cost(&model, &text, &terms(hour, ServiceTier::Standard, None)).unwrap();
            prop_assert!(cost.money <= bound.money);
        }
    }

    #[test]
    fn more_tokens_never_have_a_smaller_bound(
        model in model(),
        (a, b) in (0_u64..5000, 0_u64..5000),
        (c, d) in (0_u64..400, 0_u64..400),
    ) {
        let bound = |input, output| {
            let call = CallBound {
                input_tokens: Some(input),
                max_output_tokens: Some(output),
                ..CallBound::default()
            };
            reserve_bound(&model, &call).unwrap().money
        };
        prop_assert!(bound(a.min(b), c.min(d)) <= bound(a.max(b), c.max(d)));
    }

    #[test]
    fn the_bound_never_rises_by_knowing_more(
        model in model(),
        own in prop::option::of(0_u64..6000),
        framing in prop::option::of(0_u64..100),
        (count, bytes) in (0_u64..6000, 0_u64..6000),
        output in prop::option::of(0_u64..600),
    ) {
        let input_bound = framing.map_or(InputBound::MaximumInput, |framing| InputBound::Bytes { framing });
        let model = ModelPrice { max_input_tokens: own, input_bound, ..model };
        let bound = |input_tokens, rendered_bytes, max_output_tokens| {
            let call = CallBound { input_tokens, rendered_bytes, max_output_tokens, ..CallBound::default() };
            // Nothing bounds it: more than any bound.
            reserve_bound(&model, &call).map_or((NanoUsd::MAX, u64::MAX), |bound| (bound.money, bound.input_tokens))
        };
        let (count, bytes) = (Some(count), Some(bytes));
        let no_more = |more: (NanoUsd, u64), less: (NanoUsd, u64)| more.0 <= less.0 && more.1 <= less.1;
        let all = bound(count, bytes, output);
        for less in [bound(count, None, output), bound(None, bytes, output), bound(count, bytes, None)] {
            prop_assert!(no_more(all, less), "{all:?} > {less:?}");
            prop_assert!(no_more(less, bound(None, None, None)));
        }
    }

    #[test]
    fn a_merged_table_charges_at_least_what_either_does_and_itself_with_itself(
        (one, other) in (model(), model()),
        (input, output) in (0_u64..8000, 0_u64..500),
        hour in 0_i64..24,
    ) {
        let table = |row: &ModelPrice| PriceTable::of_rows("t".to_owned(), vec![row.clone()]).unwrap();
        let charge = |table: &PriceTable, tier| {
            let usage = Usage::text(input, output);
            cost(&table.models()[0], &usage, &terms(hour, tier, None)).unwrap().money
        };
        let (a, b) = (table(&one), table(&other));
        let (both, same) = (a.merged(&b).unwrap().table, a.merged(&a).unwrap().table);
        for tier in [ServiceTier::Standard, ServiceTier::Batch] {
            prop_assert!(charge(&both, tier) >= charge(&a, tier).max(charge(&b, tier)));
            prop_assert_eq!(charge(&same, tier), charge(&a, tier));
        }
    }

    #[test]
    fn affordable_output_fits_and_one_more_does_not(
        model in model(),
        input in 0_u64..3000,
        headroom in 0_i64..2_000_000_000,
        (choices, hidden_retries) in (1_u32..4, 0_u32..3),
    ) {
        let call = CallBound {
            input_tokens: Some(input),
            max_output_tokens: Some(400),
            region: Some("eu"),
            choices,
            hidden_retries,
            ..CallBound::default()
        };
        let headroom = NanoUsd::from_nano(headroom);
        let basis = reserve_bound(&model, &call).unwrap().basis;
        let with = |output| -> Bound {
            reserve_bound(&model, &CallBound { max_output_tokens: Some(output), ..call }).unwrap()
        };
        match basis.affordable_output(headroom) {
            None => prop_assert!(with(0).money > headroom),
            Some(output) => {
                prop_assert!(with(output).money <= headroom);
                prop_assert!(output == 400 || with(output + 1).money > headroom);
            }
        }
    }
}

#[test]
fn sides_are_both_covered() {
    assert!(
        TokenClass::TEXT
            .iter()
            .any(|class| class.side() == Side::Output)
    );
}
