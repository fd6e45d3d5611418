//! The registry: which agents are here, and in which version.
//!
//! A dispatch names the version that its attempt is done by. An agent that is registered anew stands
//! beside its forerunner until every dispatch that named that one has gone out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agent::AgentExecutor;
use super::inner::Inner;
use super::options::agent_version;
use super::sync::{Mutex, lock};
use crate::error::{Error, Result};
use crate::id::{Actor, AgentName, AgentVersion, RunId};
use crate::sequencer::Request;

/// Runs that are read at a time because they wait for an agent.
const PAGE: usize = 256;

/// The agents of a process.
#[derive(Default)]
pub(super) struct Registry {
    /// By name, the newest last.
    agents: Mutex<BTreeMap<AgentName, Vec<Registered>>>,
    /// One registration at a time: the newest here is the one that the sequencer knows.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Registered {
    version: Option<AgentVersion>,
    agent: Arc<dyn AgentExecutor>,
}

impl Registry {
    /// The agents that new attempts go to, each with its version where it has one.
    pub(super) fn all(&self) -> BTreeMap<AgentName, Option<AgentVersion>> {
        let agents = lock(&self.agents);
        let newest = |(name, all): (&AgentName, &Vec<Registered>)| {
            Some((name.clone(), all.last()?.version.clone()))
        };
        agents.iter().filter_map(newest).collect()
    }

    /// The agent of a version.
    pub(super) fn find(
        &self,
        name: &AgentName,
        version: Option<&AgentVersion>,
    ) -> Option<Arc<dyn AgentExecutor>> {
        let agents = lock(&self.agents);
        let all = agents.get(name)?.iter().rev();
        let found = all.into_iter().find(|one| one.version.as_ref() == version);
        found.map(|one| Arc::clone(&one.agent))
    }

    fn add(&self, name: &AgentName, registered: Registered) {
        let mut agents = lock(&self.agents);
        agents.entry(name.clone()).or_default().push(registered);
    }

    /// Lets go all of a name but the newest.
    fn keep_newest(&self, name: &AgentName) {
        let older = match lock(&self.agents).get_mut(name) {
            Some(all) => all.drain(..all.len().saturating_sub(1)).collect(),
            None => Vec::new(),
        };
        // Dropping an agent runs its host's code: behind the lock.
        drop(older);
    }
}

impl Inner {
    pub(super) async fn register(&self, name: &str, agent: Arc<dyn AgentExecutor>) -> Result<()> {
        let name = AgentName::new(name).map_err(|fault| Error::invalid("agent", fault))?;
        let version = agent.version().map(agent_version).transpose()?;
        let turn = self.agents.turn.lock().await;
        let registered = Registered {
            version: version.clone(),
            agent,
        };
        self.agents.add(&name, registered);
        let request = Request::AgentsAvailable(vec![(name.clone(), version)]);
        self.submit(Actor::System, request.clone()).await?;
        // A run may leave memory between its page and the command; whoever still waits after a pass is
        // asked again, until a pass changes nothing.
        let mut before = Vec::new();
        loop {
            let waiting = self.offer(&name, &request).await?;
            if waiting.is_empty() || waiting == before {
                break;
            }
            before = waiting;
        }
        // Everything that was decided before is on disk, and its attempts have been handed over.
        self.agents.keep_newest(&name);
        drop(turn);
        Ok(())
    }

    /// Tells every run that waits for an agent that it is here, page by page; which ones waited.
    async fn offer(&self, name: &AgentName, request: &Request) -> Result<Vec<RunId>> {
        let mut waited: Vec<RunId> = Vec::new();
        loop {
            let after = waited.last().copied();
            let page = self.log.runs_waiting_for(name, after, PAGE).await?;
            if page.is_empty() {
                return Ok(waited);
            }
            for run in &page {
                self.page_in(*run).await?;
            }
            self.submit(Actor::System, request.clone()).await?;
            waited.extend(page);
        }
    }
}
