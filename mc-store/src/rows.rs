//! How the port's rows are spelled on disk. Keys are not repeated in the values.
//!
//! A run's row has three pieces: the *head* (what the lists of `redb_log::tables` are made of, so
//! that an update can compare heads and touch only what differs), the summary, and the state.
//! Packing of large states is the caller's: `redb_log::pack`.

use std::sync::Arc;

use mc_core::budget::Limit;
use mc_core::event::nested::NestedIn;
use mc_core::id::{AgentName, Digest, LabelKey, RunId, WorkflowName, WorkspaceId};
use mc_core::money::NanoUsd;
use mc_core::ports::{KeyRow, RunNeeds, RunRow, RunSummary, WorkflowRow, WorkspaceRow};
use mc_core::run::RunStatus;
use mc_core::time::Timestamp;

use crate::bytes::{Malformed, Reader, Writer};
use crate::term;

/// The shape of a run's row, and the one before it, which knew of no nested runs.
const RUN_ROW_SHAPE: u64 = 2;
const RUN_ROW_SHAPE_FLAT: u64 = 1;

/// What finds a run: its needs and its search terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunHead {
    pub(crate) needs: RunNeeds,
    /// Hashed terms, sorted.
    pub(crate) terms: Vec<u64>,
}

impl RunHead {
    pub(crate) fn of(row: &RunRow) -> Self {
        let mut needs = row.needs.clone();
        needs.agents.sort_unstable();
        needs.agents.dedup();
        Self {
            needs,
            terms: term::of_run(&row.summary),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(u64::from(self.needs.attention));
        out.option(self.needs.due, |out, due| out.signed(due.as_unix_us()));
        out.number(self.needs.agents.len() as u64);
        for agent in &self.needs.agents {
            out.text(agent.as_str());
        }
        out.number(self.terms.len() as u64);
        for term in &self.terms {
            out.raw(&term.to_be_bytes());
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut row = Reader::new(bytes);
        let attention = row.flag()?;
        let due = row.option(Reader::signed)?.map(Timestamp::from_unix_us);
        let agents = row.list(agent)?;
        let terms = row.list(|row| row.array().map(u64::from_be_bytes))?;
        row.end()?;
        Ok(Self {
            needs: RunNeeds {
                attention,
                due,
                agents,
            },
            terms,
        })
    }
}

/// Writes a run's row; `state` is packed already.
pub(crate) fn encode_run(row: &RunRow, head: &[u8], state: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(RUN_ROW_SHAPE);
    out.bytes(head);
    summary(&mut out, &row.summary);
    out.raw(row.chain_head.as_bytes());
    out.number(row.next_run_seq);
    out.raw(state);
    out.finish()
}

/// The head of a run's row, still encoded.
pub(crate) fn run_head(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut row = Reader::new(bytes);
    match row.number()? {
        RUN_ROW_SHAPE | RUN_ROW_SHAPE_FLAT => row.bytes(),
        _ => Err(Malformed),
    }
}

/// The summary of a run's row, without its state.
pub(crate) fn decode_summary(run: RunId, bytes: &[u8]) -> Result<RunSummary, Malformed> {
    let mut row = Reader::new(bytes);
    let shape = row.number()?;
    row.bytes()?;
    read_summary(&mut row, run, shape)
}

/// A run's row, and its state still packed.
pub(crate) fn decode_run(run: RunId, bytes: &[u8]) -> Result<(RunRow, &[u8]), Malformed> {
    let head = RunHead::decode(run_head(bytes)?)?;
    let mut row = Reader::new(bytes);
    let shape = row.number()?;
    row.bytes()?;
    let summary = read_summary(&mut row, run, shape)?;
    let chain_head = Digest::from_bytes(row.array()?);
    let next_run_seq = row.number()?;
    let decoded = RunRow {
        summary,
        state: Arc::from([]),
        chain_head,
        next_run_seq,
        needs: head.needs,
    };
    Ok((decoded, row.rest()))
}

fn summary(out: &mut Writer, run: &RunSummary) {
    out.option(run.workflow.as_ref(), |out, name| out.text(name.as_str()));
    out.number(u64::from(run.version));
    out.number(run.agents.len() as u64);
    for agent in &run.agents {
        out.text(agent.as_str());
    }
    out.text(run.status.as_str());
    out.number(u64::from(run.paused));
    out.number(u64::from(run.sealed));
    out.number(run.labels.len() as u64);
    for (key, value) in &run.labels {
        out.text(key.as_str());
        out.text(value);
    }
    out.signed(run.started_at.as_unix_us());
    out.option(run.ended_at, |out, at| out.signed(at.as_unix_us()));
    out.signed(run.spent.as_nano());
    out.signed(run.held.as_nano());
    out.option(run.limit.money, |out, money| out.signed(money.as_nano()));
    out.option(run.limit.input_tokens, Writer::number);
    out.option(run.limit.output_tokens, Writer::number);
    out.option(run.limit.calls, Writer::number);
    out.text(&run.note);
    out.signed(run.spent_nested.as_nano());
    out.option(run.outer.as_ref(), |out, outer| {
        out.raw(outer.run.as_bytes());
        out.text(outer.step.as_str());
    });
}

fn read_summary(row: &mut Reader<'_>, run_id: RunId, shape: u64) -> Result<RunSummary, Malformed> {
    let mut summary = read_flat_summary(row, run_id)?;
    if shape != RUN_ROW_SHAPE_FLAT {
        summary.spent_nested = NanoUsd::from_nano(row.signed()?);
        summary.outer = row.option(outer)?;
    }
    Ok(summary)
}

fn outer(row: &mut Reader<'_>) -> Result<NestedIn, Malformed> {
    Ok(NestedIn {
        run: RunId::from_bytes(row.array()?),
        step: row.text()?.parse().map_err(|_| Malformed)?,
    })
}

fn read_flat_summary(row: &mut Reader<'_>, run_id: RunId) -> Result<RunSummary, Malformed> {
    Ok(RunSummary {
        run_id,
        workflow: row.option(workflow)?,
        version: u32::try_from(row.number()?).map_err(|_| Malformed)?,
        agents: row.list(agent)?,
        status: RunStatus::parse(row.text()?).ok_or(Malformed)?,
        paused: row.flag()?,
        sealed: row.flag()?,
        labels: row.list(|row| Ok((label(row)?, Arc::from(row.text()?))))?,
        started_at: Timestamp::from_unix_us(row.signed()?),
        ended_at: row.option(Reader::signed)?.map(Timestamp::from_unix_us),
        spent: NanoUsd::from_nano(row.signed()?),
        held: NanoUsd::from_nano(row.signed()?),
        limit: Limit {
            money: row.option(Reader::signed)?.map(NanoUsd::from_nano),
            input_tokens: row.option(Reader::number)?,
            output_tokens: row.option(Reader::number)?,
            calls: row.option(Reader::number)?,
        },
        note: Arc::from(row.text()?),
        spent_nested: NanoUsd::ZERO,
        outer: None,
    })
}

fn agent(row: &mut Reader<'_>) -> Result<AgentName, Malformed> {
    AgentName::new(row.text()?).map_err(|_| Malformed)
}

fn workflow(row: &mut Reader<'_>) -> Result<WorkflowName, Malformed> {
    WorkflowName::new(row.text()?).map_err(|_| Malformed)
}

fn label(row: &mut Reader<'_>) -> Result<LabelKey, Malformed> {
    LabelKey::new(row.text()?).map_err(|_| Malformed)
}

/// Writes the workspace's row.
pub(crate) fn encode_workspace(row: &WorkspaceRow) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(row.workspace_id.as_bytes());
    out.raw(row.chain_head.as_bytes());
    out.number(row.next_run_seq);
    out.bytes(&row.frontier);
    out.bytes(&row.state);
    out.finish()
}

/// Reads the workspace's row.
pub(crate) fn decode_workspace(bytes: &[u8]) -> Result<WorkspaceRow, Malformed> {
    let mut row = Reader::new(bytes);
    let workspace_id = WorkspaceId::from_bytes(row.array()?);
    let chain_head = Digest::from_bytes(row.array()?);
    let next_run_seq = row.number()?;
    let frontier = Arc::from(row.bytes()?);
    let state = Arc::from(row.bytes()?);
    row.end()?;
    Ok(WorkspaceRow {
        workspace_id,
        state,
        frontier,
        chain_head,
        next_run_seq,
    })
}

/// Writes a workflow's version; name and version are its key.
pub(crate) fn encode_workflow(row: &WorkflowRow) -> Vec<u8> {
    let mut out = Writer::default();
    out.raw(row.hash.as_bytes());
    out.signed(row.published_at.as_unix_us());
    out.number(u64::from(row.active));
    out.bytes(&row.definition);
    out.finish()
}

/// Reads a workflow's version.
pub(crate) fn decode_workflow(
    (workflow, version): (WorkflowName, u32),
    bytes: &[u8],
) -> Result<WorkflowRow, Malformed> {
    let mut row = Reader::new(bytes);
    let hash = Digest::from_bytes(row.array()?);
    let published_at = Timestamp::from_unix_us(row.signed()?);
    let active = row.flag()?;
    let definition = Arc::from(row.bytes()?);
    row.end()?;
    Ok(WorkflowRow {
        workflow,
        version,
        hash,
        published_at,
        active,
        definition,
    })
}

/// Writes an idempotency key's value.
pub(crate) fn encode_key(row: &KeyRow) -> [u8; 48] {
    let mut value = [0; 48];
    value[..16].copy_from_slice(row.run_id.as_bytes());
    value[16..].copy_from_slice(row.request.as_bytes());
    value
}

/// Reads an idempotency key's value.
pub(crate) fn decode_key(value: &[u8; 48]) -> Result<(RunId, Digest), Malformed> {
    let mut row = Reader::new(value);
    Ok((
        RunId::from_bytes(row.array()?),
        Digest::from_bytes(row.array()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> RunRow {
        RunRow {
            summary: RunSummary {
                run_id: RunId::from_bytes([7; 16]),
                workflow: WorkflowName::new("research").ok(),
                version: 3,
                agents: vec![AgentName::new("writer").unwrap()],
                status: RunStatus::Running,
                paused: true,
                sealed: false,
                labels: vec![(LabelKey::new("team").unwrap(), Arc::from("a b"))],
                started_at: Timestamp::from_unix_us(-5),
                ended_at: None,
                spent: NanoUsd::from_nano(-1),
                held: NanoUsd::from_nano(i64::MAX),
                limit: Limit::usd(NanoUsd::from_nano(5)),
                note: Arc::from("budget"),
                spent_nested: NanoUsd::from_nano(4),
                outer: Some(NestedIn {
                    run: RunId::from_bytes([8; 16]),
                    step: "qa[3]".parse().unwrap(),
                }),
            },
            state: Arc::from(&b"state"[..]),
            chain_head: Digest::of(&[b"x"]),
            next_run_seq: 9,
            needs: RunNeeds {
                attention: true,
                due: Some(Timestamp::from_unix_us(-7)),
                agents: vec![AgentName::new("writer").unwrap()],
            },
        }
    }

    fn encoded(row: &RunRow) -> Vec<u8> {
        encode_run(row, &RunHead::of(row).encode(), &row.state)
    }

    #[test]
    fn a_row_of_before_there_were_nested_runs_is_read() {
        let mut row = row();
        let mut out = Writer::default();
        out.number(RUN_ROW_SHAPE_FLAT);
        out.bytes(&RunHead::of(&row).encode());
        let mut whole = Writer::default();
        summary(&mut whole, &row.summary);
        // What the shape of now ends with: 1 byte of money, 1 of presence, 16 of the run, 6 of the step.
        let whole = whole.finish();
        out.raw(&whole[..whole.len() - 24]);
        out.raw(row.chain_head.as_bytes());
        out.number(row.next_run_seq);
        (row.summary.spent_nested, row.summary.outer) = (NanoUsd::ZERO, None);
        let bytes = out.finish();
        let (back, _) = decode_run(row.summary.run_id, &bytes).unwrap();
        assert_eq!(back.summary, row.summary);
        assert_eq!(back.chain_head, row.chain_head);
    }

    #[test]
    fn a_run_comes_back_as_it_was_written() {
        let row = row();
        let bytes = encoded(&row);
        let (mut back, state) = decode_run(row.summary.run_id, &bytes).unwrap();
        back.state = Arc::from(state);
        assert_eq!(back, row);
        assert_eq!(
            decode_summary(row.summary.run_id, &bytes).unwrap(),
            row.summary
        );
    }

    #[test]
    fn a_row_cut_short_is_refused() {
        let row = row();
        let bytes = encoded(&row);
        let fixed = bytes.len() - row.state.len();
        for len in 0..fixed {
            assert!(
                decode_run(row.summary.run_id, &bytes[..len]).is_err(),
                "{len}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_is_read_or_refused_and_never_panics() {
        let row = row();
        let bytes = encoded(&row);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = decode_run(row.summary.run_id, &bytes);
        }
    }

    #[test]
    fn agents_named_twice_are_needed_once() {
        let mut row = row();
        row.needs.agents = vec![AgentName::new("b").unwrap(), AgentName::new("a").unwrap()];
        row.needs.agents.push(AgentName::new("b").unwrap());
        assert_eq!(RunHead::of(&row).needs.agents.len(), 2);
    }
}
