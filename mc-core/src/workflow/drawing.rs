//! Drawings of a definition: a text with one line a step, and a picture as SVG.
//!
//! Steps stand in layers: one that needs nothing in the first, every other one layer behind the last
//! of its needs. The same definition gives the same drawing, byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::definition::{Definition, Join, Step};
use super::uses::Work;
use crate::id::StepName;
use crate::policy::RiskTier;

/// Steps layer by layer, the first to run first.
pub fn layers(definition: &Definition) -> Vec<Vec<&StepName>> {
    let mut depth: BTreeMap<&StepName, usize> = BTreeMap::new();
    let mut ready: Vec<&StepName> = definition.roots().collect();
    let mut missing: BTreeMap<&StepName, usize> = definition
        .steps()
        .iter()
        .map(|(name, step)| (name, step.needs.len()))
        .collect();
    while let Some(name) = ready.pop() {
        let own = depth.get(name).copied().unwrap_or(0);
        depth.insert(name, own);
        for after in definition.dependents().get(name).into_iter().flatten() {
            let deeper = depth.entry(after).or_default();
            *deeper = (*deeper).max(own + 1);
            if let Some(open) = missing.get_mut(after) {
                *open -= 1;
                if *open == 0 {
                    ready.push(after);
                }
            }
        }
    }
    let mut layers = vec![Vec::new(); depth.values().max().map_or(0, |last| last + 1)];
    for (name, at) in depth {
        layers[at].push(name);
    }
    layers
}

/// A line a step, in the order in which they can run: its name, its agent, what it needs, and what is
/// out of the ordinary.
pub fn text(definition: &Definition) -> String {
    let steps = definition.steps();
    let widest = |of: fn(&StepName, &Step) -> usize| {
        let widths = steps.iter().map(|(name, step)| of(name, step));
        widths.max().unwrap_or(0)
    };
    let names = widest(|name, _| name.as_str().len());
    let workers = widest(|_, step| worker(step).len());
    let mut out = String::new();
    for name in layers(definition).into_iter().flatten() {
        let Some(step) = steps.get(name) else {
            continue;
        };
        let needs: Vec<&str> = step.needs.iter().map(StepName::as_str).collect();
        let (first, worker) = (name.as_str(), worker(step));
        let mut line = format!("{first:names$}  {worker:workers$}");
        if !needs.is_empty() {
            let _ = write!(line, "  <- {}", needs.join(", "));
        }
        for note in notes(step) {
            let _ = write!(line, "  [{note}]");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Who does a step: an agent, or another workflow, which says so.
fn worker(step: &Step) -> String {
    match &step.work {
        Work::Agent(agent) => agent.to_string(),
        Work::Uses(uses) => format!("uses {uses}"),
    }
}

/// What is out of the ordinary about a step.
fn notes(step: &Step) -> Vec<String> {
    let mut notes = Vec::new();
    if step.for_each.is_some() {
        notes.push(format!("for each, at most {}", step.max_items));
    }
    if step.when.is_some() {
        notes.push("when".to_owned());
    }
    if let Join::AtLeast(count) = step.join {
        notes.push(format!("at least {count}"));
    }
    match step.risk {
        RiskTier::Write => {}
        RiskTier::Read | RiskTier::Irreversible | RiskTier::Financial => {
            notes.push(step.risk.to_string());
        }
    }
    notes
}

const WIDTH: usize = 190;
const HEIGHT: usize = 52;
const GAP_X: usize = 70;
const GAP_Y: usize = 22;
const MARGIN: usize = 16;
/// The most characters of a line in a box.
const LINE: usize = 24;

/// A picture: a column a layer, from left to right, an arrow for each need.
pub fn svg(definition: &Definition) -> String {
    let layers = layers(definition);
    let rows = rows(definition, &layers);
    let deepest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let places = places(&rows, deepest);
    let width = 2 * MARGIN + (layers.len() * (WIDTH + GAP_X)).saturating_sub(GAP_X);
    let height = 2 * MARGIN + (deepest * (HEIGHT + GAP_Y)).saturating_sub(GAP_Y);
    let title = escaped(definition.name().as_str());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\">\n<title>{title}</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#64748b\"/></marker></defs>\n"
    );
    for (name, step) in definition.steps() {
        for need in &step.needs {
            arrow(&mut out, &way(&places, need, name));
        }
        for place in places.get(&(name, name)).into_iter().flatten() {
            step_box(&mut out, *place, (name, step));
        }
    }
    out.push_str("</svg>\n");
    out
}

/// What stands in a row of a column: a step, as the pair of itself, or an arrow on its way from a step
/// to one further on, which must not run behind a box.
type Slot<'a> = (&'a StepName, &'a StepName);
/// The upper left corner of a slot.
type Place = (usize, usize);
/// The places of each slot, from left to right: an arrow may pass several columns.
type Places<'a> = BTreeMap<Slot<'a>, Vec<Place>>;

/// The slots of each column: its steps, then the arrows that pass.
fn rows<'a>(definition: &'a Definition, layers: &[Vec<&'a StepName>]) -> Vec<Vec<Slot<'a>>> {
    let mut rows: Vec<Vec<Slot<'a>>> = layers
        .iter()
        .map(|layer| layer.iter().map(|name| (*name, *name)).collect())
        .collect();
    let column = |wanted: &StepName| layers.iter().position(|layer| layer.contains(&wanted));
    for (name, step) in definition.steps() {
        for need in &step.needs {
            let (Some(from), Some(to)) = (column(need), column(name)) else {
                continue;
            };
            for passed in rows.iter_mut().take(to).skip(from + 1) {
                passed.push((need, name));
            }
        }
    }
    rows
}

/// Where each slot is, in the order of its columns; shorter columns stand in the middle.
fn places<'a>(rows: &[Vec<Slot<'a>>], deepest: usize) -> Places<'a> {
    let mut places = Places::new();
    for (column, slots) in rows.iter().enumerate() {
        let above = (deepest - slots.len()) * (HEIGHT + GAP_Y) / 2;
        for (row, slot) in slots.iter().enumerate() {
            let x = MARGIN + column * (WIDTH + GAP_X);
            let y = MARGIN + above + row * (HEIGHT + GAP_Y);
            places.entry(*slot).or_default().push((x, y));
        }
    }
    places
}

