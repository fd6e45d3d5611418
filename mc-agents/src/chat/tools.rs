//! Tools of a chat agent: programs, each asked of the policy by its name before it is started.
//!
//! A program gets the arguments on its standard input and answers on its standard output. What comes
//! of it, an error too, is an answer in the journal (`{"output": ..}` or `{"error": ".."}`), so that
//! an attempt that comes again does not start it anew. What is *not* here: how a program is run and
//! ended (`crate::command`), and what the model is then told (`talk`).

use mc_core::engine::{AgentError, StepContext, StepOutcome, kept};
use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::event::step::WaitingFor;
use mc_core::form::Schema;
use mc_core::id::{ApprovalId, Digest};
use mc_core::json;
use mc_core::policy::RiskTier;
use serde_json::{Value, json};

use super::talk::{Fared, Told, Wish};
use crate::command::CommandSpec;
use crate::command::process::{Ended, Why};
use crate::hiding::{Secrets, Whole, end};

/// The variable by which a program knows a call again that was out when its process died.
pub(super) const EFFECT_KEY: &str = "MISSION_CONTROL_EFFECT_KEY";

/// The most of what a program said that an error repeats, in bytes.
const MAX_EVIDENCE_BYTES: usize = 2 * 1024;
/// The most faults of arguments that a model is told at once.
const MOST_FAULTS: usize = 5;
/// The most tools that one answer may want called.
const MOST_WISHES: usize = 64;

/// A tool of a chat agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    /// Its name, for the model and for the policy.
    pub name: String,
    /// What the model is told of it.
    pub description: String,
    /// The schema of its arguments: of an object.
    pub parameters: Value,
    /// The program; models that it may call by itself are not asked for.
    pub command: CommandSpec,
}

/// The tools of an agent, ready to be called.
#[derive(Clone, Debug)]
pub(super) struct Tools(Vec<Tool>);

#[derive(Clone, Debug)]
struct Tool {
    spec: ToolSpec,
    schema: Schema,
    secrets: Secrets,
}

/// What became of the wishes of one answer.
pub(super) enum Fulfilled {
    /// All of them came to something.
    Told(Vec<Told>),
    /// A person has to approve one of them first.
    Waits(ApprovalId),
}

impl Tools {
    /// Tools, with their schemas compiled.
    ///
    /// # Errors
    /// `InvalidInput` for parameters that are no schema.
    pub(super) fn new(specs: &[ToolSpec]) -> Result<Self> {
        let tool = |spec: &ToolSpec| {
            let schema = Schema::compile(&spec.parameters);
            let schema = schema.map_err(|fault| {
                let path = format!("tools/{}/parameters{}", spec.name, fault.at());
                Error::invalid(&path, fault.to_string())
            })?;
            Ok(Tool {
                spec: spec.clone(),
                schema,
                secrets: spec.command.secrets(),
            })
        };
        specs.iter().map(tool).collect::<Result<_>>().map(Self)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls what an answer wants called, one after the other.
    ///
    /// # Errors
    /// What ends the attempt. What a policy or a person denies does not: the model is told.
    pub(super) async fn fulfil(
        &self,
        (ctx, turn): (&StepContext, usize),
        wishes: &[Wish],
    ) -> std::result::Result<Fulfilled, AgentError> {
        let mut told = Vec::with_capacity(wishes.len());
        for (at, wish) in wishes.iter().enumerate() {
            if at >= MOST_WISHES {
                let rule = format!("it was not called: at most {MOST_WISHES} in one answer");
                told.push(Told::error(rule));
                continue;
            }
            match self.call(ctx, wish, effect_key(ctx, turn, at)).await {
                Ok(one) => told.push(one),
                Err(error) => match asked_of(&error) {
                    Some(id) => return Ok(Fulfilled::Waits(id)),
                    None => return Err(error.into()),
                },
            }
        }
        Ok(Fulfilled::Told(told))
    }

    async fn call(&self, ctx: &StepContext, wish: &Wish, key: Digest) -> Result<Told> {
        let Some(tool) = self.0.iter().find(|tool| tool.spec.name == wish.name) else {
            let names: Vec<&str> = self.0.iter().map(|tool| tool.spec.name.as_str()).collect();
            let (name, names) = (&wish.name, names.join(", "));
            return Ok(Told::error(format!(
                "there is no tool `{name}`; there is {names}"
            )));
        };
        let params = match tool.arguments(wish) {
            Ok(params) => params,
            Err(rule) => return Ok(Told::error(rule)),
        };
        let name = &tool.spec.name;
        // Of its tier the policy knows more than its agent.
        let called = ctx.try_tool_call(name, RiskTier::Read, &params, || {
            tool.run(ctx, &params, key)
        });
        match called.await {
            Ok(result) => Ok(told(&result)),
            Err(error) if is_denial(&error) && !ctx.is_cancelled() => {
                Ok(Told::error(error.message()))
            }
            Err(error) => Err(error),
        }
    }
}

fn not_kept(refused: &Error) -> Value {
    json!({ "error": format!("it was called, and its answer cannot be kept: {}", refused.message()) })
}

/// The same for every attempt at one call of a conversation, and of no other.
fn effect_key(ctx: &StepContext, turn: usize, at: usize) -> Digest {
    let place = format!("tool {turn} {at}");
    Digest::of(&[ctx.effect_key().as_bytes(), place.as_bytes()])
}

/// The request that a call waits for.
fn asked_of(error: &Error) -> Option<ApprovalId> {
    match (error.kind(), error.detail()) {
        (ErrorKind::ApprovalRequired, Some(Detail::ApprovalRequest { request_id })) => {
            request_id.parse().ok()
        }
        _ => None,
    }
}

fn is_denial(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PolicyDenied | ErrorKind::ApprovalInvalid
    )
}

