//! Who reports an end twice is told so, and neither writes nor pays anything again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::error::{Detail, Error, ErrorKind};
use crate::id::{Actor, AuthMethod, CommandId, Digest, RunId};
use crate::ports::{Entropy, Head, Lease, Recovered};
use crate::pricing::{CallTerms, PriceLayers};
use crate::sim::SeededEntropy;
use crate::time::Timestamp;
use crate::usage::Usage;
use crate::workflow::Workflow;

const NOW: Instant = Instant {
    now: Timestamp::from_unix_us(1_767_225_600_000_000),
    monotonic: Duration::ZERO,
    random: 0,
};
const RUN: RunId = RunId::from_bytes([7; 16]);

/// A sequencer with what it has given out.
struct World {
    sequencer: Sequencer,
    commands: u8,
    orders: Vec<Token>,
}

impl World {
    /// A run whose only step is out.
    fn with_an_attempt() -> (Self, Token) {
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
        let policy = settings.run_policy.clone();
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
        let mut this = Self {
            sequencer: made.unwrap().0,
            commands: 0,
            orders: Vec::new(),
        };
        let yaml = "{ workflow: w, steps: { a: { agent: it, risk: read } } }";
        let publish = Publish {
            workflow: Arc::new(Workflow::from_yaml(yaml).unwrap()),
            activation: Activation::Now,
        };
        this.sequencer.register("it".parse().unwrap(), None);
        this.done(Request::StartDispatch);
        this.done(Request::Publish(publish));
        this.done(Request::Start(Box::new(Start {
            run_id: RUN,
            workflow: "w".parse().unwrap(),
            version: None,
            input: Arc::default(),
            budget: None,
            policy,
            labels: BTreeMap::new(),
            tags: BTreeSet::new(),
            correlation_id: None,
            key: None,
        })));
        let token = this.orders.pop().unwrap();
        (this, token)
    }

    /// What is said to a request once everything is durable.
    fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        self.commands += 1;
        let command = Arc::new(Command {
            id: CommandId::from_bytes([self.commands; 16]),
            actor: Actor::System,
            auth_method: AuthMethod::Library,
            request,
        });
        let (slot, mut answer) = tokio::sync::oneshot::channel();
        let now = match self.sequencer.submit(&command, NOW, Some(slot)) {
            Submitted::Now(reply) => Some(reply),
            Submitted::Later => None,
        };
        while let Some((_, promised)) = self.sequencer.close_batch().unwrap() {
            self.sequencer.committed(promised.next_seq);
            promised.pending.into_iter().for_each(Pending::answer);
            for effect in promised.effects {
                if let Effect::Start(order) = effect {
                    self.orders.push(order.token);
                }
            }
        }
        now.unwrap_or_else(|| answer.try_recv().unwrap())
    }

    fn done(&mut self, request: Request) {
        self.ask(request).unwrap();
    }

    fn attempt(&mut self, token: &Token, request: AttemptRequest) -> Result<Reply, Error> {
        self.ask(Request::Attempt(token.clone(), request))
    }

    /// How many events there are, and what the workspace has spent.
    fn stands(&self) -> (u64, crate::budget::Amount) {
        let run = &self.sequencer.workspace().runs[&RUN].run;
        (self.sequencer.next_seq(), run.spent())
    }
}

fn is_told_so(said: Result<Reply, Error>) {
    let error = said.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTransition);
    assert_eq!(error.detail(), Some(&Detail::AlreadyCompleted));
}

fn place(ordinal: u32) -> JournalPlace {
    JournalPlace {
        ordinal,
        request: Digest::of(&[b"asked"]),
    }
}

