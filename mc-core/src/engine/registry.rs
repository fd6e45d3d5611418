//! The registry: which agents are here, and in which version.
//!
//! A dispatch names the version that its attempt is done by. An agent that is registered anew stands
//! beside its forerunner until every dispatch that named that one has gone out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::agent::AgentExecutor;
use super::inner::Inner;
use super::options::agent_version;
use super::port::AgentHost;
use super::sync::{Mutex, lock};
use crate::error::{Error, Result};
use crate::id::{Actor, AgentName, AgentVersion, RunId};
use crate::sequencer::Request;

/// Runs that are read at a time because they wait for an agent.
const PAGE: usize = 256;

/// The agents of a process, and of those that have joined it.
#[derive(Default)]
pub(super) struct Registry {
    /// By name, the newest last.
    agents: Mutex<BTreeMap<AgentName, Vec<Registered>>>,
    /// Whose turn it is, of several that have an agent.
    turns: AtomicUsize,
    /// One registration at a time: the newest here is the one that the sequencer knows.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Registered {
    version: Option<AgentVersion>,
    provider: Provider,
}

/// Where an agent is.
#[derive(Clone)]
pub(super) enum Provider {
    /// In this process.
    Here(Arc<dyn AgentExecutor>),
    /// In a process that has joined this one.
    There(Arc<dyn AgentHost>),
}

impl Provider {
    fn host(&self) -> Option<u64> {
        match self {
            Self::Here(_) => None,
            Self::There(host) => Some(host.id()),
        }
    }

    fn is_here(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::There(host) => host.is_here(),
        }
    }
}

/// What the going of a process changes.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    /// Agents that nobody has any more.
    pub(super) gone: Vec<AgentName>,
    /// Agents that others have still, with the newest version of them.
    pub(super) left: Vec<(AgentName, Option<AgentVersion>)>,
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

    /// Who has the agent in a version; of several, each in its turn.
    pub(super) fn find(
        &self,
        name: &AgentName,
        version: Option<&AgentVersion>,
    ) -> Option<Provider> {
        let agents = lock(&self.agents);
        let all = agents.get(name)?.iter().rev();
        let mut all: Vec<&Registered> = all.filter(|one| one.version.as_ref() == version).collect();
        if all.iter().any(|one| one.provider.is_here()) {
            all.retain(|one| one.provider.is_here());
        }
        let newest_here = all.first()?;
        let mut hosts: Vec<&Registered> = Vec::new();
        for one in &all {
            let host = one.provider.host();
            if hosts.iter().all(|other| other.provider.host() != host) {
                hosts.push(one);
            }
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(hosts.len()).unwrap_or(0);
        let chosen = hosts.get(place).unwrap_or(newest_here);
        Some(chosen.provider.clone())
    }

    /// Everybody who has the agent and is there, each by its newest version.
    pub(super) fn everybody(&self, name: &AgentName) -> Vec<Provider> {
        let agents = lock(&self.agents);
        let mut everybody: Vec<Provider> = Vec::new();
        for one in agents.get(name).into_iter().flatten().rev() {
            let host = one.provider.host();
            if one.provider.is_here() && everybody.iter().all(|other| other.host() != host) {
                everybody.push(one.provider.clone());
            }
        }
        everybody
    }

    /// One change of what is here at a time.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// What the going of a joined process changes.
    pub(super) fn without(&self, host: u64) -> Withdrawn {
        let mut withdrawn = Withdrawn::default();
        for (name, all) in lock(&self.agents).iter() {
            let is_its = |one: &&Registered| one.provider.host() == Some(host);
            let newest = all.iter().rev().find(|one| !is_its(one));
            match newest {
                _ if !all.iter().any(|one| is_its(&one)) => {}
                None => withdrawn.gone.push(name.clone()),
                Some(newest) => withdrawn.left.push((name.clone(), newest.version.clone())),
            }
        }
        withdrawn
    }

    /// Takes away what a joined process has.
    pub(super) fn withdraw(&self, host: u64) {
        let mut agents = lock(&self.agents);
        for all in agents.values_mut() {
            all.retain(|one| one.provider.host() != Some(host));
        }
        agents.retain(|_, all| !all.is_empty());
    }

    /// An agent that somebody has who is there, with its newest version.
    pub(super) fn here(&self, name: &AgentName) -> Option<(AgentName, Option<AgentVersion>)> {
        let agents = lock(&self.agents);
        let mut all = agents.get(name)?.iter().rev();
        let newest = all.find(|one| one.provider.is_here())?;
        Some((name.clone(), newest.version.clone()))
    }

    fn add(&self, name: &AgentName, registered: Registered) {
        let mut agents = lock(&self.agents);
        agents.entry(name.clone()).or_default().push(registered);
    }

    /// Lets go all of a name but the newest of each process.
    fn keep_newest(&self, name: &AgentName) {
        let mut older = Vec::new();
        if let Some(all) = lock(&self.agents).get_mut(name) {
            let mut kept: Vec<Registered> = Vec::new();
            for one in all.drain(..).rev() {
                let host = one.provider.host();
                if kept.iter().any(|newer| newer.provider.host() == host) {
                    older.push(one);
                } else {
                    kept.push(one);
                }
            }
            kept.reverse();
            *all = kept;
        }
        // Dropping an agent runs its host's code: behind the lock.
        drop(older);
    }
}

/// Whom runs on disk wait for that may go on: they are paged in, page by page.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// By agent, the last run that was told.
    after: BTreeMap<AgentName, Option<RunId>>,
}

impl Offers {
    pub(super) fn add(&mut self, agents: Vec<AgentName>) {
        self.after
            .extend(agents.into_iter().map(|agent| (agent, None)));
    }

    pub(super) fn any(&self) -> bool {
        !self.after.is_empty()
    }

    /// Tells the next page of runs; a page that cannot be read is left until its agent is here anew.
    pub(super) async fn next_page(&mut self, inner: &Inner) -> Result<()> {
        let Some((agent, after)) = self.after.pop_first() else {
            return Ok(());
        };
        let page = inner.log.runs_waiting_for(&agent, after, PAGE).await?;
        for run in &page {
            inner.page_in(*run).await?;
        }
        let version = inner.agents.all().remove(&agent);
        if let (Some(version), false) = (version, page.is_empty()) {
            let here = vec![(agent.clone(), version)];
            inner.tell(Actor::System, Request::AgentsAvailable(here));
        }
        if page.len() == PAGE {
            self.after.insert(agent, page.last().copied());
        }
        Ok(())
    }
}

impl Inner {
    pub(super) async fn register(&self, name: &str, agent: Arc<dyn AgentExecutor>) -> Result<()> {
        let name = AgentName::new(name).map_err(|fault| Error::invalid("agent", fault))?;
        let version = agent.version().map(agent_version).transpose()?;
        self.provide(name, version, Provider::Here(agent)).await
    }

    /// Puts an agent into the registry, and lets what waited for it go on.
    pub(super) async fn provide(
        &self,
        name: AgentName,
        version: Option<AgentVersion>,
        provider: Provider,
    ) -> Result<()> {
        let turn = self.agents.turn.lock().await;
        let registered = Registered {
            version: version.clone(),
            provider,
        };
        self.agents.add(&name, registered);
        let request = Request::AgentsAvailable(vec![(name.clone(), version)]);
        self.submit(Actor::System, request.clone()).await?;
        // A run may leave memory between its page and the command; whoever still waits after a pass is
        // asked again, until a pass changes nothing. Where another process owns the log, it does so.
        let mut before = Vec::new();
        while self.joined().is_none() {
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
