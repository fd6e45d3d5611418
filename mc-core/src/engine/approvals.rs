//! Approvals as a host handles them: the queue, and an operator's word.
//!
//! What is *not* here: who may decide what (`sequencer::decide::approve`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::around::Around;
use super::control::MissionControl;
use super::options::operator;
use super::tools::again;
use crate::budget::{Account, AccountId, Amount, Limit};
use crate::error::{Error, ErrorKind, Result};
use crate::event::approval::ApprovalVerdict;
use crate::id::{Actor, ApprovalId, Digest, RunId, WorkflowName};
use crate::ports::{AccountRow, EventLog, EventQuery, MAX_PAGE};
use crate::run::{Approval, Run};
use crate::sequencer::{DecideApproval, OperatorWord, Reply, Request};
use crate::time::Timestamp;

/// Runs with something due that are looked at for what they ask.
const MOST_RUNS: usize = 1_000_000;

/// Which requests are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApprovalFilter {
    /// Those that wait for a person, the first to end first.
    #[default]
    Pending,
    /// All that were ever asked, in order.
    All,
}

/// What is, or was, asked of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalRequest {
    /// Its id, as [`MissionControl::approve`] takes it.
    pub id: ApprovalId,
    /// The workflow; none for a session.
    pub workflow: Option<WorkflowName>,
    /// The definition that the run is pinned to.
    pub definition_hash: Option<Digest>,
    /// Who started the run; the outermost one, where it is nested.
    pub started_by: Actor,
    /// The outermost run around it; none where it is nested in no other.
    pub outermost: Option<RunId>,
    /// The path of its step from there: `qa/security`.
    pub path: String,
    /// What is asked, and where it stands.
    pub asked: Approval,
    /// The exact parameter bytes; none where they were erased.
    pub params: Option<Arc<[u8]>>,
    /// What it would do to each account.
    pub budgets: Vec<BudgetEffect>,
}

/// What something would do to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetEffect {
    /// The account.
    pub account: AccountId,
    /// Its limit.
    pub limit: Limit,
    /// What was settled.
    pub spent: Amount,
    /// What open holds have.
    pub reserved: Amount,
    /// What holds in doubt have.
    pub in_doubt: Amount,
    /// The three together, with the most that it may cost.
    pub after: Amount,
}

impl MissionControl {
    /// What is asked of people, with what it would do to the accounts as they are now.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRequest>> {
        approvals(&*self.inner.log, filter).await
    }

    /// Lets what is asked be done, once.
    ///
    /// # Errors
    /// `NotFound`; `ApprovalInvalid` where it is not to be decided any more; `PolicyDenied` where this
    /// operator may not.
    pub async fn approve(&self, id: ApprovalId, by: &str, reason: &str) -> Result<()> {
        self.decide(id, ApprovalVerdict::Approved, (by, reason))
            .await
    }

    /// Refuses what is asked: its step fails, or its agent is told.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub async fn reject(&self, id: ApprovalId, by: &str, reason: &str) -> Result<()> {
        self.decide(id, ApprovalVerdict::Rejected, (by, reason))
            .await
    }

    /// Takes an approval back that was given and not used yet; it is asked for anew.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub async fn revoke(&self, id: ApprovalId, by: &str, reason: &str) -> Result<()> {
        let word = word(id, (by, reason))?;
        let by = Actor::Operator(word.operator.clone());
        taken(self.inner.submit(by, Request::RevokeApproval(word)).await?)
    }

    async fn decide(
        &self,
        id: ApprovalId,
        verdict: ApprovalVerdict,
        said: (&str, &str),
    ) -> Result<()> {
        let word = word(id, said)?;
        let by = Actor::Operator(word.operator.clone());
        let request = Request::DecideApproval(DecideApproval { word, verdict });
        taken(self.inner.submit(by, request).await?)
    }
}

fn word(approval: ApprovalId, (by, reason): (&str, &str)) -> Result<OperatorWord> {
    if reason.trim().is_empty() {
        return Err(Error::invalid(
            "reason",
            "a decision has a reason, in words",
        ));
    }
    Ok(OperatorWord {
        approval,
        operator: operator(by)?,
        reason: reason.into(),
    })
}

pub(super) fn taken(reply: Reply) -> Result<()> {
    if let Reply::Refused(error) = reply {
        return Err(again(&error));
    }
    Ok(())
}