/// The places that an arrow touches, from its need to its step.
fn way(places: &Places<'_>, need: &StepName, name: &StepName) -> Vec<Place> {
    let slots = [(need, need), (need, name), (name, name)];
    let touched = slots.iter().filter_map(|slot| places.get(slot));
    touched.flatten().copied().collect()
}

/// A line from box to box, straight where it passes a column.
fn arrow(out: &mut String, way: &[Place]) {
    let mut path = String::new();
    for pair in way.windows(2) {
        let (x1, y1) = (pair[0].0 + WIDTH, pair[0].1 + HEIGHT / 2);
        let (x2, y2) = (pair[1].0, pair[1].1 + HEIGHT / 2);
        let (c1, c2) = (x1 + GAP_X / 2, x2 - GAP_X / 2);
        let begin = if path.is_empty() { "M" } else { "L" };
        let _ = write!(path, "{begin}{x1} {y1} C{c1} {y1} {c2} {y2} {x2} {y2} ");
    }
    let path = path.trim_end();
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#64748b\" marker-end=\"url(#tip)\"/>"
    );
}

fn step_box(out: &mut String, (x, y): Place, (name, step): (&StepName, &Step)) {
    let colour = match (&step.work, step.risk) {
        (Work::Uses(_), _) => "#7c3aed",
        (Work::Agent(_), RiskTier::Read) => "#16a34a",
        (Work::Agent(_), RiskTier::Write) => "#334155",
        (Work::Agent(_), RiskTier::Irreversible) => "#ea580c",
        (Work::Agent(_), RiskTier::Financial) => "#dc2626",
    };
    // A frame in the frame: there are steps inside.
    let inner = match &step.work {
        Work::Agent(_) => String::new(),
        Work::Uses(_) => format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\" fill=\"none\" \
             stroke=\"{colour}\" stroke-width=\"0.75\"/>",
            x + 4,
            y + 4,
            WIDTH - 8,
            HEIGHT - 8
        ),
    };
    let whole = std::iter::once(worker(step)).chain(notes(step));
    let whole: Vec<String> = whole.collect();
    let (first, second) = (shortened(name.as_str()), shortened(&whole.join(", ")));
    let tip = escaped(&format!("{name}: {}", whole.join(", ")));
    let (middle, upper, lower) = (x + WIDTH / 2, y + 22, y + 40);
    let _ = writeln!(
        out,
        "<g><title>{tip}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" \
         fill=\"#fff\" stroke=\"{colour}\" stroke-width=\"1.5\"/>{inner}<text x=\"{middle}\" y=\"{upper}\" \
         text-anchor=\"middle\" font-size=\"14\" fill=\"#0f172a\">{first}</text><text x=\"{middle}\" \
         y=\"{lower}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#475569\">{second}</text></g>"
    );
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LINE {
        return escaped(text);
    }
    let kept: String = text.chars().take(LINE - 3).collect();
    escaped(&(kept + "..."))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Workflow;

    const FLOW: &str = "
