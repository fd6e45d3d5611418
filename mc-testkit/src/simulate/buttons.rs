//! What operators and hosts of a world do, one button after the other.
//!
//! What is refused is refused: the invariants judge, not the button. What is acknowledged has to be
//! in the log (I8).

use std::sync::Arc;

use mc_core::budget::{AccountId, Amount, Limit, OnExceed};
use mc_core::engine::{
    Admission, Budget, MissionControl, ModelAnswer, RunHandle, Session, SessionOptions,
    StartOptions,
};
use mc_core::event::RunStatus;
use mc_core::event::run::{PlanCheck, RunBudget, RunPolicy};
use mc_core::id::{RunId, StepKey, StepName};
use mc_core::money::NanoUsd;
use mc_core::ports::Clock as _;
use mc_core::sequencer::Settings;
use mc_core::usage::Usage;
use mc_core::workflow::Workflow;
use serde_json::json;

use super::checker::Checker;
use super::disk::Disk;
use super::draw::Draw;
use super::habits::Habits;
use super::handlers::Working;
use super::nesting::Shelf;
use super::redrives;
use super::script::{AGENTS, Scripted, TAG, request, tag_account, workflow};

/// Windows that end while a world lasts, and one that does not.
const WINDOWS: [&str; 5] = [
    "fixed 3s",
    "sliding 10s 4",
    "fixed 1m",
    "day Europe/Berlin",
    "lifetime",
];

/// The step of every session.
const SESSION_STEP: &str = "session";

/// The desk of a process: who sits there presses buttons.
pub(super) struct Desk<'a> {
    pub(super) control: MissionControl,
    /// The agents of the process, for what they share.
    pub(super) agent: Scripted,
    pub(super) draw: &'a mut Draw,
    pub(super) runs: &'a mut Vec<RunId>,
    pub(super) habits: Habits,
    pub(super) sessions: Vec<Arc<Opened>>,
    /// What its flows may use.
    pub(super) shelf: Shelf,
}

/// An open session, and that this process has it.
pub(super) struct Opened {
    session: Session,
    working: Working,
}

