//! An outsider adds every account up from the facts of the log, by `docs/event-log.md` alone.
//!
//! The auditor below reads JSON and nothing else: no type of the core helps it.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::collections::BTreeMap;

use mission_control::core::event::Record;
use mission_control::core::event::run::PlanCheck;
use mission_control::testing::Scenario;
use mission_control::{
    Account, AccountId, AgentError, AgentExecutor, Amount, CallFailure, Error, MissionControl,
    ModelAnswer, ModelRequest, ProviderError, RunHandle, RunPolicy, Settings, StartOptions,
    StepContext, StepOutcome, Usage, Workflow,
};
use serde_json::{Value, json};

type HoldName = (String, String, u64, Option<u64>);

const DIMENSIONS: [&str; 4] = ["nano_usd", "input_tokens", "output_tokens", "calls"];
const SPENT: usize = 0;
const RESERVED: usize = 1;
const IN_DOUBT: usize = 2;

/// Adds accounts up: spent, reserved and in doubt, each in four dimensions.
#[derive(Default)]
struct Auditor {
    accounts: BTreeMap<String, [[i128; 4]; 3]>,
    workflows: BTreeMap<String, String>,
    /// The accounts of the runs around a run, and of its tags.
    around: BTreeMap<String, Vec<String>>,
    agents: BTreeMap<(String, String), String>,
    holds: BTreeMap<HoldName, Vec<String>>,
}

impl Auditor {
    fn path(&self, run: &str, step: &str, agent: &str) -> Vec<String> {
        let name = step.split('[').next().unwrap();
        let mut path = vec!["workspace".to_owned(), format!("agent:{agent}")];
        path.extend([format!("run:{run}"), format!("step:{run}/{name}")]);
        let workflow = self.workflows.get(run);
        path.extend(workflow.map(|name| format!("workflow:{name}")));
        path.extend(self.around.get(run).into_iter().flatten().cloned());
        path
    }

    fn add(&mut self, path: &[String], column: usize, amount: &Value, sign: i128) {
        for account in path {
            let columns = self.accounts.entry(account.clone()).or_default();
            for (cell, name) in columns[column].iter_mut().zip(DIMENSIONS) {
                *cell += sign * i128::from(amount[name].as_i64().unwrap_or(0));
                assert!(*cell >= 0, "{account}: column {column} falls below zero");
            }
        }
    }

    fn event(&mut self, record: &Record) {
        let facts: Value = serde_json::from_str(&record.facts).unwrap();
        let run = record.run_id.to_string();
        let step = facts["step"].as_str().unwrap_or_default().to_owned();
        let attempt = facts["attempt"].as_u64().unwrap_or_default();
        let escrow = (run.clone(), step.clone(), attempt, None);
        let own = (
            run.clone(),
            step.clone(),
            attempt,
            facts["ordinal"].as_u64(),
        );
        match &*record.kind {
            "run.created" => {
                let workflow = facts["subject"]["workflow"]["name"].as_str();
                self.workflows
                    .extend(workflow.map(|name| (run.clone(), name.to_owned())));
                let around = facts["nested_in"].as_array().into_iter().flatten();
                let accounts = around.flat_map(|place| {
                    let (run, step) = (place["run"].as_str(), place["step"].as_str());
                    let (run, step) = (run.unwrap(), step.unwrap());
                    let name = step.split('[').next().unwrap();
                    [format!("run:{run}"), format!("step:{run}/{name}")]
                });
                let tags = facts["tags"].as_array().into_iter().flatten();
                let tags = tags.map(|tag| format!("tag:{}", tag.as_str().unwrap()));
                self.around.insert(run, accounts.chain(tags).collect());
            }
            "run.planned" => self.planned(&run, &facts["reserved"]),
            "plan.released" => {
                let hold = (run, step, 0, facts["hold"].as_u64());
                let path = self.holds[&hold].clone();
                self.add(&path, RESERVED, &facts["amount"], -1);
            }
            "step.dispatched" => {
                let agent = facts["agent"].as_str().unwrap().to_owned();
                let path = self.path(&run, &step, &agent);
                self.agents.insert((run, step), agent);
                self.add(&path, RESERVED, &facts["hold"], 1);
                self.holds.insert(escrow, path);
            }
            "model_call.reserved" => {
                let other = facts["agent"].as_str().map(str::to_owned);
                let hold = if other.is_some() { own } else { escrow };
                let amount = if other.is_some() {
                    "amount"
                } else {
                    "extended"
                };
                let agent =
                    other.unwrap_or_else(|| self.agents[&(run.clone(), step.clone())].clone());
                let path = self.path(&run, &step, &agent);
                self.add(&path, RESERVED, &facts[amount], 1);
                self.holds.insert(hold, path);
            }
            kind => self.ending(kind, &facts, &own, &escrow),
        }
    }

    fn planned(&mut self, run: &str, reserved: &Value) {
        for (number, planned) in (0..).zip(reserved.as_array().into_iter().flatten()) {
            let text = |field: &str| planned[field].as_str().unwrap();
            let mut path = self.path(run, text("step"), text("agent"));
            path.retain(|account| !account.starts_with("workflow:"));
            path.push(format!("workflow:{}", text("workflow")));
            self.add(&path, RESERVED, &planned["amount"], 1);
            let hold = (run.to_owned(), text("step").to_owned(), 0, Some(number));
            self.holds.insert(hold, path);
        }
    }