/// What the model is told of a result as it stands in the journal.
fn told(result: &Value) -> Told {
    if let Some(error) = result["error"].as_str() {
        return Told::error(error);
    }
    let output = &result["output"];
    let text = output
        .as_str()
        .map_or_else(|| output.to_string(), str::to_owned);
    Told {
        text,
        fared: Fared::Well,
    }
}

impl Tool {
    /// The arguments, where they are as the parameters say.
    fn arguments(&self, wish: &Wish) -> std::result::Result<Value, String> {
        let params = wish
            .parameters()
            .map_err(|rule| format!("the arguments are no JSON object: {rule}"))?;
        let faults = self.schema.violations(&params);
        if faults.is_empty() {
            return Ok(params);
        }
        let faults = faults.iter().take(MOST_FAULTS).map(|fault| {
            let place = if fault.path.is_empty() {
                "/"
            } else {
                &fault.path
            };
            format!("{place}: {}", fault.rule)
        });
        let faults: Vec<String> = faults.collect();
        Err(format!(
            "the arguments are not as the parameters say: {}",
            faults.join("; ")
        ))
    }

    /// Runs the program; an error here is one that nobody is told any more.
    async fn run(
        &self,
        ctx: &StepContext,
        params: &Value,
        key: Digest,
    ) -> std::result::Result<Value, String> {
        let command = &self.spec.command;
        let stop = command.stop(ctx);
        let mut program = command.program();
        let variable = (EFFECT_KEY.to_owned(), key.to_string().into());
        program.environment.push(variable);
        let ended = match program.run(json::canonical(params), stop).await {
            Ok(ended) => ended,
            Err(error) => {
                let program = command.program.display();
                let error = format!("{program} cannot be started: {error}");
                return Ok(json!({ "error": error }));
            }
        };
        if ended.why == Why::Cancelled {
            return Err("it was stopped: its attempt is to stop".to_owned());
        }
        let answer = match self.output(&ended) {
            Ok(output) => json!({ "output": output }),
            Err(error) => json!({ "error": error }),
        };
        // What it did is done: an answer in its place is, so that nobody starts it for it again.
        Ok(match kept(&answer) {
            Ok(()) => answer,
            Err(refused) => not_kept(&refused),
        })
    }

    /// What a program answered: JSON, or else a text.
    fn output(&self, ended: &Ended) -> std::result::Result<Value, String> {
        let fault = match ended.why {
            Why::Exited(status) if status.success() => {
                let text = String::from_utf8_lossy(&ended.stdout);
                let text = self.secrets.hide(text.trim_end());
                let value = json::parse(text.as_bytes());
                return Ok(value.unwrap_or_else(|_| text.into()));
            }
            Why::Exited(status) => format!("it ended with {status}"),
            Why::TooMuchOutput => {
                format!("it wrote more than {} bytes", self.spec.command.max_output)
            }
            Why::TimedOut => {
                "it took too long and was stopped; what it did until then may have happened"
                    .to_owned()
            }
            Why::Cancelled => "it was stopped".to_owned(),
        };
        let said = self.secrets.hide_end(&ended.stderr, ended.stderr_whole);
        let said = if said.is_empty() {
            self.secrets.hide_end(&ended.stdout, Whole::Yes)
        } else {
            said
        };
        let said = end(&said, MAX_EVIDENCE_BYTES);
        let colon = if said.is_empty() { "" } else { ": " };
        Err(format!("{fault}{colon}{said}"))
    }
}

/// The attempt ends until a person has decided; nothing of it stays in memory.
pub(super) fn suspended(id: ApprovalId, answers: &[Value]) -> StepOutcome {
    StepOutcome::Suspend {
        checkpoint: json!({ "answers": answers }),
        waiting_for: WaitingFor::Approval { number: id.number },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_as_text_and_an_error_as_one() {
        let well = told(&json!({"output": {"b": 1, "a": [2]}}));
        assert_eq!(
            (well.text.as_str(), well.fared),
            (r#"{"a":[2],"b":1}"#, Fared::Well)
        );
        assert_eq!(told(&json!({"output": "plain"})).text, "plain");
        let own = told(&json!({"output": {"error": "of its own"}}));
        assert_eq!(own.fared, Fared::Well);
        assert_eq!(told(&json!({"error": "no"})), Told::error("no"));
    }
}
