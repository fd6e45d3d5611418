//! The fields of an agent of kind `chat`, its tools among them.

use std::time::Duration;

use mc_core::form::Schema;
use mc_core::json::escape_pointer;
use mc_core::pricing::TierChoice;
use serde_json::{Value, json};

use super::AgentKind;
use super::fields::Fields;
use super::kinds::{MOST_TOKENS, address, authority, key, model, runnable};
use super::place::Place;
use crate::chat::{Api, ChatSpec, Delivery, MAX_ANSWER_BYTES, ToolSpec};
use crate::command::CommandSpec;

/// How long a model may take for an answer, where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(600);
/// What chat completions call the output limit; the first is what the file need not say.
const LIMIT_FIELDS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
/// How often a model is asked within an attempt at most, and where the file does not say.
const MOST_TURNS: u64 = 1_000;
const TURNS: u32 = 10;
/// The most tools of an agent, and the longest name of one in bytes.
const MOST_TOOLS: usize = 128;
const MAX_NAME_BYTES: usize = 64;
/// How long a tool may take, and the most bytes of its answer, where the file does not say.
const TOOL_TIMEOUT: Duration = Duration::from_secs(120);
const TOOL_OUTPUT: usize = 256 * 1024;

pub(super) fn chat(fields: &mut Fields<'_>, place: &Place) -> Option<AgentKind> {
    let api = Api::of(fields.text("api", "a format"));
    if api.is_none() {
        let names: Vec<&str> = Api::ALL.iter().map(|(name, _)| *name).collect();
        fields.fault("api", format!("the formats are {}", names.join(", ")));
    }
    let base_url = address(fields, "base_url");
    let authority = authority(fields, place, base_url.as_ref());
    let model = model(fields);
    let key = key(fields, place);
    let system = fields.text_if("system").map(str::to_owned);
    if fields.find("max_output_tokens").is_none() {
        let rule = "the most output tokens of an answer are required: they bound what it costs";
        fields.fault("max_output_tokens", rule);
    }
    let most = fields.count("max_output_tokens", (1, MOST_TOKENS));
    let limit_field = fields.text_if("limit_field").unwrap_or(LIMIT_FIELDS[0]);
    if !LIMIT_FIELDS.contains(&limit_field) {
        let rule = format!("the fields of the limit are {}", LIMIT_FIELDS.join(", "));
        fields.fault("limit_field", rule);
    }
    let service_tier = service_tier(fields, api);
    let delivery = delivery(fields);
    let timeout = fields.span("timeout").unwrap_or(TIMEOUT);
    let largest = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    let largest = fields.count("max_answer_bytes", (1, largest));
    let tools = tools(fields, place);
    let turns = fields.count("max_turns", (1, MOST_TURNS));
    Some(AgentKind::Chat(ChatSpec {
        api: api?,
        base_url: base_url?,
        authority,
        model: model?,
        key,
        system,
        max_output_tokens: most?,
        limit_field: limit_field.to_owned(),
        service_tier,
        delivery,
        timeout,
        max_answer: largest
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(MAX_ANSWER_BYTES),
        tools,
        max_turns: turns
            .and_then(|turns| u32::try_from(turns).ok())
            .unwrap_or(TURNS),
    }))
}

fn delivery(fields: &mut Fields<'_>) -> Delivery {
    match fields.find("stream").map(Value::as_bool) {
        None | Some(Some(true)) => Delivery::Stream,
        Some(Some(false)) => Delivery::Whole,
        Some(None) => {
            fields.fault("stream", "true or false is required");
            Delivery::Stream
        }
    }
}

fn service_tier(fields: &mut Fields<'_>, api: Option<Api>) -> Option<TierChoice> {
    let text = fields.text_if("service_tier")?;
    let choice = match text.parse() {
        Ok(choice) => choice,
        Err(rule) => {
            fields.fault("service_tier", rule);
            return None;
        }
    };
    if let Some(api) = api
        && api.tier(choice).is_none()
    {
        let rule = format!("this format cannot ask for `{text}`");
        fields.fault("service_tier", rule);
    }
    Some(choice)
}

/// `tools: { NAME: { description, parameters, program, .. } }`
fn tools(fields: &mut Fields<'_>, place: &Place) -> Vec<ToolSpec> {
    let Some(value) = fields.find("tools") else {
        return Vec::new();
    };
    let Some(tools) = value.as_object() else {
        fields.fault("tools", "an object of tools by name is required");
        return Vec::new();
    };
    if tools.len() > MOST_TOOLS {
        fields.fault("tools", format!("there are at most {MOST_TOOLS} tools"));
        return Vec::new();
    }
    let mut read = Vec::new();
    for (name, value) in tools {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(letter) {
            let rule = "the name of a tool is 1 to 64 of a-z, A-Z, 0-9, _ and -";
            fields.fault_inside("tools", &format!("/{}", escape_pointer(name)), rule);
        }
        let spec = fields.inside("tools", (name.as_str(), value), |inner| {
            tool(inner, (name, place))
        });
        read.extend(spec.flatten());
    }
    read
}

fn tool(fields: &mut Fields<'_>, (name, place): (&str, &Place)) -> Option<ToolSpec> {
    let description = fields.text("description", "what the model is told of it");
    let none = json!({"type": "object", "properties": {}});
    let parameters = fields.find("parameters").cloned().unwrap_or(none);
    if parameters["type"] != "object" {
        let rule = "the schema of an object is required: `type: object`";
        fields.fault("parameters", rule);
    } else if let Err(fault) = Schema::compile(&parameters) {
        fields.fault_inside("parameters", fault.at(), fault.to_string());
    }
    let command = runnable(fields, place, TOOL_OUTPUT)?;
    Some(ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters,
        command: CommandSpec {
            timeout: Some(command.timeout.unwrap_or(TOOL_TIMEOUT)),
            ..command
        },
    })
}
