//! Commands and their events: no event without a command, and one group of events a command.

use mc_testkit::simulate::broken_groups;
use mission_control::core::id::{Actor, CommandId};

use crate::common::*;

fn calls() -> Agent {
    agent(|ctx, _| async move {
        call(&ctx, "p", 100, 10).await?;
        Ok(json!(1).into())
    })
}

async fn all(control: &MissionControl) -> Vec<Record> {
    control.log().read_workspace(0, 100_000).await.unwrap()
}

#[test]
fn the_first_events_of_a_workspace_belong_to_the_command_that_opened_it() {
    let world = World::seeded(1);
    world.run(async {
        let first = world.open().await;
        let created = all(&first).await;
        assert!(created.len() >= 3);
        let ids: Vec<CommandId> = created.iter().map(|event| event.cmd_id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_ne!(ids[0], CommandId::NIL);
        world.crash();
        let second = world.open().await;
        let reopened = all(&second).await;
        assert_ne!(reopened.last().unwrap().cmd_id, ids[0]);
        assert_eq!(broken_groups(&reopened), []);
    });
}

#[test]
fn a_call_that_waited_its_turn_stands_among_the_events_of_what_made_room() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        for name in ["one", "two"] {
            control.register_agent(name, calls()).await.unwrap();
        }
        let set = control.set_limit(
            ("ann", "as tested"),
            AccountId::Workspace,
            limit(150),
            OnExceed::Abort,
        );
        set.await.unwrap();
        let yaml = "{ workflow: w, steps: { a: { agent: one }, b: { agent: two } } }";
        let run = begin(&control, yaml, json!({})).await;
        run.outcome().await.unwrap();
        let events = events(&control, &run).await;
        let of = |kind: &str, n: usize| {
            let mut found = events.iter().filter(|event| &*event.kind == kind);
            found.nth(n).unwrap()
        };
        let (room, taken) = (of("model_call.settled", 0), of("model_call.reserved", 1));
        assert_eq!(taken.cmd_id, room.cmd_id);
        let (owner, other) = if taken.facts.contains("\"step\":\"a\"") {
            ("one", "two")
        } else {
            ("two", "one")
        };
        assert_eq!(room.actor, Actor::Agent(other.parse().unwrap()));
        assert_eq!(taken.actor, Actor::Agent(owner.parse().unwrap()));
        assert_eq!(broken_groups(&all(&control).await), []);
    });
}
