//! Probes: an agent is asked what became of a step in doubt, before a person is.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures::FutureExt;
use serde_json::Value;

use super::agent::AgentExecutor;
use super::content;
use super::inner::Inner;
use super::registry::Provider;
use crate::id::{Actor, Digest, RunId, StepKey};
use crate::sequencer::{Informant, ProbeOrder, Request, Resolution, Resolve};

/// What an agent is asked about: one intent that may have been carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectProbe {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepKey,
    /// The attempt that is in doubt.
    pub attempt: u32,
    /// What the attempt passed on as its idempotency key.
    pub effect_key: Digest,
    /// The input that it had.
    pub input: Value,
}

/// What an agent knows of it.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeAnswer {
    /// It happened, with this output.
    Happened(Value),
    /// It did not happen, and will not.
    DidNotHappen,
}

impl Inner {
    /// Asks an agent, in every process that has it: the first word counts. One that hangs, that does
    /// not know, or whose process dies meanwhile is in nobody's way.
    pub(super) fn ask_probe(self: &Arc<Self>, order: &ProbeOrder) {
        for provider in self.agents.everybody(&order.agent) {
            match provider {
                Provider::Here(agent) => self.ask_here(agent, order.clone()),
                Provider::There(host) => host.probe(order.clone()),
            }
        }
    }

    /// Asks an agent of this process, as a task of its own: it may hang or panic, and an
    /// engine that ends does not wait for it.
    fn ask_here(self: &Arc<Self>, agent: Arc<dyn AgentExecutor>, order: ProbeOrder) {
        let engine = Arc::downgrade(self);
        self.spawner.spawn_handler(Box::pin(async move {
            until_it_ended(&engine, &order).await;
            let Some(input) = input(&engine, &order).await else {
                return;
            };
            let effect = EffectProbe {
                run_id: order.run_id,
                step: order.step.clone(),
                attempt: order.attempt,
                effect_key: order.effect_key,
                input,
            };
            let asked = AssertUnwindSafe(async move { agent.probe(effect).await });
            // Where it does not know, a person is asked.
            let Ok(Some(answer)) = asked.catch_unwind().await else {
                return;
            };
            if let Some(inner) = engine.upgrade() {
                inner.take_probe(order, answer).await;
            }
        }));
    }

    async fn take_probe(&self, order: ProbeOrder, answer: ProbeAnswer) {
        let resolution = match answer {
            ProbeAnswer::Happened(output) => match content::checked("output", output) {
                Ok(output) => Resolution::Happened(Arc::new(output)),
                Err(_) => return,
            },
            ProbeAnswer::DidNotHappen => Resolution::DidNotHappen,
        };
        let request = Request::Resolve(Resolve {
            run_id: order.run_id,
            step: order.step,
            attempt: Some(order.attempt),
            by: Informant::Probe,
            resolution,
            reason: "the agent's probe".into(),
        });
        if let Err(error) = self.submit(Actor::Agent(order.agent), request).await {
            tracing::debug!(%error, "what a probe said was not taken");
        }
    }
}

/// Waits for the attempt's handler in this process. The owner asks nobody while it knows of one; that
/// word may have been on its way.
async fn until_it_ended(engine: &Weak<Inner>, order: &ProbeOrder) {
    let key = (order.run_id, order.step.clone(), order.attempt);
    while let Some(inner) = engine.upgrade() {
        let turned = inner.turned.notified();
        if !inner.acts_here(&key) {
            return;
        }
        turned.await;
    }
}

async fn input(engine: &Weak<Inner>, order: &ProbeOrder) -> Option<Value> {
    let inner = engine.upgrade()?;
    inner.read_value(order.input).await.ok()
}
