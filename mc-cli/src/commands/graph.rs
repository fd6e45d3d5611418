//! A workflow's steps as nodes and edges, for programs that draw or check them.
//!
//! What is *not* here: drawings for people (`mc_core::workflow::drawing`), and the whole definition
//! (`workflows show --json`).

use mc_core::workflow::{Definition, Join, Step, Work, drawing};
use serde_json::{Value, json};

/// The steps, layer by layer, and an edge from each of its needs to a step.
pub(super) fn of(definition: &Definition) -> (Vec<Value>, Vec<Value>) {
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for (layer, names) in drawing::layers(definition).into_iter().enumerate() {
        for name in names {
            let Some(step) = definition.step(name.as_str()) else {
                continue;
            };
            let mut node = json!({ "step": name, "layer": layer, "risk": step.risk });
            say_more(&mut node, step);
            nodes.push(node);
            let needs = step.needs.iter();
            edges.extend(needs.map(|need| json!({ "from": need, "to": name })));
        }
    }
    (nodes, edges)
}

/// Who does it, and what is out of the ordinary.
fn say_more(node: &mut Value, step: &Step) {
    match &step.work {
        Work::Agent(agent) => node["agent"] = json!(agent),
        Work::Uses(uses) => node["uses"] = json!(uses.to_string()),
    }
    if let Some(list) = &step.for_each {
        node["for_each"] = json!(list.as_str());
        node["max_items"] = json!(step.max_items);
    }
    if let Some(condition) = &step.when {
        node["when"] = json!(condition.as_str());
    }
    if let Join::AtLeast(count) = step.join {
        node["at_least"] = json!(count);
    }
}
