//! Reads the events' own source: the kinds with their sentences, and the shapes of their facts.
//!
//! It knows rustfmt's layout and no more of Rust: one item, field or variant a line, its sentence
//! above it. What it does not understand makes the documents differ, and their tests fail.

use std::sync::LazyLock;

/// A field of facts, or of a shape in them.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) doc: String,
    pub(crate) may_be_left_out: bool,
}

/// A variant of a shape, by its word on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) word: String,
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
}

/// A struct or an enum.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) variants: Vec<Variant>,
}

/// A kind of event.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) wire: String,
    pub(crate) module: String,
    pub(crate) doc: String,
    pub(crate) facts: Shape,
}

/// The modules of facts, in the order of the kinds.
pub(crate) const MODULES: [(&str, &str); 7] = [
    ("workspace", include_str!("../../src/event/workspace.rs")),
    ("run", include_str!("../../src/event/run.rs")),
    ("step", include_str!("../../src/event/step.rs")),
    ("nested", include_str!("../../src/event/nested.rs")),
    ("call", include_str!("../../src/event/call.rs")),
    ("approval", include_str!("../../src/event/approval.rs")),
    ("budget", include_str!("../../src/event/budget.rs")),
];
const KINDS: &str = include_str!("../../src/event/kind.rs");
/// Where the shapes inside facts are declared that are no event's own.
const SHARED: [(&str, &str); 10] = [
    ("Amount", include_str!("../../src/budget/amount.rs")),
    ("Limit", include_str!("../../src/budget/amount.rs")),
    ("OnExceed", include_str!("../../src/budget/amount.rs")),
    ("LimitMode", include_str!("../../src/budget/observed.rs")),
    ("InFlight", include_str!("../../src/budget/observed.rs")),
    ("Refusal", include_str!("../../src/budget/observed.rs")),
    ("FailingAccount", include_str!("../../src/error.rs")),
    ("PriceLayer", include_str!("../../src/pricing/layers.rs")),
    ("RiskTier", include_str!("../../src/policy/tier.rs")),
    ("Mode", include_str!("../../src/policy/mode.rs")),
];

/// The sentences above a line, and its attributes.
#[derive(Default)]
struct Above {
    doc: Vec<String>,
    attributes: String,
}

impl Above {
    /// Takes a line that belongs to the item below it.
    fn takes(&mut self, line: &str) -> bool {
        if let Some(doc) = line.strip_prefix("///") {
            self.doc.push(doc.trim().to_owned());
        } else if line.starts_with("#[") || self.is_inside_attribute() {
            self.attributes.push_str(line);
        } else {
            return false;
        }
        true
    }

    /// rustfmt gives a long attribute several lines.
    fn is_inside_attribute(&self) -> bool {
        !self.attributes.is_empty() && !self.attributes.ends_with(']')
    }

    /// The first paragraph.
    fn sentence(&self) -> String {
        let first = self.doc.iter().take_while(|line| !line.is_empty());
        first.cloned().collect::<Vec<_>>().join(" ")
    }

    fn field(&self, name: &str, kind: &str) -> Field {
        let renamed = self.attributes.split_once("rename = \"");
        let name = renamed.map_or(name, |(_, rest)| rest.split('"').next().unwrap());
        Field {
            name: name.to_owned(),
            kind: kind.trim_end_matches(',').to_owned(),
            doc: self.sentence(),
            may_be_left_out: self.attributes.contains("skip_serializing_if"),
        }
    }
}

fn snake(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// Every public struct and enum of a file, without tuples.
pub(crate) fn shapes(text: &str) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    let (mut above, mut open) = (Above::default(), false);
    for line in text.lines() {
        let (inner, depth) = (line.trim(), line.len() - line.trim_start().len());
        if above.takes(inner) {
            continue;
        }
        let head = line
            .strip_prefix("pub struct ")
            .or_else(|| line.strip_prefix("pub enum "));
        if let Some((name, rest)) = head.and_then(|head| head.split_once(" {")) {
            open = rest.is_empty();
            shapes.push(Shape {
                name: name.to_owned(),
                doc: above.sentence(),
                fields: Vec::new(),
                variants: Vec::new(),
            });
        } else if line == "}" {
            open = false;
        } else if let Some(shape) = shapes.last_mut().filter(|_| open) {
            member(shape, inner, depth, &above);
        }
        above = Above::default();
    }
    shapes
}

