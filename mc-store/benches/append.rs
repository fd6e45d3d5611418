//! Appending, durable: one event a commit, a group of 64, and a wave of 256 events with 128 rows.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mc_core::ports::{Batch, EventLog, Lease};
use mc_store::RedbLog;
use mc_testkit::{Story, folded_row, run_id};

/// The next commit: so many events, two a run, each run with its row.
fn commit(story: &mut Story, events: u64) -> Batch {
    let cohort = story.next_seq() / 2_816;
    for n in 0..events.div_ceil(2) {
        let run = run_id(cohort * 128 + n);
        for kind in ["step.completed", "step.dispatched"]
            .into_iter()
            .take(usize::try_from(events).unwrap())
        {
            story.event(run, kind);
            story.part(&[b'x'; 200]);
        }
        let mut row = folded_row(run, &[]);
        row.state = vec![n.to_le_bytes()[0]; 900].into();
        story.row(row);
    }
    story.batch()
}

fn append(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("append/commit");
    for events in [1, 64, 256] {
        let dir = tempfile::tempdir_in(".").unwrap();
        let log = RedbLog::open(dir.path().join("bench.redb")).unwrap();
        let lease: Lease = runtime.block_on(log.acquire()).unwrap().lease;
        let mut story = Story::new();
        group.throughput(Throughput::Elements(events));
        group.bench_function(events.to_string(), |bencher| {
            bencher.iter_batched(
                || commit(&mut story, events),
                |batch| runtime.block_on(log.append(lease, batch)).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
