//! The loop, with scripted keys, against an engine in memory.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mc_core::engine::{Notice, OwnerNews};
use mc_core::error::Result;
use mc_core::event::approval::ApprovalVerdict;
use mc_core::ports::EventLog;
use mc_core::sequencer::HaltScope;
use mc_link::Moved;
use mission_control::testing::Scenario;
use mission_control::{
    AgentError, AgentExecutor, MissionControl, ModelAnswer, ModelRequest, PriceTable, RunHandle,
    Settings, StartOptions, StepContext, StepOutcome, Usage, Workflow,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::*;
use crate::top::keys::{Input, Key, Keys, Word};
use crate::top::turns::{Reach, turns};
use crate::top::view::Said;

struct Echo;

#[mission_control::async_trait]
impl AgentExecutor for Echo {
    async fn execute(
        &self,
        _: StepContext,
        input: Value,
    ) -> std::result::Result<StepOutcome, AgentError> {
        Ok(input.into())
    }
}

/// An engine in this process, and who looks at it.
struct Here {
    control: MissionControl,
    by: &'static str,
    news: Mutex<OwnerNews>,
}

impl Reach for Here {
    async fn log(&self) -> Result<(Option<u32>, Arc<dyn EventLog>)> {
        Ok((Some(1), Arc::clone(self.control.log())))
    }

    async fn moved(&self) -> Result<Moved> {
        match self.news.lock().await.next().await {
            Some(Notice::Moved(runs)) => Ok(Moved::Runs((*runs).clone())),
            Some(Notice::Missed(_)) => Ok(Moved::Anything),
            None => std::future::pending().await,
        }
    }

    async fn decide(&self, word: &Word) -> Result<()> {
        match word.verdict {
            ApprovalVerdict::Approved => self.control.approve(word.id, self.by, &word.reason).await,
            ApprovalVerdict::Rejected => self.control.reject(word.id, self.by, &word.reason).await,
        }
    }
}

/// What somebody does at the terminal.
enum Do<'a> {
    Key(Key),
    /// Waits for something to come about.
    Until(Pin<Box<dyn Future<Output = ()> + 'a>>),
    /// Looks for so many turns.
    Look(u32),
}

struct Script<'a>(VecDeque<Do<'a>>);

impl Keys for Script<'_> {
    async fn next(&mut self) -> io::Result<Option<Input>> {
        loop {
            match self.0.front_mut() {
                Some(Do::Key(_)) => {}
                Some(Do::Until(done)) => {
                    done.await;
                    self.0.pop_front();
                    continue;
                }
                Some(Do::Look(0)) => {
                    self.0.pop_front();
                    continue;
                }
                Some(Do::Look(turns)) => {
                    *turns -= 1;
                    turn().await;
                    continue;
                }
                None => return Ok(None),
            }
            if let Some(Do::Key(key)) = self.0.pop_front() {
                return Ok(Some(Input::Key(key)));
            }
        }
    }
}

/// Lets everything else have a turn.
async fn turn() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn keys(text: &str) -> impl Iterator<Item = Do<'static>> {
    text.chars().map(|c| {
        Do::Key(match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            c => Key::Char(c),
        })
    })
}

/// An engine with a run of ann's that waits for an approval.
async fn asking(world: &Scenario, risk: &str) -> (MissionControl, RunHandle) {
    let control = world.open().await.unwrap();
    control.register_agent("it", Echo).await.unwrap();
    let text = format!("{{ workflow: w, steps: {{ pay: {{ agent: it, risk: {risk} }} }} }}");
    control
        .publish(Workflow::from_yaml(text).unwrap())
        .await
        .unwrap();
    control.start_dispatch().await.unwrap();
    let input = json!({"amount": 7});
    let run = control
        .start("w", input, StartOptions::by("ann"))
        .await
        .unwrap();
    run.settled_or_blocked().await.unwrap();
    (control, run)
}

async fn looked(control: &MissionControl, by: &'static str, script: Vec<Do<'_>>) -> View {
    let here = Here {
        control: control.clone(),
        by,
        news: Mutex::new(control.owner().unwrap().news()),
    };
    let mut view = View::new("memory", by);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut script = Script(script.into());
    turns(&mut view, (&here, &mut script), &mut terminal)
        .await
        .unwrap();
    view
}

#[test]
fn an_approval_is_given_and_the_run_is_seen_to_go_on() {
    let world = Scenario::seeded(1);
    let done = world.run(async {
        let (control, run) = asking(&world, "irreversible").await;
        let mut script: Vec<Do<'_>> = keys("\t\ta").collect();
        script.extend(keys("fine by me\n"));
        script.push(Do::Until(Box::pin(async move {
            run.outcome().await.unwrap();
        })));
        script.push(Do::Look(50));
        let view = looked(&control, "bob", script).await;
        assert!(matches!(view.said, Some(Said::Done(_))), "{:?}", view.said);
        assert_eq!((view.open_runs(), view.requests().len()), (0, 0));
        assert_eq!(view.runs()[0].status_text(), "completed");
    });
    done.unwrap();
}

