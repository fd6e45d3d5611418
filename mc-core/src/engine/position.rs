//! Where a run stands that does not move by itself, with the runs that are nested in it.

use std::sync::Arc;

use super::inner::{Inner, lock};
use super::outcome::Outcome;
use super::way_out::{Blocked, from_pause};
use crate::error::Result;
use crate::event::BlockReason;
use crate::event::run::PauseReason;
use crate::id::{RunId, StepKey};
use crate::run::{Run, Step};
use crate::sequencer::Workspace;

/// A step that waits for a person or a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedStep {
    /// Its run: the one that was asked about, or one that is nested in it. What clears the block is
    /// told to this run.
    pub run: RunId,
    /// The step.
    pub step: StepKey,
    /// The step with the composed steps around it: `qa/security`.
    pub path: String,
    /// What has to be cleared.
    pub reason: BlockReason,
    /// More precisely, by code.
    pub code: String,
}

/// A nested run that has a pause of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedRun {
    /// The nested run.
    pub run: RunId,
    /// The composed step that it is nested for: `qa`.
    pub path: String,
    /// Why it is paused.
    pub reason: PauseReason,
}

/// Where a run stands when it does not move by itself any more.
#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    /// It has ended.
    Ended(Outcome),
    /// A person or a host has to do something.
    Blocked {
        /// Why it is paused, if it is.
        paused: Option<PauseReason>,
        /// The runs nested in it that are paused of their own.
        nested: Vec<PausedRun>,
        /// The steps that wait, its own and those of runs nested in it.
        steps: Vec<BlockedStep>,
    },
}

/// Runs that are remembered as warned of.
const MOST_WARNED: usize = 10_000;

const fn is_outside(reason: BlockReason) -> bool {
    match reason {
        BlockReason::Approval
        | BlockReason::Budget
        | BlockReason::Guardrail
        | BlockReason::InDoubt
        | BlockReason::Signal
        | BlockReason::AgentUnavailable => true,
        BlockReason::Circuit => false,
    }
}

/// What stands still in a run, and in those nested in it that have not ended, until somebody outside
/// acts.
pub(super) fn blocked(run: &Run, nested: &[Arc<Run>]) -> Option<Position> {
    let all = || std::iter::once(run).chain(nested.iter().map(|one| &**one));
    let steps: Vec<BlockedStep> = all().flat_map(blocked_steps).collect();
    let paused: Vec<PausedRun> = nested.iter().filter_map(|one| own_pause(one)).collect();
    let moving = all().any(|run| {
        let wakes = |step: &Step| run.paused.is_none() && step.wake_at.is_some();
        let moves = |step: &Step| step.live.is_some() && step.block.is_none() || wakes(step);
        run.steps.values().any(moves)
    });
    let waits = run.paused.is_some() || !paused.is_empty() || !steps.is_empty();
    (waits && !moving).then(|| Position::Blocked {
        paused: run.paused.clone(),
        nested: paused,
        steps,
    })
}

fn blocked_steps(run: &Run) -> impl Iterator<Item = BlockedStep> + '_ {
    run.steps.iter().filter_map(|(key, step)| {
        let block = step.block.as_ref();
        let block = block.filter(|block| is_outside(block.reason))?;
        Some(BlockedStep {
            run: run.run_id,
            step: key.clone(),
            path: run.path_of(key),
            reason: block.reason,
            code: block.code.clone(),
        })
    })
}

fn own_pause(run: &Run) -> Option<PausedRun> {
    let reason = run.paused.clone()?;
    let mut keys = run.created.nested_in.iter().rev().map(|p| p.step.as_str());
    let first = keys.next().map(str::to_owned)?;
    let path = keys.fold(first, |path, key| path + "/" + key);
    match reason {
        PauseReason::Outer { .. } => None,
        PauseReason::Operator
        | PauseReason::Budget { .. }
        | PauseReason::StepFailed { .. }
        | PauseReason::Halt { .. } => Some(PausedRun {
            run: run.run_id,
            path,
            reason,
        }),
    }
}

