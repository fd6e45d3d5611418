//! Rates: how many calls, and tokens, of a provider, a model or an agent go out in a minute, and how
//! many at a time. What is beyond waits its turn; no run ends by a rate.
//!
//! What is *not* here: counting (`sequencer::traffic`), and who waits (`sequencer::turns`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::form::{At, Fields, Reader};
use crate::id::{AgentName, ModelId};
use crate::pricing::Named;

/// The most rates of a policy.
const MAX_RATES: usize = 256;
/// The largest count.
const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// Whose calls a rate counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RateOf {
    /// All calls of a provider's models.
    Provider(String),
    /// All calls of a model.
    Model(ModelId),
    /// All calls in the name of an agent.
    Agent(AgentName),
}

impl RateOf {
    /// Whether it counts a call.
    pub fn counts(&self, model: Named<'_>, agent: Option<&AgentName>) -> bool {
        match self {
            Self::Provider(provider) => model.is(|id| provider == id.provider()),
            Self::Model(one) => model.is(|id| one == id),
            Self::Agent(one) => Some(one) == agent,
        }
    }
}

impl fmt::Display for RateOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(provider) => write!(f, "provider:{provider}"),
            Self::Model(model) => write!(f, "model:{model}"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
        }
    }
}

/// What a refusal of the provider does to calls that are not out yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnThrottling {
    /// Nothing: each call waits for itself, and the model's breaker for all of them.
    #[default]
    Ignore,
    /// Nothing goes out before the time that the provider names, and then half as much as before;
    /// each answer lets one call a minute more out.
    SlowDown,
}

/// A rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRule {
    /// Whose calls it counts.
    pub of: RateOf,
    /// So many calls at most go out within any minute.
    pub requests_per_minute: Option<u64>,
    /// So many tokens at most, in the worst case until the answer tells; a call that is larger by
    /// itself goes alone.
    pub tokens_per_minute: Option<u64>,
    /// So many are out at a time.
    pub in_flight: Option<u64>,
    /// What a refusal of the provider does.
    pub on_throttling: OnThrottling,
}

/// A text that is no provider's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a provider is what stands before the slash of its models")]
struct ProviderFault;

struct Provider(String);

impl FromStr for Provider {
    type Err = ProviderFault;

    fn from_str(text: &str) -> Result<Self, ProviderFault> {
        let probe: Result<ModelId, _> = format!("{text}/x").parse();
        match probe {
            Ok(model) if model.provider() == text => Ok(Self(text.to_owned())),
            Ok(_) | Err(_) => Err(ProviderFault),
        }
    }
}

/// Reads the section `rates`; whose calls are counted is given once.
pub(super) fn rates(reader: &mut Reader, parent: Fields<'_>) -> Vec<RateRule> {
    let Some(value) = parent.get(reader, "rates") else {
        return Vec::new();
    };
    let at = parent.at("rates");
    let Value::Array(items) = value else {
        reader.form(&at, "a list of rates is wanted");
        return Vec::new();
    };
    if items.len() > MAX_RATES {
        reader.limit(&at, "rates", MAX_RATES);
    }
    let mut found: Vec<RateRule> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let index = index.to_string();
        let place = at.child(&index);
        let Some(rate) = rate(reader, item, &place) else {
            continue;
        };
        if found.iter().any(|other| other.of == rate.of) {
            reader.form(&place, "this is given a rate twice");
        }
        found.push(rate);
    }
    found
}

fn rate(reader: &mut Reader, value: &Value, at: &At<'_>) -> Option<RateRule> {
    let numbers = ["requests_per_minute", "tokens_per_minute", "in_flight"];
    let known: Vec<&'static str> = numbers
        .into_iter()
        .chain(["for", "on_throttling"])
        .collect();
    let fields = Fields::open(reader, value, at, &known)?;
    fields.require(reader, "for");
    if !numbers
        .iter()
        .chain(&["on_throttling"])
        .any(|field| fields.has(field))
    {
        reader.form(at, "a limit is missing, e.g. requests_per_minute");
    }
    let of = rate_of(reader, fields);
    let mut count = |field: &'static str| fields.count(reader, field, 1..=MAX_COUNT);
    let [requests_per_minute, tokens_per_minute, in_flight] = numbers.map(&mut count);
    let choices = [
        ("ignore", OnThrottling::Ignore),
        ("slow_down", OnThrottling::SlowDown),
    ];
    let on_throttling = fields
        .choice(reader, "on_throttling", &choices)
        .unwrap_or_default();
    let of = of?;
    let by_agent = matches!(of, RateOf::Agent(_));
    if by_agent && on_throttling == OnThrottling::SlowDown {
        let rule = "a provider refuses, so that this stands at a provider or a model";
        reader.form(&fields.at("on_throttling"), rule);
    }
    Some(RateRule {
        of,
        requests_per_minute,
        tokens_per_minute,
        in_flight,
        on_throttling,
    })
}

fn rate_of(reader: &mut Reader, parent: Fields<'_>) -> Option<RateOf> {
    let value = parent.get(reader, "for")?;
    let at = parent.at("for");
    let fields = Fields::open(reader, value, &at, &["provider", "model", "agent"])?;
    let provider = fields.parsed::<Provider>(reader, "provider");
    let model = fields.parsed::<ModelId>(reader, "model");
    let agent = fields.parsed::<AgentName>(reader, "agent");
    let mut all = [
        provider.map(|one| RateOf::Provider(one.0)),
        model.map(RateOf::Model),
        agent.map(RateOf::Agent),
    ]
    .into_iter()
    .flatten();
    let given = ["provider", "model", "agent"]
        .into_iter()
        .filter(|field| fields.has(field));
    if given.count() != 1 {
        reader.form(&at, "exactly one of provider, model, agent is wanted");
        return None;
    }
    all.next()
}

/// A rate as the policy's normal form has it.
pub(super) fn write(rate: &RateRule) -> Value {
    let mut out = Map::new();
    let of = match &rate.of {
        RateOf::Provider(provider) => json!({ "provider": provider }),
        RateOf::Model(model) => json!({ "model": model.as_str() }),
        RateOf::Agent(agent) => json!({ "agent": agent.to_string() }),
    };
    out.insert("for".to_owned(), of);
    let numbers = [
        ("requests_per_minute", rate.requests_per_minute),
        ("tokens_per_minute", rate.tokens_per_minute),
        ("in_flight", rate.in_flight),
    ];
    for (name, number) in numbers {
        out.extend(number.map(|number| (name.to_owned(), Value::from(number))));
    }
    match rate.on_throttling {
        OnThrottling::Ignore => {}
        OnThrottling::SlowDown => {
            out.insert("on_throttling".to_owned(), "slow_down".into());
        }
    }
    out.into()
}
