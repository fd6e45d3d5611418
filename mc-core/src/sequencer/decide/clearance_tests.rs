//! An approval covers exactly what was shown, and is used once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::event::approval::{ApprovalDecided, ApprovalVerdict};
use crate::event::run::{RunCreated, RunPolicy, Subject};
use crate::event::{EventKind, MediaType};
use crate::id::{AuthMethod, OperatorName, RunId};
use crate::policy::Mode;
use crate::ports::{Entropy, Head, Lease, Recovered};
use crate::pricing::PriceLayers;
use crate::run::RunEvent;
use crate::sequencer::{Instant, Prices, Sequencer, Settings, recover};
use crate::sim::SeededEntropy;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_unix_us(1_767_225_600_000_000);

fn sequencer() -> Sequencer {
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
    let instant = Instant {
        now: NOW,
        monotonic: Duration::ZERO,
        random: 0,
    };
    let settings = Settings::default();
    let table = Arc::clone(&settings.prices);
    let layers = PriceLayers::of(Arc::clone(&table));
    let prices = Prices::new(layers, table, BTreeMap::new());
    let made = recover(
        &found,
        (settings, prices),
        &entropy,
        instant,
        AuthMethod::Library,
    );
    made.unwrap().0
}

fn apply(run: &mut Run, kind: &EventKind, actor: &Actor) -> bool {
    let event = RunEvent {
        seq: run.events,
        ts: NOW,
        epoch: 1,
        actor,
        kind,
    };
    run.apply(&event).is_ok()
}

fn a_run() -> Run {
    let subject = Subject::Session {
        agent: "it".parse().unwrap(),
    };
    let created = RunCreated {
        subject,
        definition_hash: None,
        input_digest: Digest::ZERO,
        budget: None,
        policy: RunPolicy {
            no_progress: Mode::Off,
            unattended: false,
            model_retry_max_elapsed_ms: 0,
            doubt_settle_after_ms: 1,
            plan_check: crate::event::run::PlanCheck::Strict,
        },
        labels: BTreeMap::new(),
        tags: std::collections::BTreeSet::new(),
        correlation_id: None,
        idempotency_key: None,
        nested_in: Vec::new(),
        started_by: None,
    };
    let event = RunEvent {
        seq: 0,
        ts: NOW,
        epoch: 1,
        actor: &Actor::System,
        kind: &created.into(),
    };
    Run::create(RunId::from_bytes([7; 16]), &event).unwrap()
}

fn part(bytes: &[u8]) -> NewPart {
    NewPart {
        media_type: MediaType::Octets,
        bytes: bytes.into(),
        value: None,
    }
}

/// What asks in these tests.
struct Asking {
    key: StepKey,
    agent: AgentName,
    tool: Opaque,
    maximum: Amount,
}

impl Asking {
    fn new() -> Self {
        Self {
            key: "a".parse().unwrap(),
            agent: "it".parse().unwrap(),
            tool: "pay".parse().unwrap(),
            maximum: Amount::ZERO,
        }
    }

    fn wish<'a>(&'a self, run: &'a Run, params: &'a NewPart) -> Wish<'a> {
        Wish {
            run,
            key: &self.key,
            call: Some((0, Callee::Tool(&self.tool))),
            rule: None,
            agent: &self.agent,
            risk: RiskTier::Financial,
            own: None,
            params,
            maximum: Some(self.maximum),
        }
    }
}

/// A run in which these parameters were asked for and approved.
fn approved(view: &View<'_>, asking: &Asking, params: &NewPart) -> Run {
    let mut run = a_run();
    let asked = clear(view, &asking.wish(&run, params));
    let Clearance::Asked(1, events) = asked else {
        panic!("{asked:?}");
    };
    for event in events {
        assert!(apply(&mut run, &event.kind, &Actor::System));
    }
    let decided = ApprovalDecided {
        number: 1,
        step: asking.key.clone(),
        verdict: ApprovalVerdict::Approved,
    };
    let by = Actor::Operator(OperatorName::new("bob").unwrap());
    assert!(apply(&mut run, &decided.into(), &by));
    run
}