    fn ending(&mut self, kind: &str, facts: &Value, own: &HoldName, escrow: &HoldName) {
        let has_own = self.holds.contains_key(own);
        let hold = if has_own { own } else { escrow };
        let path = self.holds.get(hold).cloned().unwrap_or_default();
        match kind {
            "model_call.settled" => {
                self.add(&path, RESERVED, &facts["held"], -1);
                self.add(&path, SPENT, &facts["actual"], 1);
                self.add(&path, RESERVED, &facts["released"], -1);
            }
            "model_call.throttled"
            | "model_call.released"
            | "step.completed"
            | "attempt.failed" => self.add(&path, RESERVED, &facts["released"], -1),
            "model_call.doubted" => {
                self.add(&path, RESERVED, &facts["doubted"], -1);
                self.add(&path, IN_DOUBT, &facts["doubted"], 1);
                self.holds.insert(own.clone(), path);
                return;
            }
            "budget.reconciled" => {
                self.add(&path, IN_DOUBT, &facts["held"], -1);
                self.add(&path, SPENT, &facts["actual"], 1);
            }
            _ => return,
        }
        // A call's own hold ends with its call; an escrow goes on.
        if has_own {
            self.holds.remove(own);
        }
    }
}

/// Makes calls that end in every way: paid, refused, in doubt, and in another agent's name.
struct Caller;

#[mission_control::async_trait]
impl AgentExecutor for Caller {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let model = "openai/gpt-5.4".parse().unwrap();
        let ask = ModelRequest::text(model, "why?").max_output_tokens(200);
        let paid = || async { Ok(ModelAnswer::text("because", Usage::text(40, 90))) };
        ctx.model_call(&ask.clone().input_tokens(100), |_| paid())
            .await?;
        let mut other = ask.clone().input_tokens(300);
        other.agent = Some("checker".parse().unwrap());
        ctx.model_call(&other, |_| paid()).await?;
        for failure in [
            CallFailure::NotSent,
            CallFailure::Timeout,
            CallFailure::Reset,
        ] {
            let failed = || async move { Err(ProviderError::new(failure, "no answer")) };
            let answer = ctx
                .model_call(&ask.clone().input_tokens(500), |_| failed())
                .await;
            assert!(answer.is_err());
        }
        Ok(json!({}).into())
    }
}

const WORKFLOW: &str = "
workflow: audit
steps:
  each:  { uses: inner@1, for_each: '[1, 2]', budget: { usd: '5.00' } }
  plain: { agent: caller }
  held:  { agent: caller, needs: [plain], estimate: { model: openai/gpt-5.4, input_tokens: 900, max_output_tokens: 400, calls: 2 } }
";

const INNER: &str = "{ workflow: inner, steps: { deep: { agent: caller } } }";

async fn history(control: &MissionControl) -> Result<RunHandle, Error> {
    control.register_agent("caller", Caller).await?;
    control.publish(Workflow::from_yaml(INNER)?).await?;
    control.publish(Workflow::from_yaml(WORKFLOW)?).await?;
    control.start_dispatch().await?;
    let mut options = StartOptions::by("ann");
    options.tags = vec!["acme".to_owned()];
    options.policy = Some(RunPolicy {
        plan_check: PlanCheck::Reserving,
        ..Settings::default().run_policy
    });
    let run = control.start("audit", json!({}), options).await?;
    run.outcome().await?;
    let (hold, doubt) = run.doubts().await?.remove(0);
    let half = Amount {
        calls: 1,
        money: mission_control::NanoUsd::from_nano(doubt.money.as_nano() / 2),
        ..Amount::ZERO
    };
    run.reconcile("ann", &hold, half, "the bill").await?;
    Ok(run)
}

fn columns(account: &Account) -> [[i128; 4]; 3] {
    [account.spent(), account.reserved(), account.in_doubt()].map(|amount| {
        let counts = [amount.input_tokens, amount.output_tokens, amount.calls].map(i128::from);
        [
            i128::from(amount.money.as_nano()),
            counts[0],
            counts[1],
            counts[2],
        ]
    })
}

#[test]
fn every_account_follows_from_the_facts_alone() {
    let world = Scenario::seeded(11);
    let (records, accounts) = world
        .run(async {
            let control = world.open().await?;
            let run = history(&control).await?;
            let shared = [
                "workspace",
                "workflow:audit",
                "workflow:inner",
                "agent:caller",
                "agent:checker",
                "tag:acme",
            ];
            let shared = shared.map(|id| id.parse::<AccountId>().unwrap());
            let shared = shared.map(|id| (id.clone(), control.account(&id).unwrap()));
            let mut own = Vec::new();
            let state = run.state().await?;
            for nested in state.nested.keys() {
                own.extend(control.run(*nested).state().await?.accounts.clone());
            }
            // What is nested in a run counts in its accounts.
            for id in state.accounts.keys() {
                own.extend(control.account(id).map(|account| (id.clone(), account)));
            }
            let each = AccountId::Step(run.id(), "each".parse().unwrap());
            assert!(own.iter().any(|(id, _)| *id == each));
            let records = control.log().read_workspace(0, 1_000).await?;
            Ok::<_, Error>((records, own.into_iter().chain(shared).collect::<Vec<_>>()))
        })
        .unwrap()
        .unwrap();
    assert!(records.iter().any(|one| &*one.kind == "plan.released"));
    let mut auditor = Auditor::default();
    for record in &records {
        auditor.event(record);
    }
    let stored: BTreeMap<String, _> = accounts
        .iter()
        .map(|(id, account)| (id.to_string(), columns(account)))
        .collect();
    assert_eq!(auditor.accounts, stored);
    let workspace = stored["workspace"];
    assert!(
        workspace[SPENT][0] > 0 && workspace[IN_DOUBT][0] > 0,
        "{workspace:?}"
    );
}
