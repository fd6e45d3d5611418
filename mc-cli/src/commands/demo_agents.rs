//! The agents of the bundled example: recorded ones, or the same names on a real model where the
//! environment names one.
//!
//! A real model is asked by agents of the kind `chat`, with prompts of their own, under the same
//! budget. What is wrong is told by the name of its variable, before anything is asked.

use mc_agents::file::{self, Place, ReadyAgent};
use mc_agents::recorded::parse_runs;
use mc_core::error::{Detail, Error, ErrorKind, Violation};
use mc_core::id::{AgentName, ModelId};
use mc_core::pricing::PriceTable;
use serde_json::{Map, Value, json};

use crate::agents_file::{self, Speed};
use crate::args::Common;
use crate::failure::Failure;
use crate::text::quoted;

const AGENTS: &str = include_str!("../../../examples/bundled/agents.yaml");
const CALLS: &str = include_str!("../../../examples/bundled/calls.jsonl");

const URL: &str = "MISSION_CONTROL_DEMO_URL";
const KEY: &str = "MISSION_CONTROL_DEMO_KEY";
const MODEL: &str = "MISSION_CONTROL_DEMO_MODEL";
const API: &str = "MISSION_CONTROL_DEMO_API";

/// The fields of an agent of kind `chat`, and the variables that they come from.
const FIELDS: [(&str, &str); 4] = [
    ("base_url", URL),
    ("key_env", KEY),
    ("model", MODEL),
    ("api", API),
];

/// The most output tokens of an answer: room for a page, and for a model that thinks first.
const MAX_OUTPUT_TOKENS: u64 = 2_000;

/// What stands before the names of the example's workflow and agents here: the store may be in use, and
/// the demo takes over no step, and no workflow, of its host's.
const PREFIX: &str = "demo-";

/// What each agent is told to be.
const PROMPTS: [(&str, &str); 5] = [
    (
        "researcher",
        "You do research for a product team. You are given a product and its market as JSON. Name three angles, a word \
         each, from which the product has to be looked at, and the question that nobody has asked yet. Answer with one \
         JSON object and nothing else, without a code fence: {\"angles\": [\"..\", \"..\", \"..\"], \"question\": \"..\"}",
    ),
    (
        "analyst",
        "You look at a product from one angle only, the one that you are given: a kettle that pours at the right \
         temperature, for use at home. Answer with three plain sentences.",
    ),
    (
        "writer",
        "You write product briefs for a kettle that pours at the right temperature, for use at home. You are given what \
         analysts found, or what an editor said of the brief. Write a brief of at most 120 words, in plain text.",
    ),
    (
        "editor",
        "You decide whether a product brief is good enough to be announced: it makes one promise and keeps to it. Answer \
         with one JSON object and nothing else, without a code fence: {\"verdict\": \"good\" or \"weak\", \"reason\": \"..\"}",
    ),
    (
        "publisher",
        "You announce a kettle that pours at the right temperature, for use at home. You are given what its editor said. \
         Answer with an announcement of two sentences, in plain text.",
    ),
];

/// Who answers in the example.
#[derive(Debug)]
pub(super) enum Cast {
    /// Recorded calls: nothing is sent.
    Recorded,
    /// A model of a provider.
    Model(Endpoint),
}

/// A model, and where it is asked.
#[derive(Debug)]
pub(super) struct Endpoint {
    base_url: String,
    model: ModelId,
    api: String,
    with_key: bool,
}