workflow: pipeline
steps:
  research: { agent: researcher, risk: read }
  angle: { agent: analyst, needs: [research], for_each: \"[1, 2]\", max_items: 20 }
  check: { agent: analyst, needs: [research] }
  draft: { agent: writer, needs: [angle, check], when: \"true\" }
  publish: { agent: publisher, needs: [draft, research], risk: irreversible }
";

    fn flow() -> Workflow {
        Workflow::from_yaml(FLOW).unwrap()
    }

    #[test]
    fn a_step_stands_behind_the_last_of_its_needs() {
        let flow = flow();
        let layers = layers(flow.definition());
        let names: Vec<Vec<&str>> = layers
            .iter()
            .map(|layer| layer.iter().map(|name| name.as_str()).collect())
            .collect();
        let expected: [&[&str]; 4] = [&["research"], &["angle", "check"], &["draft"], &["publish"]];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_text_has_a_line_a_step_in_an_order_in_which_they_can_run() {
        let drawn = text(flow().definition());
        let expected = "\
research  researcher  [read]
angle     analyst     <- research  [for each, at most 20]
check     analyst     <- research
draft     writer      <- angle, check  [when]
publish   publisher   <- draft, research  [irreversible]
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn the_picture_has_a_box_a_step_and_an_arrow_a_need() {
        let drawn = svg(flow().definition());
        assert_eq!(drawn.matches("<rect ").count(), 5);
        assert_eq!(drawn.matches("marker-end").count(), 6);
        // The one that passes two columns has a row of its own in each.
        assert_eq!(drawn.matches(" L").count(), 2);
        assert_eq!(drawn, svg(flow().definition()));
    }

    #[test]
    fn a_composed_step_shows_what_it_uses_and_has_a_frame_in_its_frame() {
        let yaml =
            "{ workflow: w, steps: { a: { agent: x }, qa: { uses: 'gate@3', needs: [a] } } }";
        let flow = Workflow::from_yaml(yaml).unwrap();
        assert_eq!(text(flow.definition()), "a   x\nqa  uses gate@3  <- a\n");
        let drawn = svg(flow.definition());
        assert_eq!(drawn.matches("<rect ").count(), 3);
        assert!(drawn.contains("<title>qa: uses gate@3</title>"));
    }

    #[test]
    fn names_of_any_length_stay_in_their_box() {
        let long = "a".repeat(120);
        let yaml = format!("{{ workflow: w, steps: {{ {long}: {{ agent: x }} }} }}");
        let flow = Workflow::from_yaml(yaml).unwrap();
        let drawn = svg(flow.definition());
        assert!(drawn.contains(&format!(">{}...</text>", &long[..LINE - 3])));
        assert!(drawn.contains(&format!("<title>{long}: x</title>")));
    }
}
