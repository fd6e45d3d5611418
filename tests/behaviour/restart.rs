//! A commit that fails: the state is read back, and what is out goes on as if nothing had happened.

use std::sync::Mutex;

use crate::common::*;
use mc_testkit::{Faults, FaultyLog};
use mission_control::Health;
use mission_control::core::error::{Detail, Error, Result};
use mission_control::core::ports::{Batch, EventLog, Recovered};

/// What the next appends do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    #[default]
    Works,
    /// The next one fails, and nothing is written.
    Fails,
    /// The next one fails, and is written all the same.
    FailsAfter,
    /// The next one fails, and nothing is written; the one after it fails, and is written.
    FailsTwice,
    /// They fail until the disk is mended.
    Full,
    /// They fail for good.
    ReadOnly,
    /// The next one fails; what is read back from then on lacks what the shared accounts hold.
    FailsAndLies,
    Lies,
}

#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Next>>);

impl Disk {
    pub fn set(&self, next: Next) {
        *self.0.lock().unwrap() = next;
    }

    fn next(&self) -> Next {
        *self.0.lock().unwrap()
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "the disk is away")
}

impl Faults for Disk {
    fn before_append(&self, _batch: &Batch) -> Result<()> {
        match self.next() {
            Next::Works | Next::FailsAfter | Next::Lies => Ok(()),
            Next::Fails => {
                self.set(Next::Works);
                Err(away())
            }
            Next::FailsTwice => {
                self.set(Next::FailsAfter);
                Err(away())
            }
            Next::FailsAndLies => {
                self.set(Next::Lies);
                Err(away())
            }
            Next::Full => Err(away().with_detail(Detail::StorageFull)),
            Next::ReadOnly => Err(away().with_detail(Detail::ReadOnly)),
        }
    }

    fn after_append(&self, _batch: &Batch) -> Result<()> {
        if self.next() == Next::FailsAfter {
            self.set(Next::Works);
            return Err(away());
        }
        Ok(())
    }

    fn opened(&self, found: &mut Recovered) -> Result<()> {
        if self.next() == Next::Lies {
            found.accounts.clear();
        }
        Ok(())
    }
}

pub fn faulty_world() -> (World, Disk) {
    let disk = Disk::default();
    let log = Arc::new(FaultyLog::new(disk.clone()));
    let start = START;
    let scenario = Scenario::new(1, start, log as Arc<dyn EventLog>);
    (World(scenario), disk)
}

const ONE: &str =
    "{ workflow: w, steps: { a: { agent: it, timeout: 100s, retry: { maximum_attempts: 1 } } } }";

/// An agent that is not done before anybody loses patience.
fn outlasts_all() -> Agent {
    agent(|ctx, _| async move {
        ctx.sleep(secs(100_000)).await;
        Ok(json!(1).into())
    })
}

#[test]
fn an_attempt_that_is_out_goes_on_over_a_failed_commit() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = world.open().await;
        let disk = disk.clone();
        let it = agent(move |ctx, _| {
            let disk = disk.clone();
            async move {
                disk.set(Next::Fails);
                call(&ctx, "p", 10, 5).await?;
                Ok(json!(ctx.attempt()).into())
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, json!(1));
        assert_eq!(control.metrics().soft_restarts, 1);
        assert_eq!(run.state().await.unwrap().spent().money, mills(5));
    });
}

#[test]
fn an_adopted_attempt_keeps_its_time_out() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = open_for(&world, "it", outlasts_all()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(60)).await;
        disk.set(Next::Fails);
        set(&control, AccountId::Workspace, 9, OnExceed::Abort).await;
        assert_eq!(count(&control, &run, "attempt.adopted").await, 1);
        assert!(matches!(run.outcome().await.unwrap(), Outcome::Failed { code, .. } if code == "timeout"));
        assert_eq!(world.elapsed(), secs(100));
    });
}

#[test]
fn a_command_for_a_run_that_is_not_in_memory_survives_a_failed_commit() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = world
            .open_with(Settings {
                resident_runs: 1,
                ..settings()
            })
            .await;
        register(&control, "it", parked()).await;
        let run = begin(&control, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        disk.set(Next::Fails);
        run.signal("ann", "go", json!("kept")).await.unwrap();
        assert_eq!(output_of(&run).await, json!("kept"));
    });
}

