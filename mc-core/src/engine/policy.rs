//! The policy file as a host handles it: put one into force, look at it and at those before it.

use serde::{Deserialize, Serialize};

use super::calls::unexpected;
use super::control::MissionControl;
use super::inner::{Inner, lock};
use super::options::operator;
use super::port::{Peek, Peeked};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, PartRef};
use crate::id::{Actor, Digest};
use crate::policy::Policy;
use crate::ports::{EventLog, EventQuery, MAX_PAGE};
use crate::run::read_event;
use crate::sequencer::{Reply, Request};
use crate::time::Timestamp;

/// A version of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// The version, from 1; 0 for the default policy of a workspace that has none.
    pub version: u32,
    /// The policy.
    #[serde(with = "crate::policy::as_canonical")]
    pub policy: Policy,
}

/// When and by whom a version was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// The version, from 1.
    pub version: u32,
    /// The hash of the policy.
    pub hash: Digest,
    /// When it was published.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Where its content stands in the log.
    pub content: PartRef,
}

impl MissionControl {
    /// Puts a policy into force, with the limits of accounts that it names; the one that is in force
    /// already keeps its version. Limits that only the version before named are lifted.
    ///
    /// # Errors
    /// `InvalidInput` for an operator that is no name, `Unavailable` while the store refuses.
    pub async fn publish_policy(&self, by: &str, policy: Policy) -> Result<PolicyVersion> {
        let request = Request::PublishPolicy(policy.clone());
        let by = Actor::Operator(operator(by)?);
        let reply = self.inner.submit(by, request).await?;
        let Reply::Policy { version, .. } = reply else {
            return Err(unexpected(&reply));
        };
        Ok(PolicyVersion { version, policy })
    }

    /// The policy in force.
    ///
    /// Where another process owns the log, it is asked, and the caller's thread waits for the answer.
    ///
    /// # Errors
    /// `Unavailable` while the engine takes the log over, or the owner does not answer.
    pub fn policy(&self) -> Result<PolicyVersion> {
        let found = match self.inner.joined() {
            Some(owner) => match owner.port.peek(Peek::Policy) {
                Some(Peeked::Policy(found)) => found,
                Some(_) | None => None,
            },
            None => self.inner.policy_here(),
        };
        found.ok_or_else(|| {
            let message = "the engine takes the log over; ask again";
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Every version that was ever in force, oldest first.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn policy_history(&self) -> Result<Vec<PolicyRecord>> {
        policy_history(&*self.inner.log).await
    }

    /// One version of the policy.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    pub async fn policy_version(&self, version: u32) -> Result<PolicyVersion> {
        policy_version(&*self.inner.log, version).await
    }
}

impl Inner {
    /// The policy in force, as this process has it in memory; none while the state is taken over.
    pub(super) fn policy_here(&self) -> Option<PolicyVersion> {
        let live = lock(&self.live);
        let sequencer = live.sequencer.as_ref()?;
        Some(PolicyVersion {
            version: sequencer.policy_head().map_or(0, |head| head.version),
            policy: sequencer.workspace().policy.clone(),
        })
    }
}

/// As [`MissionControl::policy_history`], of a log that nobody has to own.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn policy_history(log: &dyn EventLog) -> Result<Vec<PolicyRecord>> {
    let mut query = EventQuery {
        kind: Some("policy.published".into()),
        limit: MAX_PAGE,
        ..EventQuery::default()
    };
    let mut found = Vec::new();
    loop {
        let page = log.query_events(query.clone()).await?;
        for record in page.items {
            let EventKind::PolicyPublished(facts) = read_event(&record)? else {
                continue;
            };
            let seq = record.seq;
            found.push(PolicyRecord {
                version: facts.version,
                hash: facts.policy_hash,
                at: record.ts,
                by: record.actor,
                content: PartRef { seq, part: 0 },
            });
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(found);
        }
    }
}

/// As [`MissionControl::policy_version`], of a log that nobody has to own.
///
/// # Errors
/// `NotFound`, `Corrupt`.
pub async fn policy_version(log: &dyn EventLog, version: u32) -> Result<PolicyVersion> {
    let mut history = policy_history(log).await?.into_iter();
    let found = history.find(|record| record.version == version);
    let found = found.ok_or_else(|| Error::not_found("policy version", version))?;
    let policy = Policy::from_canonical(&log.read_part(found.content).await?)?;
    Ok(PolicyVersion { version, policy })
}
