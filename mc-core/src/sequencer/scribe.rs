//! The scribe: turns a closed batch into bytes and rows, and keeps the chains and the tree.
//!
//! It runs beside the sequencer, one batch after the other, so that hashing never holds a decision
//! up. After a failed append it is thrown away with the sequencer and read back from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::{ClosedBatch, ClosedRun, Placed};
use super::decision::NewPart;
use crate::audit::{Frontier, Sealer};
use crate::error::{Error, Result};
use crate::event::step::HALTED;
use crate::event::{EventKind, FACTS_VERSION, MAX_INLINE_PART_BYTES, Part, PartContent, Record};
use crate::id::{Digest, RunId, WorkspaceId};
use crate::ports::{AccountRow, Batch, Blob, Entropy, RunRow, RunSummary, WorkspaceRow};
use crate::run::{BlockReason, End, Run};

/// The writer of bytes.
#[derive(Debug)]
pub struct Scribe {
    sealer: Sealer,
    heads: BTreeMap<RunId, Digest>,
    zero: (Digest, u64),
    frontier: Frontier,
    entropy: Arc<dyn Entropy>,
}

impl Scribe {
    /// A scribe for an empty log.
    pub fn new(workspace_id: WorkspaceId, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            sealer: Sealer::new(workspace_id),
            heads: BTreeMap::new(),
            zero: (Digest::ZERO, 0),
            frontier: Frontier::default(),
            entropy,
        }
    }

    /// A scribe that goes on where the log ends.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn resume(row: &WorkspaceRow, entropy: Arc<dyn Entropy>) -> Result<Self> {
        Ok(Self {
            zero: (row.chain_head, row.next_run_seq),
            frontier: Frontier::decode(&row.frontier)?,
            ..Self::new(row.workspace_id, entropy)
        })
    }

    /// Takes over the chain of a run.
    #[cfg(test)]
    pub(super) fn remember_for_tests(&mut self, run: RunId) {
        self.heads.insert(run, Digest::ZERO);
    }

    /// How many chains are kept.
    #[cfg(test)]
    pub(super) fn remembered_for_tests(&self) -> usize {
        self.heads.len()
    }

    /// Writes a batch: every byte of it is made here.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for events that were applied.
    pub fn write(&mut self, closed: ClosedBatch) -> Result<Batch> {
        for (run, state) in &closed.runs {
            self.heads.entry(*run).or_insert(state.chain);
        }
        let mut batch = Batch {
            records: Vec::with_capacity(closed.placed.len()),
            blobs: Vec::new(),
            runs: Vec::with_capacity(closed.runs.len()),
            accounts: Vec::new(),
            workflows: closed.workflows,
            keys: closed.keys,
            tiles: Vec::new(),
            workspace: self.workspace_row(closed.workspace_id, closed.shared),
        };
        for placed in closed.placed {
            self.event(placed, closed.epoch, &mut batch)?;
        }
        for (run, state) in &closed.runs {
            batch.runs.push(self.run_row(*run, state)?);
        }
        for (id, account) in closed.accounts {
            let state = serde_json::to_vec(&account)
                .map_err(|e| Error::internal("an account cannot be written").with_source(e))?;
            batch.accounts.push(AccountRow {
                account: id.to_string().into(),
                state: state.into(),
            });
        }
        batch.workspace.frontier = self.frontier.encode().into();
        batch.workspace.chain_head = self.zero.0;
        batch.workspace.next_run_seq = self.zero.1;
        for run in closed.evicted {
            self.heads.remove(&run);
        }
        Ok(batch)
    }

    fn workspace_row(&self, workspace_id: WorkspaceId, state: Arc<[u8]>) -> WorkspaceRow {
        WorkspaceRow {
            workspace_id,
            state,
            frontier: Arc::from([]),
            chain_head: self.zero.0,
            next_run_seq: self.zero.1,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only the seal is completed here"
    )]
    fn event(&mut self, placed: Placed, epoch: u64, batch: &mut Batch) -> Result<()> {
        let prev = match placed.run_id {
            RunId::ZERO => self.zero.0,
            run => self.heads.get(&run).copied().unwrap_or(Digest::ZERO),
        };
        let kind = match placed.kind {
            EventKind::RunSealed(mut facts) => {
                facts.last_event_hash = prev;
                EventKind::RunSealed(facts)
            }
            kind => kind,
        };
        let blobs_from = batch.blobs.len();
        let mut parts = Vec::with_capacity(placed.parts.len());
        for part in placed.parts {
            parts.push(self.part(placed.run_id, part, batch));
        }
        let record = Record {
            seq: placed.seq,
            run_id: placed.run_id,
            run_seq: placed.run_seq,
            epoch,
            ts: placed.ts,
            kind: Arc::from(kind.name()),
            actor: placed.actor,
            auth_method: placed.auth_method,
            schema_ver: FACTS_VERSION,
            cmd_id: placed.cmd_id,
            facts: kind.facts()?.into(),
            parts,
        };
        let fresh = &batch.blobs[blobs_from..];
        let bytes = |_: RunId, digest: &Digest| {
            fresh
                .iter()
                .find(|blob| blob.digest == *digest)
                .map(|blob| Arc::clone(&blob.bytes))
        };
        let hash = self.sealer.seal(&record, &prev, &bytes)?;
        match placed.run_id {
            RunId::ZERO => self.zero = (hash, placed.run_seq + 1),
            run => drop(self.heads.insert(run, hash)),
        }
        batch.tiles.extend(self.frontier.push(hash));
        batch.records.push(record);
        Ok(())
    }

    fn part(&self, family: RunId, part: NewPart, batch: &mut Batch) -> Part {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        let len = u64::try_from(part.bytes.len()).unwrap_or(u64::MAX);
        let content = if part.bytes.len() <= MAX_INLINE_PART_BYTES {
            PartContent::Inline(part.bytes)
        } else {
            let digest = Digest::of(&[&part.bytes]);
            batch.blobs.push(Blob {
                family,
                digest,
                bytes: part.bytes,
            });
            PartContent::Blob(digest)
        };
        Part {
            salt,
            len,
            media_type: part.media_type,
            content,
        }
    }

    fn run_row(&self, run: RunId, state: &ClosedRun) -> Result<RunRow> {
        let head = self.heads.get(&run).copied();
        Ok(RunRow {
            summary: summary(&state.run, state.agents.clone()),
            state: state.run.encode()?.into(),
            chain_head: head.unwrap_or(state.chain),
            next_run_seq: state.run.events,
            needs: state.needs.clone(),
        })
    }
}

