//! Unknown models, free models, and models that answer for another.

use super::super::{
    CallBound, Charged, CostFault, CostFlag, PicoUsd, PriceTable, ServiceTier, Terms,
    UnknownModels, charge, reserve_bound,
};
use super::{HEAD, id, row};
use crate::error::{Error, ErrorKind};
use crate::usage::Usage;

fn table() -> PriceTable {
    let cheap = "aliases = [\"p/cheap-1\"]\nrate = [{ input = \"1\", output = \"1\" }]\n";
    let dear = "rate = [{ input = \"3\", output = \"3\" }]\n";
    PriceTable::parse(&format!(
        "{HEAD}{}{cheap}{}{dear}",
        row("cheap"),
        row("dear")
    ))
    .unwrap()
}

fn charged(
    unknown: &UnknownModels,
    request: &str,
    response: Option<&str>,
) -> Result<(String, Vec<CostFlag>), CostFault> {
    let (request, response) = (id(request), response.map(id));
    let call = Charged {
        request: &request,
        response: response.as_ref(),
        usage: &Usage::text(1_000_000, 0),
        terms: Terms::default(),
    };
    let cost = charge(&table(), unknown, &call)?;
    Ok((cost.money.to_string(), cost.flags.into_iter().collect()))
}

fn of(usd: &str, flags: &[CostFlag]) -> (String, Vec<CostFlag>) {
    (usd.to_owned(), flags.to_vec())
}

#[test]
fn an_unknown_model_is_denied_by_default() {
    let fault = charged(&UnknownModels::default(), "p/cheap-2", None).unwrap_err();
    assert_eq!(fault, CostFault::UnknownModel(id("p/cheap-2")));
    let error = Error::from(fault);
    assert_eq!(error.kind(), ErrorKind::PolicyDenied);
    assert!(error.to_string().contains("model=`p/cheap-2`"), "{error}");
}

#[test]
fn an_unknown_model_is_priced_as_the_policy_says() {
    let as_dear = UnknownModels::PriceAs(id("p/dear"));
    assert_eq!(
        charged(&as_dear, "x/y", None),
        Ok(of("3.00", &[CostFlag::Assumed]))
    );
    let assume = UnknownModels::Assume {
        input: PicoUsd::per_million("7").unwrap(),
        output: PicoUsd::ZERO,
    };
    assert_eq!(
        charged(&assume, "x/y", None),
        Ok(of("7.00", &[CostFlag::Assumed]))
    );
    assert!(charged(&UnknownModels::PriceAs(id("x/z")), "x/y", None).is_err());
}

#[test]
fn only_listed_ids_are_free_and_known_models_keep_their_price() {
    let free = UnknownModels::Free([id("local/a"), id("p/dear")].into());
    assert_eq!(
        charged(&free, "local/a", None),
        Ok(of("0.00", &[CostFlag::Unpriced]))
    );
    assert_eq!(charged(&free, "p/dear", None), Ok(of("3.00", &[])));
    assert!(charged(&free, "local/b", None).is_err());
}

#[test]
fn a_free_model_is_free_in_every_tier_with_every_unit() {
    let free = UnknownModels::Free([id("local/a")].into());
    let (table, model) = (table(), id("local/a"));
    for service_tier in ServiceTier::ALL {
        let terms = Terms {
            service_tier: *service_tier,
            region: Some("eu"),
            ..Terms::default()
        };
        let usage = Usage {
            web_searches: 5,
            input_audio: 7,
            ..Usage::text(1, 1)
        };
        let quote = table.quote(&model, terms.at, &free).unwrap();
        assert_eq!(quote.cost(&usage, &terms).unwrap().money.as_nano(), 0);
    }
}

#[test]
fn the_dearer_of_request_and_response_is_charged() {
    let deny = UnknownModels::Deny;
    let differs = [CostFlag::ModelChanged];
    assert_eq!(
        charged(&deny, "p/cheap", Some("p/dear")),
        Ok(of("3.00", &differs))
    );
    assert_eq!(
        charged(&deny, "p/dear", Some("p/cheap")),
        Ok(of("3.00", &differs))
    );
    assert_eq!(
        charged(&deny, "p/cheap", Some("p/cheap-1")),
        Ok(of("1.00", &[]))
    );
    assert_eq!(
        charged(&deny, "p/cheap", Some("p/cheap")),
        Ok(of("1.00", &[]))
    );
    let unknown = [CostFlag::ModelUnknown];
    assert_eq!(
        charged(&deny, "p/cheap", Some("p/new")),
        Ok(of("1.00", &unknown))
    );
}

#[test]
fn the_policy_reads_what_it_writes() {
    for text in [
        r#""deny""#,
        r#"{"price_as":"openai/gpt-5.4"}"#,
        r#"{"free":["local/llama"]}"#,
        r#"{"assume":{"input":3000000,"output":4000000}}"#,
    ] {
        let policy: UnknownModels = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
    }
}

#[test]
fn a_model_that_is_priced_as_another_does_not_share_its_limits() {
    let limits = "max_input_tokens = 10\nmax_output_tokens = 10\n";
    let rate = "rate = [{ input = \"3\", output = \"3\" }]\n";
    let table = PriceTable::parse(&format!("{HEAD}{}{limits}{rate}", row("known"))).unwrap();
    let unknown = UnknownModels::PriceAs(id("p/known"));
    let at = Terms::default().at;
    let bound = |model: &str, input_tokens, max_output_tokens| {
        let call = CallBound {
            input_tokens,
            max_output_tokens,
            ..CallBound::default()
        };
        let quote = table.quote(&id(model), at, &unknown).unwrap();
        reserve_bound(&quote.price, &call).map(|bound| (bound.input_tokens, bound.output_tokens))
    };
    assert_eq!(bound("p/known", None, None), Ok((10, 10)));
    assert_eq!(bound("x/y", None, Some(5)), Err(CostFault::InputUnbounded));
    assert_eq!(bound("x/y", Some(5), None), Err(CostFault::OutputUnbounded));
    assert_eq!(bound("x/y", Some(50), Some(50)), Ok((50, 50)));
    let quote = table.quote(&id("x/y"), at, &unknown).unwrap();
    assert!(
        quote.of_table().is_some(),
        "its age is that of the known row"
    );
}
