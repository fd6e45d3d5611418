//! The kinds of agents, each with its fields.

use std::ffi::OsString;
use std::time::Duration;

use mc_core::id::ModelId;
use reqwest::Url;
use serde_json::Value;

use super::AgentKind;
use super::fields::Fields;
use super::place::Place;
use crate::command::CommandSpec;
use crate::endpoint::{Authority, Secret, certified, url};
use crate::http::HttpSpec;
use crate::spending::ModelBound;

/// Reads the fields of a kind; none where a fault was noted.
type Reader = fn(&mut Fields<'_>, &Place) -> Option<AgentKind>;

const KINDS: &[(&str, Reader)] = &[
    ("recorded", recorded),
    ("command", command),
    ("chat", super::chat::chat),
    ("http", http),
];

/// What every program gets of the environment, where it is set.
const PLAIN_VARIABLES: &[&str] = &["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// Between TERM and KILL, where the file does not say.
const GRACE: Duration = Duration::from_secs(2);
/// The most bytes of a program's output, and where the file does not say: 8 MiB.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
const OUTPUT: usize = 8 * 1024 * 1024;
/// How long a remote agent may take, where the file does not say.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);
/// The most tokens and calls that a file may state.
pub(super) const MOST_TOKENS: u64 = 100_000_000;
const MOST_CALLS: u64 = 10_000;

pub(super) fn reader(kind: &str) -> Option<Reader> {
    let mut kinds = KINDS.iter();
    kinds.find(|(name, _)| *name == kind).map(|(_, read)| *read)
}

pub(super) fn names() -> String {
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn recorded(fields: &mut Fields<'_>, place: &Place) -> Option<AgentKind> {
    let file = fields.text("file", "a path");
    (!file.is_empty()).then(|| AgentKind::Recorded(place.path(file)))
}

fn command(fields: &mut Fields<'_>, place: &Place) -> Option<AgentKind> {
    let spec = runnable(fields, place, OUTPUT);
    let models = models(fields);
    Some(AgentKind::Command(CommandSpec { models, ..spec? }))
}

/// What a program is run with: `program`, `env`, `dir`, `timeout`, `grace`, `max_output_bytes`.
pub(super) fn runnable(
    fields: &mut Fields<'_>,
    place: &Place,
    output: usize,
) -> Option<CommandSpec> {
    let line = fields.texts("program");
    let mut program = None;
    match line.first().filter(|name| !name.is_empty()) {
        None => fields.fault(
            "program",
            "a program and its arguments are required, as a list",
        ),
        Some(name) => match place.program(name) {
            Ok(path) => program = Some(path),
            Err(rule) => fields.fault("program", rule),
        },
    }
    let secret: Vec<String> = fields.texts("env").into_iter().map(str::to_owned).collect();
    let mut environment = plain_environment(place);
    for name in &secret {
        match place.variable(name) {
            Some(value) => environment.push((name.clone(), value)),
            None => fields.fault("env", format!("the variable {name} is not set here")),
        }
    }
    let dir = fields.text_if("dir");
    let dir = dir.map_or_else(|| place.home(), |dir| place.home().join(dir));
    if !dir.is_dir() {
        fields.fault("dir", format!("{} is no directory", dir.display()));
    }
    let timeout = fields.span("timeout");
    let grace = fields.span("grace").unwrap_or(GRACE);
    let most = fields.count("max_output_bytes", (1, MAX_OUTPUT));
    Some(CommandSpec {
        program: program?,
        arguments: line.iter().skip(1).map(|&text| text.to_owned()).collect(),
        dir,
        environment,
        secret,
        timeout,
        grace,
        max_output: most
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(output),
        models: Vec::new(),
    })
}

fn http(fields: &mut Fields<'_>, place: &Place) -> Option<AgentKind> {
    let url = address(fields, "url");
    let authority = authority(fields, place, url.as_ref());
    let key = key(fields, place);
    let timeout = fields.span("timeout").unwrap_or(HTTP_TIMEOUT);
    let models = models(fields);
    Some(AgentKind::Http(HttpSpec {
        url: url?,
        authority,
        key,
        timeout,
        models,
        callback: None,
    }))
}

pub(super) fn address(fields: &mut Fields<'_>, key: &'static str) -> Option<Url> {
    let text = fields.text(key, "an address");
    if text.is_empty() {
        return None;
    }
    url(text).map_err(|rule| fields.fault(key, rule)).ok()
}

/// The certificate of an authority in the file that `ca_file` names, as PEM.
pub(super) fn authority(
    fields: &mut Fields<'_>,
    place: &Place,
    url: Option<&Url>,
) -> Option<Authority> {
    let mut authority = None;
    if let Some(file) = fields.text_if("ca_file") {
        let path = place.path(file);
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
        match bytes.and_then(Authority::pem) {
            Ok(read) => authority = Some(read),
            Err(rule) => {
                fields.fault("ca_file", rule);
                return None;
            }
        }
    }
    if let Some(Err(rule)) = url.map(|url| certified(url, authority.as_ref())) {
        fields.fault("ca_file", rule);
    }
    authority
}

/// The key in the variable that `key_env` names; the file itself never has one.
pub(super) fn key(fields: &mut Fields<'_>, place: &Place) -> Option<Secret> {
    secret(fields, place, "key_env")
}

/// What is in the variable that a field names.
pub(super) fn secret(
    fields: &mut Fields<'_>,
    place: &Place,
    field: &'static str,
) -> Option<Secret> {
    let name = fields.text_if(field)?;
    let Some(value) = place.variable(name) else {
        fields.fault(field, format!("the variable {name} is not set here"));
        return None;
    };
    let text = value.into_string().map_err(|_| "it is no text".to_owned());
    let secret = text.and_then(|text| match text.trim() {
        "" => Err("it is blank".to_owned()),
        key => Ok(Secret::new(key.to_owned())),
    });
    let usable = secret.and_then(|secret| secret.header("").map(|_| secret));
    { usable }
        .map_err(|rule| fields.fault(field, format!("the variable {name}: {rule}")))
        .ok()
}

fn plain_environment(place: &Place) -> Vec<(String, OsString)> {
    let set = PLAIN_VARIABLES.iter();
    { set }
        .filter_map(|name| Some(((*name).to_owned(), place.variable(name)?)))
        .collect()
}

/// `models: [ { model, input_tokens, max_output_tokens, calls } ]`
fn models(fields: &mut Fields<'_>) -> Vec<ModelBound> {
    let Some(value) = fields.find("models") else {
        return Vec::new();
    };
    let Some(list) = value.as_array() else {
        fields.fault("models", "a list of models is required");
        return Vec::new();
    };
    let mut bounds: Vec<ModelBound> = Vec::new();
    for one in list.iter().enumerate() {
        let place = one.0.to_string();
        let Some(Some(bound)) = fields.inside("models", (place.as_str(), one.1), bound) else {
            continue;
        };
        if bounds.iter().any(|earlier| earlier.model == bound.model) {
            fields.fault("models", format!("{} stands there twice", bound.model));
        }
        bounds.push(bound);
    }
    bounds
}

fn bound(fields: &mut Fields<'_>) -> Option<ModelBound> {
    let model = model(fields);
    let tokens = |fields: &mut Fields<'_>, key| {
        if fields.find(key).is_none_or(Value::is_null) {
            fields.fault(key, "the most tokens of a call are required");
            return None;
        }
        fields.count(key, (1, MOST_TOKENS))
    };
    let input_tokens = tokens(fields, "input_tokens");
    let max_output_tokens = tokens(fields, "max_output_tokens");
    let calls = fields.count("calls", (1, MOST_CALLS)).unwrap_or(1);
    Some(ModelBound {
        model: model?,
        input_tokens: input_tokens?,
        max_output_tokens: max_output_tokens?,
        calls: u32::try_from(calls).ok()?,
    })
}

/// A model as `provider/id`.
pub(super) fn model(fields: &mut Fields<'_>) -> Option<ModelId> {
    let text = fields.text("model", "a model as provider/id");
    if text.is_empty() {
        return None;
    }
    let model = ModelId::new(text);
    { model }
        .map_err(|fault| fields.fault("model", fault.to_string()))
        .ok()
}