/// What lists and searches show of a run.
pub fn summary(run: &Run, agents: Vec<crate::id::AgentName>) -> RunSummary {
    let labels = run
        .created
        .labels
        .iter()
        .map(|(k, v)| (k.clone(), Arc::clone(v)))
        .collect();
    RunSummary {
        run_id: run.run_id,
        workflow: run.workflow().map(|(name, _)| name.clone()),
        version: run.workflow().map_or(0, |(_, version)| version),
        agents,
        status: run.status,
        paused: run.paused.is_some(),
        sealed: run.sealed,
        labels,
        started_at: run.started_at,
        ended_at: run.ended_at,
        spent: run.spent().money,
        held: run.held().money,
        spent_nested: run.spent_nested().money,
        outer: run.outer().cloned(),
        limit: *run.account().limit(),
        note: note(run).into(),
    }
}

/// Why a run stands still or how it ended, as a short code.
fn note(run: &Run) -> String {
    use crate::event::run::{AbortReason, PauseReason};
    match (&run.end, &run.paused) {
        (Some(End::Completed), _) => String::new(),
        (Some(End::Failed { code, .. }), _) => code.clone(),
        (Some(End::Aborted { reason }), _) => match reason {
            AbortReason::Operator => "operator".to_owned(),
            AbortReason::Budget { account } => format!("budget:{account}"),
            AbortReason::Policy { code } => format!("policy:{code}"),
            AbortReason::HostLost => "host_lost".to_owned(),
            AbortReason::Outer { .. } => "outer".to_owned(),
        },
        (None, Some(PauseReason::Operator)) => "paused".to_owned(),
        (None, Some(PauseReason::Halt { .. })) => HALTED.to_owned(),
        (None, Some(PauseReason::Budget { account })) => format!("budget:{account}"),
        (None, Some(PauseReason::StepFailed { step })) => format!("step_failed:{step}"),
        (None, Some(PauseReason::Outer { .. })) => "outer".to_owned(),
        (None, None) => blocked(run),
    }
}

fn blocked(run: &Run) -> String {
    let person = |reason: BlockReason| match reason {
        BlockReason::Approval
        | BlockReason::Budget
        | BlockReason::Guardrail
        | BlockReason::InDoubt
        | BlockReason::AgentUnavailable => true,
        BlockReason::Circuit | BlockReason::Signal => false,
    };
    let mut reasons = run.steps.values().filter_map(|step| step.block.as_ref());
    reasons
        .find(|b| person(b.reason))
        .map_or(String::new(), |b| b.reason.as_str().to_owned())
}
