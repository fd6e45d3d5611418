//! Who writes events hears of every run that has left memory, whatever batch comes first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Instant, NewEvent, Prices, Scribe, Sequencer, Settings, recover};
use crate::event::workspace::EpochStarted;
use crate::id::{AgentName, AuthMethod, CommandId, RunId};
use crate::ports::{Entropy, Head, Lease, Recovered};
use crate::pricing::PriceLayers;
use crate::sequencer::decision::Effect;
use crate::sim::SeededEntropy;
use crate::time::Timestamp;

const NOW: Instant = Instant {
    now: Timestamp::from_unix_us(1_767_225_600_000_000),
    monotonic: Duration::ZERO,
    random: 0,
};
const GONE: RunId = RunId::from_bytes([7; 16]);

/// A workspace whose first events are written, and that a run has left.
fn left() -> (Sequencer, Scribe) {
    let found = Recovered {
        lease: Lease {
            epoch: 1,
            valid_until: None,
        },
        head: Head::default(),
        workspace: None,
        accounts: Vec::new(),
        workflows: Vec::new(),
        last_ts: None,
    };
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
    let settings = Settings::default();
    let table = Arc::clone(&settings.prices);
    let layers = PriceLayers::of(Arc::clone(&table));
    let prices = Prices::new(layers, table, BTreeMap::new());
    let made = recover(
        &found,
        (settings, prices),
        &entropy,
        NOW,
        AuthMethod::Library,
    );
    let (mut sequencer, mut scribe) = made.expect("an empty log");
    let (closed, _) = sequencer.close_batch().expect("no defect").expect("events");
    scribe.write(closed).expect("they are written");
    sequencer.evicted.push(GONE);
    (sequencer, scribe)
}

/// Something is handed out, and nothing is written.
fn hands_out(sequencer: &mut Sequencer) {
    let agents: Vec<AgentName> = Vec::new();
    sequencer.batch.effects.push(Effect::Offer(agents));
}

fn writes(sequencer: &mut Sequencer) {
    let facts = EpochStarted {
        epoch: 1,
        engine: "test".to_owned(),
    };
    let events = vec![NewEvent::new(RunId::ZERO, facts)];
    let command = CommandId::from_bytes([1; 16]);
    let opened = sequencer.open(command, NOW, AuthMethod::Library, events);
    opened.expect("it is placed");
}

fn told(sequencer: &mut Sequencer) -> Vec<RunId> {
    let closed = sequencer.close_batch().expect("no defect");
    closed.expect("something was decided").0.evicted
}

#[test]
fn a_batch_without_events_keeps_who_has_left_for_the_next_one_with_some() {
    let (mut sequencer, _) = left();
    hands_out(&mut sequencer);
    assert_eq!(told(&mut sequencer), []);
    writes(&mut sequencer);
    assert_eq!(told(&mut sequencer), [GONE]);
    writes(&mut sequencer);
    assert_eq!(told(&mut sequencer), []);
}

#[test]
fn the_chain_of_a_run_that_has_left_is_forgotten_with_the_next_event_that_is_written() {
    let (mut sequencer, mut scribe) = left();
    scribe.remember_for_tests(GONE);
    hands_out(&mut sequencer);
    let (closed, _) = sequencer
        .close_batch()
        .expect("no defect")
        .expect("effects");
    // What has no events is not written.
    assert!(closed.placed.is_empty());
    writes(&mut sequencer);
    let (closed, _) = sequencer.close_batch().expect("no defect").expect("events");
    scribe.write(closed).expect("they are written");
    assert_eq!(scribe.remembered_for_tests(), 0);
}