/// One line inside a shape: a field, a variant, or a field of the last variant.
fn member(shape: &mut Shape, line: &str, depth: usize, above: &Above) {
    match (line.strip_prefix("pub "), line.split_once(": "), depth) {
        (Some(field), _, 4) => {
            let (name, kind) = field.split_once(": ").unwrap();
            shape.fields.push(above.field(name, kind));
        }
        (None, Some((name, kind)), 8) => {
            let variant = shape.variants.last_mut().unwrap();
            variant.fields.push(above.field(name, kind));
        }
        (None, None, 4) if line.starts_with(char::is_uppercase) => {
            let name = line.trim_end_matches([',', ' ', '{']);
            shape.variants.push(Variant {
                word: snake(name),
                doc: above.sentence(),
                fields: Vec::new(),
            });
        }
        _ => {}
    }
}

/// Every `Variant = "word",` of a list of words that a macro makes, with its sentence.
pub(crate) fn words(text: &str, name: &str) -> Vec<Variant> {
    let list = text
        .split_once(&format!("    {name} {{\n"))
        .unwrap()
        .1
        .split_once("\n    }")
        .unwrap()
        .0;
    let mut above = Above::default();
    let mut words = Vec::new();
    for line in list.lines().map(str::trim) {
        if above.takes(line) {
            continue;
        }
        words.push(Variant {
            word: line.split('"').nth(1).unwrap().to_owned(),
            doc: above.sentence(),
            fields: Vec::new(),
        });
        above = Above::default();
    }
    words
}

/// Every kind of event, in the order of `event/kind.rs`.
pub(crate) fn kinds() -> &'static [Kind] {
    static READ: LazyLock<Vec<Kind>> = LazyLock::new(read_kinds);
    &READ
}

fn read_kinds() -> Vec<Kind> {
    let list = KINDS.split_once("\nkinds! {\n").unwrap().1;
    let list = list.split_once("\n}\n").unwrap().0;
    let mut above = Above::default();
    let mut kinds = Vec::new();
    for line in list.lines().map(str::trim) {
        if above.takes(line) {
            continue;
        }
        if let Some((path, rest)) = line
            .split_once('(')
            .and_then(|(_, path)| path.split_once(')'))
        {
            let (module, facts) = path.split_once("::").unwrap();
            kinds.push(Kind {
                wire: rest.split('"').nth(1).unwrap().to_owned(),
                module: module.to_owned(),
                doc: above.sentence(),
                facts: facts_of(module, facts),
            });
        }
        above = Above::default();
    }
    kinds
}

fn facts_of(module: &str, name: &str) -> Shape {
    let text = MODULES
        .iter()
        .find(|(known, _)| *known == module)
        .unwrap()
        .1;
    let shape = shapes(text).into_iter().find(|shape| shape.name == name);
    shape.unwrap()
}

/// A kind by its type.
pub(crate) fn kind(wire: &str) -> &'static Kind {
    kinds().iter().find(|kind| kind.wire == wire).unwrap()
}

/// The shapes inside facts: those that stand beside the facts, then the shared ones.
pub(crate) fn inner_shapes() -> &'static [Shape] {
    static READ: LazyLock<Vec<Shape>> = LazyLock::new(read_inner_shapes);
    &READ
}

fn read_inner_shapes() -> Vec<Shape> {
    let beside = MODULES.iter().flat_map(|(_, text)| shapes(text));
    let beside = beside.filter(|shape| !shape.doc.starts_with("Facts of"));
    let shared = SHARED.iter().map(|(name, text)| {
        let mut all = shapes(text).into_iter();
        all.find(|shape| shape.name == *name).unwrap()
    });
    beside.chain(shared).collect()
}

#[test]
fn every_kind_of_the_code_is_read_from_its_source() {
    let read: Vec<&str> = kinds().iter().map(|kind| kind.wire.as_str()).collect();
    assert_eq!(read, mc_core::event::EventKind::NAMES);
}

#[test]
fn no_item_that_is_read_is_without_its_sentence() {
    for shape in kinds().iter().map(|kind| &kind.facts).chain(inner_shapes()) {
        let fields = shape.variants.iter().flat_map(|v| &v.fields);
        let variants = shape.variants.iter().map(|variant| &variant.doc);
        let fields = fields.chain(&shape.fields).map(|field| &field.doc);
        let mut docs = fields.chain(variants).chain([&shape.doc]);
        assert!(docs.all(|doc| !doc.is_empty()), "{}", shape.name);
    }
}
