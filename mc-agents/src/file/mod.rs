//! The agents file: `agents: { NAME: SPEC }` in YAML, with `callback` beside it, read strictly, every fault with its place.
//!
//! Nothing is started and nothing is asked while it is read; programs, directories and variables of
//! the environment are looked for, so that what is missing is said before anything runs. `place` is
//! where it looks, `fields` reads one object, `kinds` the kinds. `docs/agents.md` has an example of
//! each.

mod callback;
mod chat;
mod fields;
mod kinds;
mod place;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mc_core::engine::{AgentError, AgentExecutor, StepContext, StepOutcome};
use mc_core::error::{Detail, Error, ErrorKind, Result, Violation};
use mc_core::id::{AgentName, AgentVersion};
use mc_core::json::escape_pointer;
use mc_core::yaml;
use serde_json::Value;

use crate::chat::{ChatAgent, ChatSpec};
use crate::command::{CommandAgent, CommandSpec};
use crate::http::{HttpAgent, HttpSpec};
use crate::recorded::RecordedAgent;
pub use callback::callback;
use fields::Fields;
pub use place::Place;

/// An agent of the file.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// Its name.
    pub name: AgentName,
    /// Its version, where the file names one.
    pub version: Option<AgentVersion>,
    /// What it is.
    pub kind: AgentKind,
}

/// What an agent of the file is.
#[derive(Clone, Debug)]
pub enum AgentKind {
    /// It answers from a file of recorded calls.
    Recorded(PathBuf),
    /// It runs a program.
    Command(CommandSpec),
    /// It asks a model.
    Chat(ChatSpec),
    /// It asks an agent somewhere else.
    Http(HttpSpec),
}

impl AgentSpec {
    /// The agent, ready to be registered.
    ///
    /// # Errors
    /// As [`RecordedAgent::open`] for a recorded one, as [`ChatAgent::new`] and [`HttpAgent::new`] for those
    /// that speak over a network.
    pub fn agent(&self) -> Result<ReadyAgent> {
        let version = self.version.clone();
        Ok(match &self.kind {
            AgentKind::Recorded(file) => {
                let agent = RecordedAgent::open(file)?;
                ReadyAgent::new(match version {
                    Some(version) => agent.with_version(version),
                    None => agent,
                })
            }
            AgentKind::Command(spec) => ReadyAgent::new(CommandAgent::new(spec.clone(), version)),
            AgentKind::Chat(spec) => ReadyAgent::new(ChatAgent::new(spec.clone(), version)?),
            AgentKind::Http(spec) => ReadyAgent::new(HttpAgent::new(spec.clone(), version)?),
        })
    }
}

/// An agent of any kind.
#[derive(Clone)]
pub struct ReadyAgent(Arc<dyn AgentExecutor>);

impl ReadyAgent {
    /// An agent as one of any kind.
    pub fn new(agent: impl AgentExecutor) -> Self {
        Self(Arc::new(agent))
    }
}

impl std::fmt::Debug for ReadyAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadyAgent")
            .field("version", &self.0.version())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AgentExecutor for ReadyAgent {
    fn version(&self) -> Option<&str> {
        self.0.version()
    }

    async fn execute(
        &self,
        ctx: StepContext,
        input: Value,
    ) -> std::result::Result<StepOutcome, AgentError> {
        self.0.execute(ctx, input).await
    }
}

/// Reads an agents file.
///
/// # Errors
/// `InvalidInput` with every wrong place.
pub fn read(text: &[u8], place: &Place) -> Result<Vec<AgentSpec>> {
    let value = yaml::parse(text)?;
    let Some(file) = value.as_object() else {
        return Err(Error::invalid("/agents", NO_AGENTS));
    };
    let mut top = Fields::new(String::new(), file);
    let Some(agents) = top.find("agents").and_then(Value::as_object) else {
        return Err(Error::invalid("/agents", NO_AGENTS));
    };
    let given = callback::read(&mut top, place);
    let mut faults = top.finish();
    let mut specs: Vec<AgentSpec> = { agents.iter() }
        .filter_map(|(name, spec)| {
            let spec = agent(name, spec, place);
            spec.map_err(|more| faults.extend(more)).ok()
        })
        .collect();
    if faults.is_empty()
        && let Some(given) = given
        && !callback::give(&given, &mut specs)
    {
        let rule = "only http agents are answered there: the file has none";
        faults.push(Violation::new("/callback", rule));
    }
    if faults.is_empty() {
        return Ok(specs);
    }
    Err(refused(faults))
}

const NO_AGENTS: &str = "an object of agents by name is required";

fn refused(faults: Vec<Violation>) -> Error {
    let message = match faults.as_slice() {
        [one] => format!("{}: {}", one.path, one.rule),
        many => format!("the agents file has {} faults", many.len()),
    };
    Error::new(ErrorKind::InvalidInput, message).with_detail(Detail::Violations(faults))
}

fn agent(
    name: &str,
    spec: &Value,
    place: &Place,
) -> std::result::Result<AgentSpec, Vec<Violation>> {
    let at = format!("/agents/{}", escape_pointer(name));
    let fault = |path: &str, rule: String| vec![Violation::new(format!("{at}{path}"), rule)];
    let name = AgentName::new(name).map_err(|rule| fault("", rule.to_string()))?;
    let Some(fields) = spec.as_object() else {
        return Err(fault("", "an object with `kind` is required".to_owned()));
    };
    let mut fields = Fields::new(at.clone(), fields);
    let kind = fields.find("kind").and_then(Value::as_str);
    let Some(read) = kinds::reader(kind.unwrap_or_default()) else {
        let rule = format!("the kinds are {}", kinds::names());
        return Err(fault("/kind", rule));
    };
    let version = version(&mut fields);
    let kind = read(&mut fields, place);
    let faults = fields.finish();
    match kind {
        Some(kind) if faults.is_empty() => Ok(AgentSpec {
            name,
            version,
            kind,
        }),
        Some(_) | None => Err(faults),
    }
}

fn version(fields: &mut Fields<'_>) -> Option<AgentVersion> {
    let value = fields.find("version")?;
    let version = match value.as_str() {
        Some(text) => AgentVersion::new(text).map_err(|rule| rule.to_string()),
        None => Err("a version is text: put it in quotes".to_owned()),
    };
    version.map_err(|rule| fields.fault("version", rule)).ok()
}

#[cfg(test)]
mod tests;
