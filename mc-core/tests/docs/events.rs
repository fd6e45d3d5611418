//! `docs/events.md`: every event with its facts, its parts and an example.

use std::fmt::Write as _;

use super::source::{Field, Kind, MODULES, Shape, inner_shapes, kinds, words};
use super::{golden, hold};

const HEAD: &str = "\
# Events

Made by a test from the code; do not edit it by hand (`UPDATE_DOCS=1 cargo test -p mc-core --test docs`).

Each event has a type, written `noun.past_participle`, and *facts*: one JSON object with the fields below
in this order and no others. Facts are hashed as they are stored and never erased; what is long or private
(prompts, outputs, inputs) is in the event's *parts* and can be erased. How all of it lies in the log is in
[event-log.md](event-log.md); which of these events move money, and where, is in
[its section on money](event-log.md#how-money-follows-from-facts). Fields in *italics* are left out where
they are empty, zero or false. Types of values are explained [at the end](#shapes). Every example below is
a line of the golden file `mc-core/tests/golden/v1/events.jsonl`, which later versions keep reading.
";

/// Types of values that are one JSON text or number, with their form.
const SCALARS: &[(&str, &str)] = &[
    (
        "AccountId",
        "text: `workspace`, `workflow:NAME`, `agent:NAME`, `tag:NAME`, `run:UUID`, `step:UUID/KEY`",
    ),
    (
        "AgentName",
        "text: a name, `[a-z0-9][a-z0-9_-]*`, at most 128 bytes",
    ),
    (
        "AgentVersion",
        "text of the host's, at most 64 bytes, without control characters",
    ),
    (
        "CallTerms",
        "object, each field left out where it is the usual: `service_tier` (text: `batch`, `flex`, `priority` or `auto`), `region` (text), `units` (object: tool of the provider's, e.g. `web_search`, to the most uses)",
    ),
    (
        "Checkpoint",
        "text: `admission`, `model_call`, `tool_call`, `in_flight`, `after`",
    ),
    (
        "Digest",
        "text: 64 lower-case hexadecimal digits, a SHA-256",
    ),
    ("LabelKey", "text: a name, as of an agent"),
    ("ModelId", "text: `provider/id`"),
    ("NanoUsd", "integer: nano-USD, 10^9 are one USD"),
    ("Opaque", "text of the caller's, at most 128 bytes"),
    ("RunId", "text: a UUID of version 7, in lower case"),
    (
        "ServiceTier",
        "text: `standard`, `batch`, `flex` or `priority`",
    ),
    (
        "StepKey",
        "text: `draft`, or `angle[3]` for an item of a `for_each`",
    ),
    ("String", "text: a code, in snake_case"),
    ("Arc<str>", "text"),
    ("Timestamp", "integer: microseconds of Unix time"),
    ("RuleId", "text: a name, as of an agent"),
    ("Actor", "text: `operator:NAME`, `agent:NAME` or `system`"),
    (
        "UsageEntry",
        "object: `usage` (`Usage`), and of a sum of several calls `largest_input` (integer: the most input tokens that one of them can have had, which tell their tier)",
    ),
    ("WorkflowName", "text: a name, as of an agent"),
    ("WorkspaceId", "text: a UUID"),
    ("bool", "`true`; false is left out"),
    ("i64", "integer"),
    ("u16", "integer, not negative"),
    ("u8", "integer, not negative"),
    ("u32", "integer, not negative"),
    ("u64", "integer, not negative"),
    ("StepName", "text: a step's name"),
    ("TagName", "text: a name, as of an agent"),
    ("RunPlanned", "object: the fields of `run.planned`"),
    (
        "Lapsing",
        "object: `at`, a time, and `undo`: `\"freeze\"`, or an object with `top_up`, a limit, or `limit` (`limit` and `on_exceed`)",
    ),
    (
        "Period",
        "object: `start` and `end`, times; the end is the first moment behind it",
    ),
    (
        "Window",
        "`\"lifetime\"`, or an object with one of `calendar` (`unit`: `\"day\"`, `{\"week\":\"monday\"}` or `{\"month\":31}`; `zone`: a name of the IANA database; `offset`: `HH:MM`, left out at midnight), `fixed` (`duration`, e.g. `\"7d\"`; `anchor`: a time, left out for 1970) and `sliding` (`duration`; `buckets`: 1 to 60, left out for 60)",
    ),
];

/// The type as it is shown: `Option` is what the italics say already.
fn shown(kind: &str) -> String {
    let inner = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    if let Some(one) = inner("Option<") {
        return shown(one);
    }
    if let Some(one) = inner("Vec<") {
        return format!("list of {}", shown(one));
    }
    if let Some(one) = inner("BTreeSet<") {
        return format!("list of {}, each once and in order", shown(one));
    }
    if let Some((key, value)) = inner("BTreeMap<").and_then(|map| map.split_once(", ")) {
        return format!("object, {} to {}", shown(key), shown(value));
    }
    assert!(is_known(kind), "give `{kind}` its form in SCALARS");
    format!("`{}`", if kind == "Arc<str>" { "String" } else { kind })
}

fn is_known(kind: &str) -> bool {
    let scalar = SCALARS.iter().any(|(name, _)| *name == kind);
    let others = ["BlockReason", "Usage"];
    scalar || others.contains(&kind) || inner_shapes().iter().any(|shape| shape.name == kind)
}

fn fields(out: &mut String, fields: &[Field]) {
    out.push_str("\n| field | type | meaning |\n|---|---|---|\n");
    for field in fields {
        let name = if field.may_be_left_out {
            format!("*`{}`*", field.name)
        } else {
            format!("`{}`", field.name)
        };
        writeln!(out, "| {name} | {} | {} |", shown(&field.kind), field.doc).unwrap();
    }
}

fn event(out: &mut String, kind: &Kind) {
    writeln!(out, "\n### `{}`\n\n{}", kind.wire, kind.doc).unwrap();
    // The facts' own sentence tells the parts.
    if let Some((_, parts)) = kind.facts.doc.split_once(". ") {
        writeln!(out, "{parts}").unwrap();
    }
    if kind.facts.fields.is_empty() {
        out.push_str("No facts.\n");
        return;
    }
    fields(out, &kind.facts.fields);
    for (_, facts) in golden()
        .iter()
        .filter(|(name, _)| *name == kind.wire)
        .take(1)
    {
        writeln!(out, "\n```json\n{facts}\n```").unwrap();
    }
}

fn shape(out: &mut String, shape: &Shape) {
    writeln!(out, "\n### `{}`\n\n{}", shape.name, shape.doc).unwrap();
    if !shape.fields.is_empty() {
        fields(out, &shape.fields);
    }
    if shape.variants.is_empty() {
        return;
    }
    out.push_str("\n| value | meaning |\n|---|---|\n");
    for variant in &shape.variants {
        let inside: Vec<String> = variant
            .fields
            .iter()
            .map(|field| format!("\"{}\": {}", field.name, field.kind))
            .collect();
        let value = match inside.as_slice() {
            [] => format!("\"{}\"", variant.word),
            _ => format!("{{\"{}\": {{{}}}}}", variant.word, inside.join(", ")),
        };
        writeln!(out, "| `{value}` | {} |", variant.doc).unwrap();
    }
}

/// The classes of usage: a macro makes the struct of the names, each with its sentence above it.
fn usage() -> Shape {
    let text = include_str!("../../src/usage.rs");
    let list = text.split_once("\nusage! {\n").unwrap().1;
    let list = list.split_once("\n}\n").unwrap().0;
    let mut fields = Vec::new();
    let mut doc = "";
    for line in list.lines().map(str::trim) {
        match line.strip_prefix("/// ") {
            Some(sentence) => doc = sentence,
            None => fields.push(Field {
                name: line.trim_end_matches(',').to_owned(),
                kind: "u64".to_owned(),
                doc: doc.to_owned(),
                may_be_left_out: true,
            }),
        }
    }
    Shape {
        name: "Usage".to_owned(),
        doc: "What a call used: disjoint classes of tokens, and counters.".to_owned(),
        fields,
        variants: Vec::new(),
    }
}

fn block_reasons() -> Shape {
    Shape {
        name: "BlockReason".to_owned(),
        doc: "Why a step is blocked.".to_owned(),
        fields: Vec::new(),
        variants: words(include_str!("../../src/event/status.rs"), "BlockReason"),
    }
}

fn render() -> String {
    let mut out = HEAD.to_owned();
    let all = kinds();
    for (module, text) in MODULES {
        let about = text.lines().next().unwrap().trim_start_matches("//! ");
        let mut letters = module.chars();
        let title = letters.next().unwrap().to_uppercase().to_string() + letters.as_str();
        writeln!(out, "\n## {title}\n\n{about}").unwrap();
        all.iter()
            .filter(|kind| kind.module == module)
            .for_each(|kind| event(&mut out, kind));
    }
    out.push_str("\n## Shapes\n\n| type | form |\n|---|---|\n");
    for (name, form) in SCALARS.iter().filter(|(name, _)| *name != "Arc<str>") {
        writeln!(out, "| `{name}` | {form} |").unwrap();
    }
    for one in inner_shapes() {
        shape(&mut out, one);
    }
    shape(&mut out, &block_reasons());
    shape(&mut out, &usage());
    out
}

#[test]
fn the_events_of_the_documentation_are_those_of_the_code() {
    hold("events.md", &render());
}
