//! The contract of the log port, as tests that any adapter can run.
//!
//! A factory makes an [`Opener`] for each rule: its first call gives an empty log, each later one opens
//! the same store again, after the log before was dropped. Rules are in files by theme.
#![expect(
    clippy::unwrap_used,
    reason = "this is test code, though it is compiled as a library"
)]

mod append;
mod lists;
mod parts;
mod queries;
mod rows;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mc_core::ports::{EventLog, Lease, Recovered};

use crate::build::Story;

/// Opens the one store of a rule: empty at first, and with what was written after that.
pub type Opener = Box<dyn FnMut() -> Arc<dyn EventLog> + Send>;

/// A log, its lease and the story that it is told.
struct Bench {
    open: Opener,
    log: Option<Arc<dyn EventLog>>,
    lease: Lease,
    story: Story,
}

impl Bench {
    async fn new(mut open: Opener) -> Self {
        let log = open();
        let lease = log.acquire().await.unwrap().lease;
        Self {
            open,
            log: Some(log),
            lease,
            story: Story::new(),
        }
    }

    fn log(&self) -> &dyn EventLog {
        self.log.as_deref().unwrap()
    }

    /// Appends what the story has.
    async fn append(&mut self) {
        let batch = self.story.batch();
        self.log().append(self.lease, batch).await.unwrap();
    }

    /// Drops the log, opens the store again and becomes its owner.
    async fn reopen(&mut self) -> Recovered {
        self.log = None;
        self.log = Some((self.open)());
        let recovered = self.log().acquire().await.unwrap();
        self.lease = recovered.lease;
        recovered
    }
}

type Held = Pin<Box<dyn Future<Output = ()>>>;
type Rule = Box<dyn Fn(Bench) -> Held>;

macro_rules! rules {
    ($($theme:ident: $($rule:ident)*;)*) => {
        vec![$($((
            concat!(stringify!($theme), "::", stringify!($rule)),
            Box::new(|bench| -> Held { Box::pin($theme::$rule(bench)) }) as Rule,
        ),)*)*]
    };
}

fn rules() -> Vec<(&'static str, Rule)> {
    rules! {
        append:
            what_is_appended_is_read_back
            runs_are_read_by_themselves
            a_stale_lease_is_refused_without_a_trace
            a_batch_that_does_not_begin_at_the_head_is_refused_without_a_trace
            events_out_of_order_are_refused_without_a_trace
            a_batch_without_events_writes_its_rows
            a_large_batch_comes_back_whole
            every_acknowledged_batch_is_there_after_a_reopen
            each_acquisition_raises_the_epoch;
        rows:
            a_runs_row_is_read_back_as_it_was_written
            the_later_row_of_a_batch_is_the_one
            shared_rows_are_recovered
            keys_find_their_run
            tile_roots_are_kept;
        lists:
            needs_follow_the_rows
            due_runs_come_earliest_first
            lists_come_in_pages
            agents_of_similar_names_are_told_apart;
        parts:
            small_and_large_parts_are_read_back
            a_part_that_is_not_there_is_not_found
            a_part_of_10_mb_comes_back
            the_same_bytes_may_be_named_again
            a_part_without_its_blob_is_refused;
        queries:
            runs_are_found_by_every_field
            events_are_found_by_every_field
            events_in_long_logs_are_found_like_in_a_plain_scan
            pages_join_without_gaps_or_repeats
            pages_stay_stable_while_the_log_grows
            forged_cursors_and_large_pages_are_refused;
    }
}

/// Holds an adapter to the contract of the log port.
///
/// # Panics
/// At the first rule that does not hold.
pub fn event_log_suite(make: impl Fn() -> Opener) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for (name, rule) in rules() {
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                rule(Bench::new(make()).await).await;
            });
        }));
        assert!(held.is_ok(), "the rule {name} does not hold");
    }
}