#[test]
fn a_commit_that_fails_although_it_was_written_is_answered_once_and_acts_once() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = open_for(&world, "it", echo()).await;
        let run = begin(&control, ONE, json!({})).await;
        run.outcome().await.unwrap();
        disk.set(Next::FailsAfter);
        let account = AccountId::Workspace;
        set(&control, account.clone(), 9, OnExceed::Abort).await;
        let all = control.log().read_workspace(0, 1_000).await.unwrap();
        let sets = all.iter().filter(|one| &*one.kind == "budget.limit_set");
        assert_eq!(sets.count(), 1);
        let limited = control.account(&account).unwrap();
        assert_eq!(limited.limit().money, Some(mills(9)));
        assert_eq!(control.metrics().soft_restarts, 1);
    });
}

#[test]
fn a_full_disk_refuses_new_work_by_name_lets_readers_read_and_heals_by_itself() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = world.open().await;
        let tried = Notes::default();
        let seen = tried.clone();
        let slow = agent(move |ctx, _| {
            seen.add("tried");
            async move {
                ctx.sleep(secs(5)).await;
                Ok(json!(1).into())
            }
        });
        register(&control, "it", slow).await;
        let run = begin(&control, ONE, json!({})).await;
        disk.set(Next::Full);
        world.pass(secs(20)).await;
        assert!(matches!(control.health(), Health::Failing { .. }));
        let refused = control.start("w", json!({}), StartOptions::by("ann")).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(matches!(refused.detail(), Some(Detail::StorageFull)));
        assert_eq!(run.state().await.unwrap().status.to_string(), "running");
        assert_eq!(
            kinds(&control, &run).await.last().unwrap(),
            "step.dispatched"
        );
        disk.set(Next::Works);
        assert_eq!(output_of(&run).await, json!(1));
        assert_eq!(tried.len(), 1, "it was neither lost nor done twice");
    });
}

#[test]
fn a_session_whose_handle_goes_while_a_commit_fails_ends_with_it_and_not_as_lost() {
    for next in [Next::Fails, Next::FailsAfter, Next::FailsTwice, Next::Full] {
        let (world, disk) = faulty_world();
        world.run(async {
            let control = world.open().await;
            let session = guard(&control).await;
            let send = |_| async { Ok(answer("ok", 1)) };
            session.model_call(&request("p", 5), send).await.unwrap();
            let run = control.run(session.id());
            disk.set(next);
            drop(session);
            world.pass(secs(5)).await;
            disk.set(Next::Works);
            completes(&run).await;
            assert_eq!(workspace(&control).exposure().money, mills(1), "{next:?}");
            assert_eq!(control.metrics().live_attempts, 0, "{next:?}");
        });
    }
}

#[test]
fn a_store_that_takes_no_writes_for_good_is_failing_and_can_be_shut_down() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = world.open().await;
        let stopped = Notes::default();
        let seen = stopped.clone();
        let it = agent(move |ctx, _| {
            let seen = seen.clone();
            async move {
                ctx.sleep(secs(1)).await;
                call(&ctx, "p", 10, 5)
                    .await
                    .inspect_err(|error| seen.add(format!("{error:?}")))?;
                Ok(json!(1).into())
            }
        });
        register(&control, "it", it).await;
        begin(&control, ONE, json!({})).await;
        disk.set(Next::ReadOnly);
        world.pass(secs(20)).await;
        let Health::Failing { error } = control.health() else {
            panic!("{:?}", control.health());
        };
        assert!(matches!(error.detail(), Some(Detail::ReadOnly)));
        assert_eq!(stopped.len(), 1, "the attempt that waited was told to stop");
        control.shutdown(secs(5)).await.unwrap_err();
        assert!(matches!(control.health(), Health::Stopped));
        world.pass(secs(5)).await;
        assert_eq!(stopped.len(), 1);
    });
}