/// Every shared account of a log, as it is there.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn shared_accounts(log: &dyn EventLog) -> Result<BTreeMap<AccountId, Account>> {
    let read = |row: AccountRow| {
        let id = row.account.parse::<AccountId>();
        let id = id.map_err(|fault| Error::corrupt("account", None).with_source(fault))?;
        let account = serde_json::from_slice(&row.state);
        let account = account.map_err(|e| Error::corrupt("account", None).with_source(e))?;
        Ok((id, account))
    };
    log.accounts().await?.into_iter().map(read).collect()
}

/// As [`MissionControl::approvals`], of a log that nobody has to own.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn approvals(log: &dyn EventLog, filter: ApprovalFilter) -> Result<Vec<ApprovalRequest>> {
    let accounts = shared_accounts(log).await?;
    let runs = match filter {
        ApprovalFilter::Pending => {
            // Every open request is a time at which its run is due.
            let ever = Timestamp::from_unix_us(i64::MAX);
            let due = log.runs_due(ever, MOST_RUNS).await?;
            due.into_iter().map(|(_, run)| run).collect()
        }
        ApprovalFilter::All => asking_runs(log).await?,
    };
    let (mut found, mut around) = (Vec::new(), Around::default());
    for run_id in runs {
        let Some(row) = log.run_row(run_id).await? else {
            continue;
        };
        let run = Run::decode(&row.state)?;
        let asked = asked_in(log, &run, (filter, &accounts), &mut around).await?;
        found.extend(asked);
    }
    if filter == ApprovalFilter::Pending {
        found.sort_by_key(|one| (one.asked.expires_at, one.id));
    }
    Ok(found)
}

/// As [`approvals`], of one run as it stands, and by shared accounts that were read before.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn approvals_of(
    log: &dyn EventLog,
    run: &Run,
    (filter, accounts): (ApprovalFilter, &BTreeMap<AccountId, Account>),
) -> Result<Vec<ApprovalRequest>> {
    asked_in(log, run, (filter, accounts), &mut Around::default()).await
}

async fn asked_in(
    log: &dyn EventLog,
    run: &Run,
    (filter, accounts): (ApprovalFilter, &BTreeMap<AccountId, Account>),
    around: &mut Around,
) -> Result<Vec<ApprovalRequest>> {
    let mut found = Vec::new();
    for (number, asked) in &run.approvals {
        if filter == ApprovalFilter::Pending && !asked.is_pending() {
            continue;
        }
        let id = ApprovalId {
            run_id: run.run_id,
            number: *number,
        };
        let own = around.of(log, run).await?;
        let mut request = shown(id, (run, asked), (own, accounts));
        request.params = params(log, asked).await?;
        found.push(request);
    }
    Ok(found)
}

async fn asking_runs(log: &dyn EventLog) -> Result<Vec<RunId>> {
    let mut query = EventQuery {
        kind: Some("approval.requested".into()),
        limit: MAX_PAGE,
        ..EventQuery::default()
    };
    let (mut runs, mut known) = (Vec::new(), BTreeSet::new());
    loop {
        let page = log.query_events(query.clone()).await?;
        let ids = page.items.iter().map(|record| record.run_id);
        runs.extend(ids.filter(|run| known.insert(*run)));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(runs);
        }
    }
}

async fn params(log: &dyn EventLog, asked: &Approval) -> Result<Option<Arc<[u8]>>> {
    match log.read_part(asked.params).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(erased) if erased.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn shown(
    id: ApprovalId,
    (run, asked): (&Run, &Approval),
    (of_runs, shared): (&BTreeMap<AccountId, Account>, &BTreeMap<AccountId, Account>),
) -> ApprovalRequest {
    let path = run.path(&asked.step, &asked.agent);
    let budgets = path.iter().map(|account| {
        let own = of_runs.get(account);
        let found = own
            .or_else(|| shared.get(account))
            .cloned()
            .unwrap_or_default();
        BudgetEffect {
            account: account.clone(),
            limit: *found.limit(),
            spent: *found.spent(),
            reserved: *found.reserved(),
            in_doubt: *found.in_doubt(),
            after: found.exposure().saturating_add(&asked.maximum),
        }
    });
    ApprovalRequest {
        id,
        workflow: run.workflow().map(|(name, _)| name.clone()),
        definition_hash: run.created.definition_hash,
        started_by: run.started_by.clone(),
        outermost: run.created.nested_in.last().map(|place| place.run),
        path: run.path_of(&asked.step),
        asked: asked.clone(),
        params: None,
        budgets: budgets.collect(),
    }
}