#[test]
fn a_rejection_fails_the_step() {
    let world = Scenario::seeded(2);
    let done = world.run(async {
        let (control, run) = asking(&world, "irreversible").await;
        looked(&control, "bob", keys("rtoo much\n").collect()).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            format!("{outcome:?}").contains("approval_rejected"),
            "{outcome:?}"
        );
    });
    done.unwrap();
}

#[test]
fn a_word_that_does_not_count_is_told_with_its_reason() {
    let world = Scenario::seeded(3);
    let done = world.run(async {
        let (control, _run) = asking(&world, "financial").await;
        let view = looked(&control, "ann", keys("amine\n").collect()).await;
        let Some(Said::Failed(said)) = &view.said else {
            panic!("{:?}", view.said)
        };
        assert!(said.starts_with("it does not count: "), "{said}");
        assert_eq!(view.requests().len(), 1);
    });
    done.unwrap();
}

#[test]
fn a_run_that_starts_meanwhile_comes_in_by_its_events() {
    let world = Scenario::seeded(4);
    let done = world.run(async {
        let (control, first) = asking(&world, "irreversible").await;
        let script = vec![
            Do::Until(Box::pin(async {
                let options = StartOptions::by("ann");
                let run = control.start("w", json!({}), options).await.unwrap();
                run.settled_or_blocked().await.unwrap();
            })),
            Do::Look(50),
        ];
        let view = looked(&control, "bob", script).await;
        assert_eq!((view.open_runs(), view.requests().len()), (2, 2));
        assert!(view.runs().iter().any(|line| line.run_id == first.id()));
        assert_eq!(view.runs()[0].steps, "pay: approval");
    });
    done.unwrap();
}

/// What the banner says after somebody has done something meanwhile.
async fn banner(control: &MissionControl, done: impl Future<Output = Result<()>>) -> Vec<String> {
    let script = vec![
        Do::Until(Box::pin(async { done.await.unwrap() })),
        Do::Look(50),
    ];
    let view = looked(control, "bob", script).await;
    let halts = view.halts();
    halts.iter().map(|halt| halt.told()).collect()
}

#[test]
fn a_halt_comes_and_goes_by_its_events() {
    let world = Scenario::seeded(5);
    let done = world.run(async {
        let (control, run) = asking(&world, "irreversible").await;
        let (all, agent) = (
            HaltScope::Workspace,
            HaltScope::Agent("it".parse().unwrap()),
        );
        let by = ("cas", "it spends\u{1b} too much");
        let halted = control.halt(by, all.clone(), Duration::from_secs(5));
        let told = banner(&control, halted).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("HALTED workspace by cas since "));
        assert!(told[0].ends_with(": it spends\\u{1b} too much"), "{told:?}");
        let told = banner(
            &control,
            control.halt(("dan", "as tested"), agent, Duration::ZERO),
        )
        .await;
        assert!(told[1].starts_with("HALTED agent:it by dan"), "{told:?}");
        let told = banner(&control, run.halt(("dan", "as tested"), Duration::ZERO)).await;
        let id = run.id();
        assert!(told[2].starts_with(&format!("HALTED run:{id} by dan")));
        let told = banner(&control, control.resume(("cas", "as tested"), all)).await;
        assert_eq!(told.len(), 2, "{told:?}");
    });
    done.unwrap();
}

/// Calls a model once.
struct Spends;

#[mission_control::async_trait]
impl AgentExecutor for Spends {
    async fn execute(
        &self,
        ctx: StepContext,
        _: Value,
    ) -> std::result::Result<StepOutcome, AgentError> {
        let request = ModelRequest::text("test/m".parse().unwrap(), "p")
            .input_tokens(0)
            .max_output_tokens(20);
        let usage = Usage {
            output_text: 20,
            ..Usage::default()
        };
        let answered = |_| async { Ok(ModelAnswer::text("ok", usage)) };
        ctx.model_call(&request, answered).await?;
        Ok(json!({}).into())
    }
}

#[test]
fn what_a_run_has_spent_is_told_with_all_that_is_nested_in_it() {
    let world = Scenario::seeded(7);
    let done = world.run(async {
        let settings = Settings {
            prices: Arc::new(PriceTable::parse(mc_testkit::TEST_PRICES).unwrap()),
            ..Settings::default()
        };
        let control = world.open_with(settings).await.unwrap();
        control.register_agent("it", Spends).await.unwrap();
        for text in [
            "{ workflow: gate, steps: { a: { agent: it } } }",
            "{ workflow: w, steps: { a: { agent: it }, qa: { uses: 'gate@1', needs: [a] } } }",
        ] {
            let workflow = Workflow::from_yaml(text).unwrap();
            control.publish(workflow).await.unwrap();
        }
        control.start_dispatch().await.unwrap();
        let options = StartOptions::by("ann");
        let run = control.start("w", json!({}), options).await.unwrap();
        run.outcome().await.unwrap();
        let view = looked(&control, "bob", vec![Do::Look(50)]).await;
        let mut lines = view.runs().into_iter();
        let line = lines.find(|line| line.run_id == run.id()).unwrap();
        assert_eq!(
            (line.spent.to_string(), line.tokens),
            ("0.04".to_owned(), (0, 40))
        );
    });
    done.unwrap();
}
