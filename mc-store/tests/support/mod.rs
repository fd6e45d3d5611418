//! What the crash tests share: a teller of seeded histories, and the check of a store with itself.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not test functions"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use mc_core::error::Result;
use mc_core::event::{PartContent, PartRef, Record};
use mc_core::id::{Digest, RunId, WorkflowName};
use mc_core::ports::{AccountRow, Batch, EventLog, EventQuery, Head, KeyRow, Lease, WorkflowRow};
use mc_core::time::Timestamp;
use mc_testkit::{SeededEntropy, Story, folded_row, run_id};

/// Runs a future of a log to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

async fn everything(log: &dyn EventLog) -> Vec<Record> {
    log.read_workspace(0, usize::MAX).await.unwrap()
}

/// Tells batches whose rows are folds of their runs' events.
pub(crate) struct Teller {
    lease: Lease,
    acknowledged: u64,
    events: Vec<Record>,
    story: Story,
    batch: Option<Batch>,
}

impl Teller {
    /// Becomes the owner of a log and goes on where it ends.
    pub(crate) async fn acquire(log: &dyn EventLog) -> Self {
        let recovered = log.acquire().await.unwrap();
        let events = everything(log).await;
        Self {
            lease: recovered.lease,
            acknowledged: recovered.head.next_seq,
            story: Story::resume(recovered.head, &events),
            events,
            batch: None,
        }
    }

    /// How many events are in the log for certain.
    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Makes the next batch: a few events of a few runs, large parts now and then.
    pub(crate) fn tell(&mut self, chance: &SeededEntropy) {
        for _ in 0..=chance.below(12) {
            let run = run_id(chance.below(4));
            self.story.event(run, "step.completed");
            let size = usize::try_from(chance.below(3_000)).unwrap();
            let byte = chance.below(2).to_le_bytes()[0];
            self.story.part(&vec![byte; size]);
        }
        let mut batch = self.story.batch();
        let mut events = self.events.clone();
        events.extend(batch.records.clone());
        batch.runs = folds(&events).into_values().collect();
        batch.keys = vec![key(&events)];
        batch.accounts = accounts(events.len());
        batch.workflows = vec![workflow(events.len())];
        self.batch = Some(batch);
    }

    /// Appends the batch that was told last.
    pub(crate) async fn append(&mut self, log: &dyn EventLog) -> Result<()> {
        let batch = self.batch.clone().unwrap();
        log.append(self.lease, batch.clone()).await?;
        self.acknowledged += batch.records.len() as u64;
        self.events.extend(batch.records);
        Ok(())
    }
}

fn folds(events: &[Record]) -> BTreeMap<RunId, mc_core::ports::RunRow> {
    let mut runs: BTreeMap<RunId, Vec<Record>> = BTreeMap::new();
    for event in events {
        runs.entry(event.run_id).or_default().push(event.clone());
    }
    runs.into_iter()
        .map(|(run, events)| (run, folded_row(run, &events)))
        .collect()
}

/// Accounts with states that grow.
fn accounts(events: usize) -> Vec<AccountRow> {
    ["workspace", "agent:researcher", "workflow:research"]
        .map(|account| AccountRow {
            account: Arc::from(account),
            state: Arc::from(format!("{{\"events\":{events}}}").repeat(9).into_bytes()),
        })
        .to_vec()
}

/// A version of a workflow that was published with the events before it.
fn workflow(events: usize) -> WorkflowRow {
    let definition = format!("{{\"workflow\":\"research\",\"events\":{events}}}");
    WorkflowRow {
        workflow: WorkflowName::new("research").unwrap(),
        version: u32::try_from(events).unwrap(),
        hash: Digest::of(&[definition.as_bytes()]),
        published_at: Timestamp::EPOCH,
        active: true,
        definition: Arc::from(definition.into_bytes()),
    }
}

/// A key that tells at which event its batch ended.
fn key(events: &[Record]) -> KeyRow {
    let count = events.len();
    KeyRow {
        workflow: WorkflowName::new("research").unwrap(),
        key: Arc::from(count.to_string()),
        run_id: events[count - 1].run_id,
        request: Digest::of(&[&count.to_be_bytes()]),
    }
}

/// Compares a store with itself, and gives how many events it has.
pub(crate) async fn check_store(log: &dyn EventLog) -> u64 {
    let events = everything(log).await;
    let Head { next_seq, .. } = log.head().await.unwrap();
    assert_eq!(events.len() as u64, next_seq);
    assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq));
    check_rows(log, &events).await;
    check_parts(log, &events).await;
    if next_seq > 0 {
        // The row that was written with the last event: no batch is there by half.
        let last = key(&events);
        let found = log.run_by_key(&last.workflow, &last.key).await.unwrap();
        assert_eq!(found.0, Some(last));
    }
    let query = EventQuery {
        kind: Some(Arc::from("step.completed")),
        limit: 1_000,
        ..EventQuery::default()
    };
    assert_eq!(log.query_events(query).await.unwrap().items, events);
    next_seq
}

async fn check_rows(log: &dyn EventLog, events: &[Record]) {
    let folds = folds(events);
    for n in 0..4 {
        let run = run_id(n);
        let row = log.run_row(run).await.unwrap();
        assert_eq!(row.as_ref(), folds.get(&run));
        let read = log.read_run(run, 0, usize::MAX).await.unwrap();
        let of_run = events.iter().filter(|event| event.run_id == run);
        assert!(read.iter().eq(of_run));
    }
    let in_need: Vec<RunId> = folds
        .iter()
        .filter(|(_, row)| row.needs.attention)
        .map(|(run, _)| *run)
        .collect();
    assert_eq!(log.runs_in_need(None, 99).await.unwrap(), in_need);
    let due = folds.values().filter_map(|row| row.needs.due).min();
    assert_eq!(log.next_due().await.unwrap(), due);
}

async fn check_parts(log: &dyn EventLog, events: &[Record]) {
    for event in events.iter().rev().take(20) {
        let place = PartRef {
            seq: event.seq,
            part: 0,
        };
        let bytes = log.read_part(place).await.unwrap();
        assert_eq!(bytes.len() as u64, event.parts[0].len);
        if let PartContent::Blob(digest) = &event.parts[0].content {
            assert_eq!(Digest::of(&[&bytes]), *digest);
        }
    }
}
