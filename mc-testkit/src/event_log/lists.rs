//! Lists of runs: who needs attention, who is due, who waits for an agent.

use mc_core::id::{AgentName, RunId};
use mc_core::ports::{RunNeeds, RunRow};
use mc_core::time::Timestamp;

use super::Bench;
use crate::build::{folded_row, run_id};

fn agent(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

fn at(us: i64) -> Timestamp {
    Timestamp::from_unix_us(us)
}

fn needing(n: u64, needs: RunNeeds) -> RunRow {
    let mut row = folded_row(run_id(n), &[]);
    row.needs = needs;
    row
}

fn due(n: u64, us: i64) -> RunRow {
    let due = Some(at(us));
    needing(
        n,
        RunNeeds {
            due,
            ..RunNeeds::default()
        },
    )
}

pub(super) async fn needs_follow_the_rows(mut bench: Bench) {
    let first = RunNeeds {
        attention: true,
        due: Some(at(5)),
        agents: vec![agent("a"), agent("b")],
    };
    let second = RunNeeds {
        attention: false,
        due: Some(at(3)),
        agents: vec![agent("b"), agent("c")],
    };
    let steps = [first, second.clone(), second, RunNeeds::default()];
    for needs in steps {
        bench.story.row(needing(1, needs.clone()));
        bench.append().await;
        let log = bench.log();
        let one = [run_id(1)];
        let expect = |yes: bool| if yes { &one[..] } else { &[] };
        assert_eq!(
            log.runs_in_need(None, 9).await.unwrap(),
            expect(needs.attention)
        );
        assert_eq!(log.next_due().await.unwrap(), needs.due);
        for name in ["a", "b", "c"].map(agent) {
            let waiting = log.runs_waiting_for(&name, None, 9).await.unwrap();
            assert_eq!(waiting, expect(needs.agents.contains(&name)), "{name}");
        }
    }
}

pub(super) async fn due_runs_come_earliest_first(mut bench: Bench) {
    for (n, us) in [(1, 30), (2, -10), (3, 20), (4, 20), (5, i64::MAX)] {
        bench.story.row(due(n, us));
    }
    bench.append().await;
    let log = bench.log();
    let expected = [(-10, 2), (20, 3), (20, 4), (30, 1)].map(|(us, n)| (at(us), run_id(n)));
    assert_eq!(log.runs_due(at(30), 9).await.unwrap(), expected);
    assert_eq!(log.runs_due(at(29), 9).await.unwrap(), expected[..3]);
    assert_eq!(log.runs_due(at(30), 2).await.unwrap(), expected[..2]);
    assert_eq!(log.runs_due(at(i64::MAX), 9).await.unwrap().len(), 5);
    assert_eq!(log.next_due().await.unwrap(), Some(at(-10)));
}

pub(super) async fn lists_come_in_pages(mut bench: Bench) {
    for n in 0..25 {
        let needs = RunNeeds {
            attention: true,
            due: None,
            agents: vec![agent("a")],
        };
        bench.story.row(needing(n, needs));
    }
    bench.append().await;
    let expected: Vec<RunId> = (0..25).map(run_id).collect();
    let (mut in_need, mut waiting) = (Vec::<RunId>::new(), Vec::<RunId>::new());
    for _ in 0..4 {
        let log = bench.log();
        let after = in_need.last().copied();
        in_need.extend(log.runs_in_need(after, 7).await.unwrap());
        let after = waiting.last().copied();
        waiting.extend(log.runs_waiting_for(&agent("a"), after, 7).await.unwrap());
    }
    assert_eq!(in_need, expected);
    assert_eq!(waiting, expected);
}

pub(super) async fn agents_of_similar_names_are_told_apart(mut bench: Bench) {
    for (n, name) in ["a", "a-b", "aa", "b"].into_iter().enumerate() {
        let needs = RunNeeds {
            agents: vec![agent(name)],
            ..RunNeeds::default()
        };
        bench.story.row(needing(n as u64, needs));
    }
    bench.append().await;
    for (n, name) in ["a", "a-b", "aa", "b"].into_iter().enumerate() {
        let waiting = bench
            .log()
            .runs_waiting_for(&agent(name), None, 9)
            .await
            .unwrap();
        assert_eq!(waiting, [run_id(n as u64)], "{name}");
    }
}