/// A call that has gone out, and what it is answered with.
fn a_call(world: &mut World, token: &Token) -> AttemptRequest {
    let call = ReserveCall {
        place: place(0),
        agent: None,
        model: "openai/gpt-5.4".parse().unwrap(),
        bound: TokenBound {
            max_output_tokens: Some(1_000),
            ..TokenBound::default()
        },
        terms: CallTerms::default(),
        messages: vec![json!("hello")],
        rendered_bytes: Some(7),
        parameters: json!(null),
        patience: Patience::TellsOnly,
    };
    let asked = call.model.clone();
    let reply = world.attempt(token, AttemptRequest::ReserveCall(Arc::new(call)));
    let Ok(Reply::Call(CallReply::Allowed { by, .. })) = reply else {
        panic!("{reply:?}");
    };
    AttemptRequest::SettleCall(Arc::new(SettleCall {
        ordinal: 0,
        asked,
        model: None,
        terms: CallTerms::default(),
        service_tier: None,
        by,
        usage: Some(Usage {
            output_text: 100,
            ..Usage::default()
        }),
        entries: Vec::new(),
        answer: Some(json!("hi")),
        reasoning: None,
        latency_ms: 1,
    }))
}

#[test]
fn an_attempt_completes_once_and_its_first_output_counts() {
    let (mut world, token) = World::with_an_attempt();
    let complete = |n: u64| AttemptRequest::Complete(Arc::new(json!(n).into()));
    assert!(matches!(
        world.attempt(&token, complete(1)),
        Ok(Reply::Done)
    ));
    let stands = world.stands();
    is_told_so(world.attempt(&token, complete(2)));
    is_told_so(world.attempt(&token, complete(1)));
    let failure = AttemptFailure {
        code: "agent_failed".into(),
        message: "after all".into(),
        retry: Retry::AsPolicy,
    };
    is_told_so(world.attempt(&token, AttemptRequest::Fail(failure)));
    assert_eq!(world.stands(), stands);
}

#[test]
fn a_call_is_settled_once_and_a_second_time_gives_the_first_result() {
    let (mut world, token) = World::with_an_attempt();
    let settle = a_call(&mut world, &token);
    let before = world.stands().1;
    assert!(matches!(
        world.attempt(&token, settle.clone()),
        Ok(Reply::Done)
    ));
    let stands = world.stands();
    assert!(stands.1 != before);
    assert!(matches!(world.attempt(&token, settle), Ok(Reply::Done)));
    assert_eq!(world.stands(), stands);
}

#[test]
fn a_call_that_was_never_reserved_or_has_failed_is_not_settled() {
    let (mut world, token) = World::with_an_attempt();
    let settle = a_call(&mut world, &token);
    let AttemptRequest::SettleCall(answer) = &settle else {
        panic!("{settle:?}");
    };
    let fail = FailCall {
        ordinal: 0,
        failure: crate::resilience::CallFailure::NotSent,
        retry_after_ms: None,
        observed: None,
        by: answer.by,
        message: "it never left".into(),
    };
    let failed = world.attempt(&token, AttemptRequest::FailCall(Box::new(fail.clone())));
    assert!(failed.is_ok());
    let stands = world.stands();
    is_told_so(world.attempt(&token, settle.clone()));
    is_told_so(world.attempt(&token, AttemptRequest::FailCall(Box::new(fail))));
    let other = SettleCall {
        ordinal: 5,
        ..SettleCall::clone(answer)
    };
    is_told_so(world.attempt(&token, AttemptRequest::SettleCall(Arc::new(other))));
    assert_eq!(world.stands(), stands);
}

#[test]
fn a_tool_call_ends_once_and_its_first_result_counts() {
    let (mut world, token) = World::with_an_attempt();
    let begin = BeginTool {
        place: place(0),
        tool: "look".parse().unwrap(),
        risk: crate::policy::RiskTier::Read,
        params: b"{}".as_slice().into(),
        patience: Patience::TellsOnly,
    };
    let said = world.attempt(&token, AttemptRequest::BeginTool(begin));
    assert!(matches!(said, Ok(Reply::Tool(ToolReply::Allowed(_)))));
    let end = |result| AttemptRequest::EndTool(EndTool { ordinal: 0, result });
    let first = world.attempt(&token, end(Ok(Arc::new(json!(1)))));
    assert!(matches!(first, Ok(Reply::Done)));
    let stands = world.stands();
    is_told_so(world.attempt(&token, end(Ok(Arc::new(json!(2))))));
    is_told_so(world.attempt(&token, end(Err(("tool_failed".into(), "no".into())))));
    assert_eq!(world.stands(), stands);
}