impl Desk<'_> {
    /// I8 of a reply.
    pub(super) fn acknowledged(&self, what: &str, is_in_the_log: impl FnOnce(&Checker) -> bool) {
        let faults = self.agent.log.faults();
        faults.checker(|checker| checker.acknowledged(what, is_in_the_log));
    }

    /// One button, drawn.
    pub(super) async fn press(&mut self) {
        if self.habits.nests() && self.draw.one_in(6) {
            return self.redrive().await;
        }
        let run = if self.habits.nests() && self.draw.one_in(3) {
            self.nested()
        } else {
            self.draw.pick(self.runs).copied()
        };
        let run = run.map(|run| self.control.run(run));
        if self.habits.asks() && self.draw.one_in(2) {
            self.answer(run).await;
        } else {
            self.turn(run).await;
        }
    }

    /// Lets a run that failed go on, from the step that failed or from another.
    async fn redrive(&mut self) {
        let faults = self.agent.log.faults();
        let failed: Vec<(RunId, Vec<StepName>)> = faults.checker(|checker| {
            let failed = checker.runs().values();
            let failed = failed.filter(|run| run.status == RunStatus::Failed);
            failed
                .map(|run| {
                    let names = run.steps.keys().filter(|key| key.index().is_none());
                    let names = names.filter_map(|key| StepName::new(key.name()).ok());
                    (run.run_id, names.collect())
                })
                .collect()
        });
        let Some((run, names)) = self.draw.pick(&failed).cloned() else {
            return;
        };
        let from = redrives::from(&names, self.draw);
        let redriven = self.control.redrive(run, from.as_ref(), "ann", "as drawn");
        if redriven.await.is_ok() {
            self.acknowledged("a redrive", |log| {
                let records = log.records().iter().rev();
                let mut own = records.filter(|record| record.run_id == run);
                own.any(|record| &*record.kind == "run.redriven")
            });
        }
    }

    /// A run that is nested in another, if there is one.
    fn nested(&mut self) -> Option<RunId> {
        let faults = self.agent.log.faults();
        let nested: Vec<RunId> = faults.checker(|checker| {
            let nested = checker.runs().values();
            let nested = nested.filter(|run| run.outer().is_some() && !run.sealed);
            nested.map(|run| run.run_id).collect()
        });
        self.draw.pick(&nested).copied()
    }

    /// One button of those that every world has.
    async fn turn(&mut self, run: Option<RunHandle>) {
        let disk = |disk| self.agent.log.faults().set(disk);
        match (self.draw.below(self.habits.choices(12, 6)), run) {
            (0, Some(run)) => self.abort(&run).await,
            (1, Some(run)) => drop(run.pause(("ann", "as drawn")).await),
            (2, Some(run)) => drop(run.resume(("ann", "as drawn")).await),
            (3, Some(run)) => drop(run.signal("ann", "go", json!({"n": 1})).await),
            (4, Some(run)) => self.reconcile(&run).await,
            (5, Some(run)) => {
                let steps = ["s0", "s1", "s2"];
                let step = self.draw.pick(&steps);
                if let Some(step) = step.and_then(|name| name.parse::<StepKey>().ok()) {
                    drop(run.unblock(("ann", "as drawn"), &step).await);
                }
            }
            (6, _) => self.limit().await,
            (7, _) => disk(Disk::FailsBefore),
            (8, _) => disk(Disk::FailsAfter),
            (9, _) if self.draw.one_in(2) => disk(Disk::Full(2)),
            (12 | 13, _) => self.open_session().await,
            (14 | 15, _) => self.use_session(),
            (16, _) => self.close_session().await,
            (17, _) => self.set_the_clock(),
            _ => self.start().await,
        }
    }

    async fn abort(&self, run: &RunHandle) {
        if run.abort(("ann", "as drawn")).await.is_ok() {
            self.acknowledged("an abort", |log| {
                log.runs()
                    .get(&run.id())
                    .is_some_and(|run| run.status.is_terminal())
            });
        }
    }

    async fn limit(&mut self) {
        let account = match self.draw.pick(&AGENTS).and_then(|name| name.parse().ok()) {
            Some(agent) if self.draw.one_in(2) => AccountId::Agent(agent),
            _ if self.draw.one_in(4) => tag_account(),
            _ => AccountId::Workspace,
        };
        let nano = i64::try_from(self.draw.below(60)).unwrap_or(0) * 1_000_000;
        let limit = Limit::usd(NanoUsd::from_nano(nano));
        let mut budget = Budget::of(account.clone())
            .limit(limit)
            .on_exceed(OnExceed::Pause);
        if self.draw.one_in(2)
            && let Some(window) = self.draw.pick(&WINDOWS).and_then(|one| one.parse().ok())
        {
            budget = budget.window(window);
        }
        match self.draw.below(5) {
            0 => budget = budget.observe(),
            1 => budget = budget.halt_in_flight(),
            _ => {}
        }
        if self
            .control
            .set_budget(("ann", "as drawn"), budget)
            .await
            .is_ok()
        {
            self.acknowledged("a limit", |log| {
                let account = log.accounts().get(&account);
                account.is_some_and(|account| *account.limit() == limit)
            });
        }
    }

    async fn start(&mut self) {
        let name = format!("flow{}", self.draw.below(3));
        let (text, runs) = workflow(&name, self.draw, (self.habits, &self.shelf));
        let Ok(definition) = Workflow::from_yaml(text) else {
            return;
        };
        let hash = definition.hash();
        let Ok(published) = self.control.publish(definition).await else {
            return;
        };
        let version = format!("{}@{}", published.workflow, published.version);
        self.shelf.put(version, runs);
        self.acknowledged("a definition", |log| log.workflows().contains_key(&hash));
        let input = json!({"list": [1, 2, 3]});
        let mut options = StartOptions::by("ann");
        if self.draw.one_in(3) {
            options.policy = Some(RunPolicy {
                plan_check: PlanCheck::Reserving,
                ..Settings::default().run_policy
            });
        }
        if self.draw.one_in(2) {
            options.tags = vec![TAG.to_owned()];
        }
        let started = self.control.start(&name, input, options);
        if let Ok(run) = started.await {
            self.acknowledged("a start", |log| log.runs().contains_key(&run.id()));
            self.runs.push(run.id());
        }
    }

    async fn reconcile(&mut self, run: &RunHandle) {
        for (hold, amount) in run.doubts().await.unwrap_or_default() {
            let actual = if self.draw.one_in(2) {
                amount
            } else {
                Amount::ZERO
            };
            drop(
                run.reconcile("ann", &hold, actual, "the provider's bill")
                    .await,
            );
        }
    }

    async fn open_session(&mut self) {
        let agent = self.draw.pick(&AGENTS).copied().unwrap_or("ann");
        let limit = Limit::usd(NanoUsd::from_nano(
            i64::try_from(1 + self.draw.below(40)).unwrap_or(1) * 1_000_000,
        ));
        let budget = self.draw.one_in(2).then_some(RunBudget {
            limit,
            on_exceed: OnExceed::Abort,
        });
        let options = SessionOptions {
            budget,
            ..SessionOptions::default()
        };
        let Ok(session) = self.control.guard(agent, options).await else {
            return;
        };
        let run = session.id();
        self.acknowledged("a session", |log| log.runs().contains_key(&run));
        self.runs.push(run);
        if let Ok(step) = SESSION_STEP.parse::<StepKey>() {
            let working = self.agent.handlers.work((run, step, 1));
            self.sessions.push(Arc::new(Opened { session, working }));
        }
    }

    /// A call of a session: answered, billed too high, or dropped. It may wait for a turn that only
    /// this desk can give it, so it is not waited for.
    fn use_session(&mut self) {
        let at = self.draw.below(self.sessions.len() as u64);
        let at = usize::try_from(at).unwrap_or(0);
        let (Some(opened), Ok(request)) = (self.sessions.get(at), request(self.draw)) else {
            return;
        };
        let (opened, log) = (Arc::clone(opened), self.agent.log.clone());
        let (dropped, used) = (self.draw.one_in(4), 1 + self.draw.below(150));
        let call = async move {
            let reserved = opened.session.reserve(&request).await;
            let Ok(Admission::Allowed(permit)) = reserved else {
                return;
            };
            let (run, step, attempt) = &opened.working.attempt;
            log.faults().checker(|checker| {
                checker.acknowledged("a permit of a session", |log| {
                    log.holds(*run, step, *attempt)
                });
            });
            if !dropped {
                let answer = ModelAnswer::text("ok", Usage::text(used, used));
                drop(permit.settle(&answer).await);
            }
        };
        self.agent.spawner.spawn_handler(Box::pin(call));
    }

    async fn close_session(&mut self) {
        let Some(opened) = self.sessions.pop() else {
            return;
        };
        // One with a call under way ends when the call has.
        let (false, Ok(opened)) = (self.draw.one_in(2), Arc::try_unwrap(opened)) else {
            return;
        };
        let run = opened.session.id();
        if opened.session.close().await.is_ok() {
            self.acknowledged("the end of a session", |log| {
                let run = log.runs().get(&run);
                run.is_some_and(|run| run.status.is_terminal())
            });
        }
    }

    /// Sets the wall clock by up to twelve hours, back or forward.
    fn set_the_clock(&mut self) {
        let clock = &self.agent.clock;
        let minutes = i64::try_from(self.draw.below(1_440)).unwrap_or(0) - 720;
        let us = clock.now().as_unix_us() + minutes * 60_000_000;
        clock.set_wall(mc_core::time::Timestamp::from_unix_us(us));
    }
}