/// The runs nested in one that is in memory and that have not ended; none where one of them is not
/// there.
fn nested_in_memory(workspace: &Workspace, run: &Run) -> Option<Vec<(Arc<Run>, u64)>> {
    let mut found = Vec::new();
    let mut next: Vec<RunId> = run.unsealed().collect();
    while let Some(run) = next.pop() {
        let resident = workspace.runs.get(&run)?;
        next.extend(resident.run.unsealed());
        if !resident.run.status.is_terminal() {
            found.push((Arc::clone(&resident.run), resident.last_seq));
        }
    }
    Some(found)
}

impl Inner {
    /// The runs nested in a run that have not ended, if all of them are on disk as they are; none where
    /// a commit is on its way, after which whoever watches the run is told.
    pub(super) async fn settled_nested(&self, run: &Run) -> Result<Option<Vec<Arc<Run>>>> {
        if run.unsealed().next().is_none() {
            return Ok(Some(Vec::new()));
        }
        {
            let live = lock(&self.live);
            if let Some(sequencer) = &live.sequencer
                && sequencer.workspace().runs.contains_key(&run.run_id)
                && let Some(found) = nested_in_memory(sequencer.workspace(), run)
            {
                let durable = found.iter().all(|(_, last)| *last < sequencer.durable());
                let runs = found.into_iter().map(|(run, _)| run).collect();
                return Ok(durable.then_some(runs));
            }
        }
        let mut found = Vec::new();
        let mut next: Vec<RunId> = run.unsealed().collect();
        while let Some(run) = next.pop() {
            let nested = self.durable_run(run).await?;
            next.extend(nested.unsealed());
            if !nested.status.is_terminal() {
                found.push(nested);
            }
        }
        Ok(Some(found))
    }

    /// The runs that have something to tell when these have moved: they, and those around them.
    pub(super) fn with_outer(&self, runs: &[RunId]) -> Vec<RunId> {
        let mut all = runs.to_vec();
        let live = lock(&self.live);
        let Some(sequencer) = &live.sequencer else {
            return all;
        };
        let known = &sequencer.workspace().runs;
        let nested = runs.iter().filter_map(|run| known.get(run));
        let around = nested.flat_map(|resident| &resident.run.created.nested_in);
        all.extend(around.map(|place| place.run));
        all
    }

    /// The first time that a run waits for a person, says what lets it go on.
    pub(super) fn warn_once(&self, run_id: RunId) {
        let run = {
            let live = lock(&self.live);
            let runs = live.sequencer.as_ref().map(|s| &s.workspace().runs);
            runs.and_then(|runs| runs.get(&run_id))
                .map(|resident| Arc::clone(&resident.run))
        };
        let position = run.as_deref().and_then(|run| blocked(run, &[]));
        let Some(Position::Blocked { steps, paused, .. }) = position else {
            return;
        };
        // What paused with the run around it is told of there.
        if steps.is_empty() && matches!(paused, Some(PauseReason::Outer { .. })) {
            return;
        }
        {
            let mut warned = lock(&self.warned);
            // A bound, not a rule: after so many it may be said again.
            if warned.len() >= MOST_WARNED {
                warned.clear();
            }
            if !warned.insert(run_id) {
                return;
            }
        }
        let step = steps.first();
        let blocked = step.and_then(|one| Blocked::of(run.as_deref()?, &one.step));
        if let (Some(BlockedStep { path, reason, .. }), Some(blocked)) = (step, blocked) {
            let way_out = blocked.way_out();
            tracing::warn!("run {run_id} waits: step `{path}` is blocked ({reason}); {way_out}");
        } else {
            let way_out = paused.map(|why| from_pause(run_id, &why));
            let way_out = way_out.unwrap_or_default();
            tracing::warn!("run {run_id} is paused; {way_out}");
        }
    }
}
