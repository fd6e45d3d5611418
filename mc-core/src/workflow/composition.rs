//! Composition across workflows: whether what a definition uses exists, comes to an end, and is not
//! nested too deep.
//!
//! A pure function over whatever versions are known; who stores them asks here before it stores one.

use std::collections::BTreeMap;

use super::definition::Definition;
use super::limits::MAX_NESTING;
use super::uses::Uses;
use crate::error::WorkflowProblem;
use crate::id::StepName;

/// The versions that are known.
pub trait Known {
    /// The definition of a version.
    fn definition(&self, uses: &Uses) -> Option<&Definition>;
}

/// Every problem of what a definition uses, when it is to be the version `own`: versions that do
/// not exist, circles by their whole path, and nesting that is too deep.
pub fn problems(definition: &Definition, own: &Uses, known: &impl Known) -> Vec<WorkflowProblem> {
    let mut search = Search {
        known,
        own,
        depths: BTreeMap::new(),
        circles: Vec::new(),
    };
    let mut problems = Vec::new();
    for (step, uses) in definition.composed() {
        let mut path = vec![own.clone()];
        match search.depth(uses, &mut path) {
            Found::Unknown(which) => problems.push(unknown(step, uses, &which)),
            Found::Deep(below) if below + 1 > MAX_NESTING => problems.push(too_deep(step)),
            Found::Circle | Found::Deep(_) => {}
        }
    }
    for path in search.circles {
        problems.push(WorkflowProblem::Cycle { path });
    }
    problems
}

fn unknown(step: &StepName, uses: &Uses, which: &Uses) -> WorkflowProblem {
    let rule = if uses == which {
        format!("`{uses}` is not published; publish it first, or use a version that is")
    } else {
        format!("`{uses}` uses `{which}`, which is not published")
    };
    let at = format!("/steps/{step}/uses");
    WorkflowProblem::Form { at, rule }
}

fn too_deep(step: &StepName) -> WorkflowProblem {
    WorkflowProblem::Limit {
        name: "levels of nesting".to_owned(),
        max: u64::try_from(MAX_NESTING).unwrap_or(u64::MAX),
        at: format!("/steps/{step}/uses"),
    }
}

/// What is below a version.
#[derive(Clone, Debug)]
enum Found {
    /// So many levels.
    Deep(usize),
    /// A version that is not known.
    Unknown(Uses),
    /// It leads back to where it began.
    Circle,
}

struct Search<'a, K> {
    known: &'a K,
    own: &'a Uses,
    depths: BTreeMap<Uses, Found>,
    circles: Vec<Vec<String>>,
}

impl<K: Known> Search<'_, K> {
    fn depth(&mut self, uses: &Uses, path: &mut Vec<Uses>) -> Found {
        if let Some(at) = path.iter().position(|one| one == uses) {
            let circle = path.iter().skip(at).chain([uses]);
            self.circles.push(circle.map(ToString::to_string).collect());
            return Found::Circle;
        }
        if let Some(found) = self.depths.get(uses) {
            return found.clone();
        }
        let Some(definition) = self.known.definition(uses) else {
            return Found::Unknown(uses.clone());
        };
        let all: Vec<Uses> = definition
            .composed()
            .map(|(_, uses)| uses.clone())
            .collect();
        path.push(uses.clone());
        let mut deepest = Found::Deep(0);
        for below in &all {
            // Deeper than any that may be stored: the rest of it says nothing new.
            if path.len() > MAX_NESTING + 1 {
                deepest = Found::Deep(MAX_NESTING);
                break;
            }
            match (self.depth(below, path), &deepest) {
                (Found::Deep(levels), Found::Deep(most)) => {
                    deepest = Found::Deep((levels + 1).max(*most));
                }
                (found @ (Found::Unknown(_) | Found::Circle), Found::Deep(_)) => deepest = found,
                (_, Found::Unknown(_) | Found::Circle) => {}
            }
        }
        path.pop();
        if uses != self.own {
            self.depths.insert(uses.clone(), deepest.clone());
        }
        deepest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Workflow;

    #[derive(Default)]
    struct Store(BTreeMap<Uses, Workflow>);

    impl Known for Store {
        fn definition(&self, uses: &Uses) -> Option<&Definition> {
            self.0.get(uses).map(|flow| &**flow.definition())
        }
    }

    fn flow(name: &str, uses: &[&str]) -> Workflow {
        let steps: Vec<String> = uses
            .iter()
            .enumerate()
            .map(|(n, uses)| format!("u{n}: {{ uses: '{uses}' }}"))
            .collect();
        let text = format!(
            "{{ workflow: {name}, steps: {{ a: {{ agent: x }}, {} }} }}",
            steps.join(", ")
        );
        Workflow::from_yaml(text.trim_end_matches(", ")).unwrap()
    }

    impl Store {
        fn with(mut self, version: &str, uses: &[&str]) -> Self {
            let version: Uses = version.parse().unwrap();
            let flow = flow(version.workflow.as_str(), uses);
            self.0.insert(version, flow);
            self
        }

        fn problems(&self, version: &str, uses: &[&str]) -> Vec<String> {
            let version: Uses = version.parse().unwrap();
            let flow = flow(version.workflow.as_str(), uses);
            problems(flow.definition(), &version, self)
                .iter()
                .map(ToString::to_string)
                .collect()
        }
    }

    #[test]
    fn every_version_that_does_not_exist_is_named_with_its_place() {
        let store = Store::default().with("b@1", &[]).with("c@1", &["z@1"]);
        assert_eq!(
            store.problems("a@1", &["b@2", "b@1", "c@1"]),
            [
                "/steps/u0/uses: `b@2` is not published; publish it first, or use a version that is",
                "/steps/u2/uses: `c@1` uses `z@1`, which is not published",
            ]
        );
    }

    #[test]
    fn a_circle_is_named_by_its_whole_path_across_workflows() {
        let store = Store::default().with("b@2", &["a@1"]);
        assert_eq!(
            store.problems("a@1", &["b@2"]),
            ["cycle: a@1 -> b@2 -> a@1"]
        );
        assert_eq!(store.problems("a@1", &["a@1"]), ["cycle: a@1 -> a@1"]);
    }

    #[test]
    fn an_older_version_of_itself_is_no_circle() {
        let store = Store::default().with("a@1", &[]);
        assert_eq!(store.problems("a@2", &["a@1"]), Vec::<String>::new());
    }

    #[test]
    fn eight_levels_may_be_nested_and_no_more() {
        let mut store = Store::default().with("w@9", &[]);
        for level in (1..9).rev() {
            store = store.with(&format!("w@{level}"), &[&format!("w@{}", level + 1)]);
        }
        assert_eq!(store.problems("top@1", &["w@2"]), Vec::<String>::new());
        assert_eq!(
            store.problems("top@1", &["w@1"]),
            ["/steps/u0/uses: more than 8 levels of nesting"]
        );
    }
}