/// Is asked to stop at its first attempt, and notes it.
fn stops_once(told: Notes) -> Agent {
    agent(move |ctx, _| {
        let told = told.clone();
        async move {
            if ctx.attempt() > 1 {
                return Ok(json!("done").into());
            }
            ctx.cancelled().await;
            told.add("told");
            let stopped = Error::new(ErrorKind::Cancelled, "as asked");
            Err(stopped.into())
        }
    })
}

#[test]
fn what_is_out_is_told_to_stop_once_the_store_takes_no_writes_for_good() {
    let (world, disk) = faulty_world();
    world.run(async {
        let told = Notes::default();
        let control = open_for(&world, "it", stops_once(told.clone())).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it, risk: read } } }";
        let run = begin(&control, yaml, json!({})).await;
        // A session's host is in charge of it: it goes on once there are writes again.
        let session = guard(&control).await;
        world.pass(secs(1)).await;
        disk.set(Next::ReadOnly);
        let account = AccountId::Workspace;
        let of = limit(900);
        let refused = control.set_limit(("ann", "as tested"), account, of, OnExceed::Abort);
        refused.await.unwrap_err();
        world.pass(secs(5)).await;
        assert_eq!(told.len(), 1, "while the store is away");
        disk.set(Next::Works);
        assert_eq!(output_of(&run).await, json!("done"));
        assert_eq!(told.len(), 1);
        let admission = session.reserve(&request("p", 10)).await.unwrap();
        assert!(matches!(admission, Admission::Allowed(_)), "{admission:?}");
    });
}

#[test]
fn a_full_disk_tells_nobody_to_stop() {
    let (world, disk) = faulty_world();
    world.run(async {
        let told = Notes::default();
        let control = open_for(&world, "it", stops_once(told.clone())).await;
        begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        disk.set(Next::Full);
        let account = AccountId::Workspace;
        let of = limit(900);
        let refused = control.set_limit(("ann", "as tested"), account, of, OnExceed::Abort);
        refused.await.unwrap_err();
        world.pass(secs(20)).await;
        assert_eq!(told.len(), 0);
    });
}

#[test]
fn a_state_that_contradicts_the_log_stops_the_engine_after_a_few_tries() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            let permit = ctx.reserve(&request("p", 10)).await?;
            ctx.sleep(secs(10)).await;
            drop(permit);
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it } } }";
        let run = begin(&control, yaml, json!({})).await;
        world.pass(secs(1)).await;
        disk.set(Next::FailsAndLies);
        let account = AccountId::Workspace;
        set(&control, account, 900, OnExceed::Abort).await;
        world.pass(secs(1_000)).await;
        let Health::Failing { error } = control.health() else {
            panic!("{:?}", control.health());
        };
        assert!(error.to_string().contains("contradict"), "{error}");
        let epochs = control.log().read_workspace(0, 1_000).await.unwrap();
        let epochs = epochs.iter().filter(|one| &*one.kind == "epoch.started");
        assert!(epochs.count() < 8);
        assert_eq!(run.state().await.unwrap().status.to_string(), "running");
        control.shutdown(secs(5)).await.unwrap_err();
    });
}

#[test]
fn a_time_out_that_a_failed_commit_swallowed_comes_again() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = open_for(&world, "it", outlasts_all()).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(60)).await;
        // The next commit is that of the time-out.
        disk.set(Next::Fails);
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "timeout"));
        assert!(world.elapsed() <= secs(102));
    });
}

#[test]
fn a_batch_that_was_not_written_is_not_taken_for_written_by_the_next_try() {
    let (world, disk) = faulty_world();
    world.run(async {
        let control = world.open().await;
        let (first, second) = (disk.clone(), Notes::default());
        let sent = second.clone();
        let it = agent(move |ctx, _| {
            let (disk, sent) = (first.clone(), sent.clone());
            async move {
                // The reservation is not written; the recovery's commit is, and fails all the same.
                disk.set(Next::FailsTwice);
                let request = request("p", 10);
                let done = ctx.model_call(&request, |_| async {
                    sent.add("sent");
                    Ok(answer("ok", 5))
                });
                done.await?;
                Ok(json!(1).into())
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, json!(1));
        assert_eq!(count(&control, &run, "model_call.reserved").await, 1);
        assert_eq!(run.state().await.unwrap().spent().money, mills(5));
        assert_eq!(second.len(), 1);
    });
}