impl Cast {
    /// As the environment says.
    pub(super) fn read() -> Result<Self, Failure> {
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|text| !text.trim().is_empty())
        };
        let (url, model) = (variable(URL), variable(MODEL));
        let with_key = variable(KEY).is_some();
        let (base_url, model) = match (url, model) {
            (None, None) => return Ok(Self::Recorded),
            (Some(_), None) => return Err(missing(MODEL, URL)),
            (None, Some(_)) => return Err(missing(URL, MODEL)),
            (Some(url), Some(model)) => (url, model),
        };
        // Plain http goes only to this machine, where a server may do without a key.
        if !with_key && !base_url.starts_with("http://") {
            return Err(missing(KEY, URL));
        }
        let model =
            ModelId::new(&model).map_err(|fault| wrong(vec![(MODEL, fault.to_string())]))?;
        let endpoint = Endpoint {
            base_url,
            model,
            api: variable(API).unwrap_or_else(|| "openai_chat".to_owned()),
            with_key,
        };
        endpoint.agents()?;
        Ok(Self::Model(endpoint))
    }

    /// The agents, ready to be registered.
    pub(super) fn agents(&self) -> Result<Vec<(AgentName, ReadyAgent)>, Failure> {
        let agents = match self {
            Self::Recorded => recorded()?,
            Self::Model(endpoint) => endpoint.agents()?,
        };
        let agents = agents.into_iter();
        agents
            .map(|(name, agent)| Ok((renamed(&name)?, agent)))
            .collect()
    }

    /// The example's workflow with the demo's names, and the model in its estimate that will be asked.
    pub(super) fn workflow(&self, yaml: &str) -> String {
        let yaml = ["workflow: ", "agent: "]
            .iter()
            .fold(yaml.to_owned(), |yaml, field| {
                yaml.replace(field, &format!("{field}{PREFIX}"))
            });
        match self {
            Self::Recorded => yaml,
            Self::Model(endpoint) => {
                yaml.replace("recorded/GPT_4", &format!("\"{}\"", endpoint.model))
            }
        }
    }

    /// Refuses a model that has no price: nobody could say what it costs at most.
    pub(super) fn check(&self, prices: &PriceTable, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Model(Endpoint { model, .. }) if !prices.has(model) => {
                let message = format!("{MODEL}: model `{model}` has no price in this store");
                let db = quoted(&common.db.display().to_string());
                let next = format!(
                    "name one of `mission-control prices list --db {db}`, or give it a price with \
                     `mission-control prices override FILE --db {db}` (docs/prices.md)"
                );
                Err(Failure::usage(Error::new(ErrorKind::InvalidInput, message)).with_next(next))
            }
            Self::Recorded | Self::Model(_) => Ok(()),
        }
    }

    /// What is going to happen, for people and for programs.
    pub(super) fn told(&self) -> (String, Value) {
        match self {
            Self::Recorded => (
                format!(
                    "the bundled example on its recorded calls: nothing is sent, nothing is billed; \
                     {URL}, {KEY} and {MODEL} let a real model answer"
                ),
                json!({"example": "recorded"}),
            ),
            Self::Model(Endpoint {
                model, base_url, ..
            }) => (
                format!(
                    "the bundled example on the real model {model} at {base_url}: its calls are sent and billed"
                ),
                json!({"example": "model", "model": model, "base_url": base_url}),
            ),
        }
    }
}

impl Endpoint {
    fn agents(&self) -> Result<Vec<(AgentName, ReadyAgent)>, Failure> {
        let agents: Map<String, Value> = { PROMPTS.iter() }
            .map(|(name, system)| ((*name).to_owned(), self.agent(system)))
            .collect();
        let text = json!({"agents": agents}).to_string();
        let specs = file::read(text.as_bytes(), &Place::of("")).map_err(|error| named(&error))?;
        let ready = specs
            .into_iter()
            .map(|spec| Ok((spec.name.clone(), spec.agent()?)));
        ready.collect()
    }

    fn agent(&self, system: &str) -> Value {
        let mut agent = json!({
            "kind": "chat", "api": self.api, "base_url": self.base_url, "model": self.model,
            "system": system, "max_output_tokens": MAX_OUTPUT_TOKENS,
        });
        if self.with_key {
            agent["key_env"] = KEY.into();
        }
        agent
    }
}

fn recorded() -> Result<Vec<(AgentName, ReadyAgent)>, Failure> {
    let specs = file::read(AGENTS.as_bytes(), &Place::of(""))?;
    let ready = specs.into_iter().map(|spec| {
        let mut runs = parse_runs(CALLS.as_bytes())?;
        for call in runs.iter_mut().flat_map(|run| &mut run.calls) {
            call.agent = renamed(&call.agent)?;
        }
        let agent = agents_file::recorded(runs, Speed::Max, spec.version.as_ref());
        Ok((spec.name, ReadyAgent::new(agent)))
    });
    ready.collect()
}

fn renamed(name: &AgentName) -> Result<AgentName, Failure> {
    let name = AgentName::new(&format!("{PREFIX}{name}"));
    name.map_err(|fault| Error::internal(fault.to_string()).into())
}

fn missing(name: &'static str, given: &str) -> Failure {
    wrong(vec![(name, format!("it is not set, and {given} is"))])
}

/// The faults of an agent's fields, by the variables that they come from.
fn named(error: &Error) -> Failure {
    let (Some(Detail::Violations(all)), Some((first, _))) = (error.detail(), PROMPTS.first())
    else {
        return wrong(vec![(URL, error.message().to_owned())]);
    };
    // Every agent has the same fields: one of them tells of all.
    let faults = all.iter().filter_map(|fault| {
        let field = fault.path.strip_prefix(&format!("/agents/{first}/"))?;
        let variable = FIELDS.iter().find(|(name, _)| *name == field);
        Some((
            variable.map_or(URL, |(_, variable)| *variable),
            fault.rule.clone(),
        ))
    });
    wrong(faults.collect())
}

fn wrong(faults: Vec<(&'static str, String)>) -> Failure {
    let said: Vec<String> = faults
        .iter()
        .map(|(name, rule)| format!("{name}: {rule}"))
        .collect();
    let all = faults
        .into_iter()
        .map(|(name, rule)| Violation::new(name, rule));
    let error = Error::new(ErrorKind::InvalidInput, said.join("; "))
        .with_detail(Detail::Violations(all.collect()));
    let next = format!(
        "set {URL}, {KEY} and {MODEL} for a real model, {API} for its format, or none of them for recorded calls"
    );
    Failure::usage(error).with_next(next)
}
