//! Composition at publishing: what is used has to be there, and no workflow uses itself.

use crate::common::*;
use crate::nested::{GATE, outer, publish};
use mission_control::Detail;
use mission_control::core::error::WorkflowProblem;

#[test]
fn a_version_that_is_not_there_and_a_circle_are_refused_when_published() {
    let world = World::seeded(19);
    world.run(async {
        let control = open_for(&world, "it", echo()).await;
        let yaml = "{ workflow: w, steps: { a: { uses: 'w@1' }, b: { uses: 'gone@7' } } }";
        let error = control
            .publish(Workflow::from_yaml(yaml).unwrap())
            .await
            .unwrap_err();
        let Some(Detail::Workflow(problems)) = error.detail() else {
            panic!("{error:?}");
        };
        let [
            WorkflowProblem::Form { at, .. },
            WorkflowProblem::Cycle { path },
        ] = &problems[..]
        else {
            panic!("{problems:?}");
        };
        assert_eq!(
            (at.as_str(), path.join(" -> ")),
            ("/steps/b/uses", "w@1 -> w@1".to_owned())
        );
        publish(&control, GATE).await;
        publish(&control, &outer("")).await;
    });
}