const PARAMS: &[u8] = br#"{"amount":1,"currency":"USD","to":{"account":"12345","name":"eve"}}"#;

/// The parameters with one thing changed, by a number.
fn mutated(number: usize) -> Vec<u8> {
    let mut bytes = PARAMS.to_vec();
    let at = (number / 7) % bytes.len();
    let text = || String::from_utf8_lossy(PARAMS).into_owned();
    match number % 7 {
        0 => bytes[at] ^= 1 << (number / 7 / PARAMS.len() % 8),
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, b' '),
        3 => bytes.insert(at, bytes[at]),
        4 => {
            return text()
                .replace(":1,", [":1.0,", ":01,", ":1e0,"][number / 7 % 3])
                .into_bytes();
        }
        5 => {
            let swapped = r#"{"currency":"USD","amount":1,"#;
            let rest = text().replace(r#"{"amount":1,"currency":"USD","#, swapped);
            return format!("{rest}{}", " ".repeat(number % 3)).into_bytes();
        }
        _ => bytes.truncate(at),
    }
    bytes
}

#[test]
fn of_a_hundred_thousand_other_parameters_none_is_covered() {
    let (sequencer, asking, shown) = (sequencer(), Asking::new(), part(PARAMS));
    let view = sequencer.view();
    let run = approved(&view, &asking, &shown);
    let same = clear(&view, &asking.wish(&run, &shown));
    assert!(matches!(
        same,
        Clearance::Granted {
            number: 1,
            fresh: true
        }
    ));
    let mut tried = 0;
    for number in 0..120_000 {
        let other = mutated(number);
        if other == PARAMS {
            continue;
        }
        tried += 1;
        let other = part(&other);
        let answer = clear(&view, &asking.wish(&run, &other));
        let Clearance::Asked(2, events) = answer else {
            panic!("{number}: {answer:?}");
        };
        let EventKind::ApprovalVoided(voided) = &events[0].kind else {
            panic!("{number}: {events:?}");
        };
        assert_eq!(voided.reason, VoidReason::ParamsChanged);
    }
    assert!(tried >= 100_000, "{tried}");
}

/// The uses of one approval by a thousand who all look before anybody acts. Every tenth asks what the
/// sequencer asks; to the others it would say the same.
fn uses(view: &View<'_>, wish: &Wish<'_>, world: u32) -> Vec<NewEvent> {
    let uses = (0..1_000_u32).map(|consumer| {
        if consumer.is_multiple_of(10) {
            let fresh = matches!(
                clear(view, wish),
                Clearance::Granted {
                    number: 1,
                    fresh: true
                }
            );
            assert!(fresh, "it is not used yet");
        }
        consumed(wish.run, 1, world.wrapping_add(consumer), Digest::ZERO).unwrap()
    });
    uses.collect()
}

#[test]
fn of_a_thousand_uses_one_wins_a_thousand_times() {
    let (sequencer, asking, shown) = (sequencer(), Asking::new(), part(PARAMS));
    let view = sequencer.view();
    let ready = approved(&view, &asking, &shown);
    for world in 0..1_000_u32 {
        let mut run = ready.clone();
        let winners = uses(&view, &asking.wish(&ready, &shown), world);
        let winners = winners
            .iter()
            .filter(|used| apply(&mut run, &used.kind, &Actor::System));
        assert_eq!(winners.count(), 1, "world {world}");
        let again = clear(&view, &asking.wish(&run, &shown));
        assert!(
            matches!(again, Clearance::Asked(2, _)),
            "a used one is asked anew"
        );
    }
}

#[test]
fn a_higher_price_tier_or_other_tool_is_not_covered() {
    let (sequencer, mut asking, shown) = (sequencer(), Asking::new(), part(PARAMS));
    let view = sequencer.view();
    let run = approved(&view, &asking, &shown);
    asking.maximum.calls = 1;
    let dearer = clear(&view, &asking.wish(&run, &shown));
    assert!(matches!(dearer, Clearance::Asked(2, _)));
    asking.maximum = Amount::ZERO;
    asking.tool = "send".parse().unwrap();
    let other = clear(&view, &asking.wish(&run, &shown));
    assert!(matches!(other, Clearance::Asked(2, _)));
}
