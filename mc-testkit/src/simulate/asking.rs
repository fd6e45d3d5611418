//! What operators say to what is asked of them: yes, no, both at once, late, or nothing; and what
//! became of steps in doubt.

use std::sync::Arc;

use mc_core::engine::RunHandle;
use mc_core::id::{ApprovalId, StepKey};
use mc_core::policy::Policy;
use mc_core::run::{Approval, Run};
use mc_core::sequencer::Resolution;
use serde_json::json;

use super::buttons::Desk;
use super::draw::Draw;

/// Policies that come into force while a world lasts.
const POLICIES: [&str; 7] = [
    "tools: { pay: { risk: financial, price_usd: \"0.01\" } }",
    "{ approvals: { from: write, expires_in: 1m }, tools: { pay: { risk: financial } } }",
    "{ approvals: { four_eyes: [irreversible, financial] }, tools: { pay: { risk: financial } } }",
    "{ approvals: { from: financial }, tools: { pay: { risk: irreversible } } }",
    "{ approvals: { operators: [eve] }, tools: { pay: { risk: financial, price_usd: \"0.05\" } } }",
    "{ approvals: { expires_in: 10m }, tools: { pay: { risk: financial } }, guardrails: [ { id: ask, at: model_call, \
       verdict: needs_approval, models: { deny: [recorded/GPT_4] } } ] }",
    "{ tools: { pay: { risk: write } }, guardrails: [ { id: ask, at: model_call, verdict: needs_approval, \
       max_output_tokens: 50 }, { id: word, at: tool_call, verdict: needs_approval, tools: { deny: [pay] } } ] }",
];

/// Who decides: the one who started every run, and two others.
const OPERATORS: [&str; 3] = ["ann", "eve", "joe"];

/// What of a step of the definition asks, or is to be asked.
pub(super) fn of_step(draw: &mut Draw) -> String {
    let mut text = String::new();
    match draw.below(6) {
        0 => text += ", risk: irreversible",
        1 => text += ", risk: financial, retry: { maximum_attempts: 2, initial_interval: 1s }",
        2 => text += ", risk: read",
        _ => {}
    }
    if draw.one_in(4) {
        text += ", tools: [search, pay]";
    }
    if draw.one_in(4) {
        text += ", approval: { expires_in: 20s, from: write }";
    }
    text
}

fn open(run: &Run) -> Vec<(ApprovalId, Approval)> {
    let open = run.approvals.iter().filter(|(_, one)| one.is_open());
    let id = |number| ApprovalId {
        run_id: run.run_id,
        number,
    };
    open.map(|(number, one)| (id(*number), one.clone()))
        .collect()
}

impl Desk<'_> {
    /// One button of those who are asked.
    pub(super) async fn answer(&mut self, run: Option<RunHandle>) {
        if self.draw.one_in(6) {
            return self.policy().await;
        }
        let Some(run) = run else { return };
        let Ok(state) = run.state().await else { return };
        if self.draw.one_in(3) {
            return self.resolve(&run, &state).await;
        }
        let open = open(&state);
        let Some((id, _)) = self.draw.pick(&open).cloned() else {
            return;
        };
        let by = self.draw.pick(&OPERATORS).copied().unwrap_or("ann");
        match self.draw.below(8) {
            0 => self.reject(id, by).await,
            1 => drop(self.control.revoke(id, by, "as drawn").await),
            2 => {
                let yes = self.control.approve(id, "eve", "as drawn");
                let no = self.control.reject(id, "joe", "as drawn");
                let (yes, no) = futures::join!(yes, no);
                if yes.is_ok() && no.is_ok() {
                    let faults = self.agent.log.faults();
                    faults.checker(|checker| checker.find("I4", format!("{id} was decided twice")));
                }
            }
            _ => self.approve(id, by).await,
        }
    }

    async fn approve(&self, id: ApprovalId, by: &str) {
        if self.control.approve(id, by, "as drawn").await.is_ok() {
            self.decided(id);
        }
    }

    async fn reject(&self, id: ApprovalId, by: &str) {
        if self.control.reject(id, by, "as drawn").await.is_ok() {
            self.decided(id);
        }
    }

    fn decided(&self, id: ApprovalId) {
        self.acknowledged("a decision", |log| {
            let run = log.runs().get(&id.run_id);
            let approval = run.and_then(|run| run.approvals.get(&id.number));
            approval.is_some_and(|one| !one.is_pending())
        });
    }

    async fn policy(&mut self) {
        let text = self.draw.pick(&POLICIES).copied().unwrap_or("{}");
        if let Ok(policy) = Policy::from_yaml(text) {
            drop(self.control.publish_policy("ann", policy).await);
        }
    }

    async fn resolve(&mut self, run: &RunHandle, state: &Run) {
        let keys = state.steps.keys().filter(|key| state.is_in_doubt(key));
        let keys: Vec<StepKey> = keys.cloned().collect();
        let Some(key) = self.draw.pick(&keys) else {
            return;
        };
        let resolution = match self.draw.below(5) {
            0 => Resolution::Abort,
            1 | 2 => Resolution::DidNotHappen,
            _ => Resolution::Happened(Arc::new(json!({"list": [1]}))),
        };
        drop(run.resolve("eve", key, resolution, "as drawn").await);
    }
}

/// Clears what a person can clear: everything is approved, and every doubt ended.
pub(super) async fn clear(control: &mc_core::engine::MissionControl, run: &RunHandle) {
    let Ok(state) = run.state().await else { return };
    for (id, _) in open(&state) {
        drop(control.approve(id, "eve", "the end of the world").await);
    }
    for key in state.steps.keys().filter(|key| state.is_in_doubt(key)) {
        let happened = Resolution::Happened(Arc::new(json!({"list": [1]})));
        drop(
            run.resolve("eve", key, happened, "the end of the world")
                .await,
        );
    }
}
