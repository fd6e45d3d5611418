//! The agents file: `agents: { NAME: SPEC }` in YAML, read strictly, every fault with its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mc_agents::recorded::{OutputRule, RecordedAgent, RecordedRun};
use mc_core::error::{Detail, Error, ErrorKind, Result, Violation};
use mc_core::id::{AgentName, AgentVersion};
use mc_core::yaml;
use serde_json::{Map, Value};

/// Kinds that a later version has.
const LATER: &[&str] = &["command", "http", "chat"];

/// How fast recorded agents answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// At once.
    Max,
    /// So many times as fast as recorded.
    Times(u32),
}

impl Speed {
    /// Reads `max`, or a whole number from 1 on.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn read(text: &str) -> Result<Self> {
        match (text, text.parse()) {
            ("max", _) => Ok(Self::Max),
            (_, Ok(times)) if times > 0 => Ok(Self::Times(times)),
            _ => Err(Error::invalid(
                "--speed",
                "`max` or a whole number from 1 on",
            )),
        }
    }

    fn of(self, latency: Duration) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            Self::Times(times) => latency / times,
        }
    }
}

/// An agent of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSpec {
    /// Its name.
    pub(crate) name: AgentName,
    /// Its version, where the file names one.
    pub(crate) version: Option<AgentVersion>,
    /// Its file of recorded calls; a relative path begins at the agents file.
    pub(crate) file: PathBuf,
}

impl AgentSpec {
    /// The agent, answering from runs, as fast as told.
    pub(crate) fn recorded(&self, mut runs: Vec<RecordedRun>, speed: Speed) -> RecordedAgent {
        for call in runs.iter_mut().flat_map(|run| &mut run.calls) {
            call.latency = speed.of(call.latency);
        }
        let agent = RecordedAgent::new(runs).with_output(OutputRule::ObjectOrText);
        match &self.version {
            Some(version) => agent.with_version(version.clone()),
            None => agent,
        }
    }
}

/// Reads an agents file; `dir` is where it lies.
///
/// # Errors
/// `InvalidInput` with every wrong place.
pub(crate) fn read(text: &[u8], dir: &Path) -> Result<Vec<AgentSpec>> {
    let value = yaml::parse(text)?;
    let mut faults = Vec::new();
    let agents = match value.as_object() {
        Some(file) => {
            unknown_keys(file, &["agents"], "", &mut faults);
            file.get("agents").and_then(Value::as_object)
        }
        None => None,
    };
    let Some(agents) = agents else {
        return Err(Error::invalid(
            "/agents",
            "an object of agents by name is required",
        ));
    };
    let specs: Vec<AgentSpec> = agents
        .iter()
        .filter_map(|(name, spec)| {
            let spec = agent(name, spec, dir);
            spec.map_err(|more| faults.extend(more)).ok()
        })
        .collect();
    if faults.is_empty() {
        return Ok(specs);
    }
    Err(refused(faults))
}

fn refused(faults: Vec<Violation>) -> Error {
    let message = match faults.as_slice() {
        [one] => format!("{}: {}", one.path, one.rule),
        many => format!("the agents file has {} faults", many.len()),
    };
    Error::new(ErrorKind::InvalidInput, message).with_detail(Detail::Violations(faults))
}

fn agent(name: &str, spec: &Value, dir: &Path) -> std::result::Result<AgentSpec, Vec<Violation>> {
    let at = format!("/agents/{}", mc_core::json::escape_pointer(name));
    let fault = |path: &str, rule: String| vec![Violation::new(format!("{at}{path}"), rule)];
    let name = AgentName::new(name).map_err(|rule| fault("", rule.to_string()))?;
    let Some(fields) = spec.as_object() else {
        return Err(fault("", "an object with `kind` is required".to_owned()));
    };
    let kind = fields
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if LATER.contains(&kind) {
        return Err(fault(
            "/kind",
            format!("`{kind}` is not available in this version; use `recorded`"),
        ));
    }
    if kind != "recorded" {
        return Err(fault(
            "/kind",
            "`recorded` is the kind that there is".to_owned(),
        ));
    }
    let mut faults = Vec::new();
    unknown_keys(fields, &["kind", "file", "version"], &at, &mut faults);
    let version = version(fields).unwrap_or_else(|rule| {
        faults.push(Violation::new(format!("{at}/version"), rule));
        None
    });
    let file = fields.get("file").and_then(Value::as_str);
    match file.filter(|file| !file.is_empty()) {
        None => faults.push(Violation::new(format!("{at}/file"), "a path is required")),
        Some(file) if faults.is_empty() => {
            let file = dir.join(file);
            return Ok(AgentSpec {
                name,
                version,
                file,
            });
        }
        Some(_) => {}
    }
    Err(faults)
}

fn version(fields: &Map<String, Value>) -> std::result::Result<Option<AgentVersion>, String> {
    let Some(version) = fields.get("version") else {
        return Ok(None);
    };
    let Some(text) = version.as_str() else {
        return Err("a version is text: put it in quotes".to_owned());
    };
    let version = AgentVersion::new(text);
    version.map(Some).map_err(|rule| rule.to_string())
}

fn unknown_keys(
    fields: &Map<String, Value>,
    known: &[&str],
    at: &str,
    faults: &mut Vec<Violation>,
) {
    for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
        let path = format!("{at}/{}", mc_core::json::escape_pointer(key));
        let rule = format!("there is no such key; there is {}", known.join(", "));
        faults.push(Violation::new(path, rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        format!("{:?}", read(text.as_bytes(), Path::new("d")).unwrap_err())
    }

    #[test]
    fn a_recorded_agent_has_a_file_beside_the_agents_file() {
        let read = read(
            b"agents: { writer: { kind: recorded, file: calls.jsonl } }",
            Path::new("d"),
        );
        let specs = read.unwrap();
        assert_eq!(specs[0].name.as_str(), "writer");
        assert_eq!(specs[0].file, Path::new("d/calls.jsonl"));
    }

    #[test]
    fn an_agent_may_have_a_version_which_is_text() {
        let text = "agents: { a: { kind: recorded, file: f, version: \"1.10\" } }";
        let specs = read(text.as_bytes(), Path::new("d")).unwrap();
        assert_eq!(specs[0].version.as_ref().unwrap().as_str(), "1.10");
        for bad in ["2", "\"\"", "[]"] {
            let text = refusal(&text.replace("\"1.10\"", bad));
            assert!(text.contains("/agents/a/version"), "{text}");
        }
    }

    #[test]
    fn what_comes_later_is_named_with_its_place() {
        for kind in LATER {
            let text = refusal(&format!("agents: {{ writer: {{ kind: {kind} }} }}"));
            assert!(text.contains("/agents/writer/kind"), "{text}");
            assert!(text.contains("not available in this version"), "{text}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = refusal("agents: { A: { kind: recorded }, b: { kind: recorded, x: 1 }, c: 7 }");
        for place in ["/agents/A", "/agents/b/x", "/agents/b/file", "/agents/c"] {
            assert!(text.contains(place), "{place}: {text}");
        }
        for bad in ["", "[]", "agents: []", "{ agents: {}, more: 1 }", "a: b: c"] {
            refusal(bad);
        }
    }

    #[test]
    fn speed_is_max_or_a_whole_number() {
        assert_eq!(Speed::read("max").unwrap(), Speed::Max);
        let ten = Speed::read("10").unwrap();
        assert_eq!(ten.of(Duration::from_secs(20)), Duration::from_secs(2));
        for bad in ["", "0", "-1", "1.5", "fast"] {
            assert!(Speed::read(bad).is_err(), "{bad}");
        }
    }
}
