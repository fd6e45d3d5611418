//! What `run` is asked for, checked as far as it can be before a store is opened.
//!
//! First the command line, then every file that is named, then what is in the files, and last
//! whether it all fits together. Nothing here writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use mc_agents::callback::Callback;
use mc_agents::file::{self, AgentKind, AgentSpec, Place, ReadyAgent};
use mc_core::error::{Detail, Error, ErrorKind, WorkflowProblem};
use mc_core::event::MAX_PART_BYTES;
use mc_core::event::run::{RunBudget, RunPolicy};
use mc_core::id::{AgentName, Digest, Opaque, RunId, TagName};
use mc_core::json;
use mc_core::money::{MoneyFault, NanoUsd};
use mc_core::run::Run;
use mc_core::workflow::{Labels, Workflow};
use mission_control::{Settings, StartOptions};
use serde_json::Value;

use super::{operator, pair};
use crate::agents_file::{self, Speed};
use crate::args::{Common, RunArgs};
use crate::failure::Failure;
use crate::store;

/// A run that can be started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) workflow: Workflow,
    pub(super) agents: Vec<(AgentName, ReadyAgent)>,
    pub(super) input: Value,
    pub(super) options: StartOptions,
    /// Where remote agents answer later.
    pub(super) callback: Option<Callback>,
}

/// Reads and checks everything that the command line names.
pub(super) fn read(common: &Common, args: &RunArgs) -> Result<Plan, Failure> {
    let speed = Speed::read(&args.speed).map_err(Failure::usage)?;
    let money = money(args)?;
    let mut options = options(common, args)?;
    let files = Files::read(args)?;
    let workflow =
        Workflow::from_yaml(&files.workflow).map_err(|e| Failure::content(e, &args.workflow))?;
    options.budget = money.map(|usd| budget(&workflow, usd));
    let specs = specs(args, &files.agents).map_err(|e| Failure::content(e, &args.agents))?;
    let input = files.input?;
    covers(&workflow, &specs, &args.agents)?;
    let callback = file::callback(&specs).cloned();
    let agents = specs.into_iter().map(|spec| {
        let agent = agents_file::ready(&spec, speed).map_err(|e| match &spec.kind {
            AgentKind::Recorded(file) => Failure::recorded(e, file),
            AgentKind::Command(_) | AgentKind::Chat(_) | AgentKind::Http(_) => {
                Failure::content(e, &args.agents)
            }
        })?;
        Ok((spec.name, agent))
    });
    let agents = agents.collect::<Result<_, Failure>>()?;
    workflow.check_input(&input).map_err(|error| {
        Failure::from(error)
            .with_next("give with --input what the workflow's input_schema asks for")
    })?;
    Ok(Plan {
        workflow,
        agents,
        input,
        options,
        callback,
    })
}

/// The bytes of the files that are named.
struct Files {
    workflow: Vec<u8>,
    agents: Vec<u8>,
    input: Result<Value, Failure>,
}

impl Files {
    /// Reads them all; every one that cannot be read is told.
    fn read(args: &RunArgs) -> Result<Self, Failure> {
        let mut missing = Vec::new();
        let mut bytes = |path: &Path| {
            fs::read(path).unwrap_or_else(|error| {
                missing.push((path.to_owned(), error));
                Vec::new()
            })
        };
        let (workflow, agents) = (bytes(&args.workflow), bytes(&args.agents));
        let input = match args.input.strip_prefix('@').map(Path::new) {
            None => inline(&args.input),
            Some(path) => {
                let parsed = json::parse(&bytes(path)).and_then(fits);
                parsed.map_err(|error| Failure::content(error, path))
            }
        };
        missing.extend(unreadable(&specs(args, &agents).unwrap_or_default()));
        if missing.is_empty() {
            Ok(Self {
                workflow,
                agents,
                input,
            })
        } else {
            Err(Failure::files(missing))
        }
    }
}

/// The input as it stands on the command line.
fn inline(text: &str) -> Result<Value, Failure> {
    json::parse(text.as_bytes())
        .and_then(fits)
        .map_err(|error| {
            Failure::usage(error.with_context("option", "--input"))
                .with_next("give --input a JSON value in quotes, or @FILE")
        })
}

fn fits(input: Value) -> mc_core::error::Result<Value> {
    if json::canonical(&input).len() > MAX_PART_BYTES {
        return Err(Error::invalid("input", "an input is at most 64 MiB"));
    }
    Ok(input)
}

fn specs(args: &RunArgs, text: &[u8]) -> mc_core::error::Result<Vec<AgentSpec>> {
    let dir = args.agents.parent().unwrap_or(Path::new("."));
    file::read(text, &Place::of(dir))
}

/// The recorded files that cannot be opened, each once.
fn unreadable(specs: &[AgentSpec]) -> Vec<(PathBuf, io::Error)> {
    let recorded = specs.iter().filter_map(|spec| match &spec.kind {
        AgentKind::Recorded(file) => Some(file),
        AgentKind::Command(_) | AgentKind::Chat(_) | AgentKind::Http(_) => None,
    });
    let files: BTreeSet<&PathBuf> = recorded.collect();
    let opened = files.into_iter().map(|file| (file, File::open(file)));
    opened
        .filter_map(|(file, opened)| Some((file.clone(), opened.err()?)))
        .collect()
}

/// Every agent of the workflow has to be in the agents file.
fn covers(workflow: &Workflow, specs: &[AgentSpec], file: &Path) -> Result<(), Failure> {
    let steps = workflow.definition().steps().iter();
    let agents = steps.filter_map(|(name, step)| Some((name, step.agent()?)));
    let missing = agents.filter(|(_, agent)| !specs.iter().any(|spec| spec.name == **agent));
    let problems: Vec<WorkflowProblem> = missing
        .map(|(name, agent)| WorkflowProblem::UnknownAgent {
            step: name.to_string(),
            agent: agent.to_string(),
        })
        .collect();
    let Some(first) = problems.first() else {
        return Ok(());
    };
    let error = Error::new(ErrorKind::InvalidWorkflow, first.to_string())
        .with_detail(Detail::Workflow(problems));
    let next = format!("add every agent that is named to {}", file.display());
    Err(Failure::from(error).with_next(next))
}

/// The run's limit in money, where one is given.
fn money(args: &RunArgs) -> Result<Option<NanoUsd>, Failure> {
    let money = args.budget.as_deref().map(str::parse).transpose();
    money.map_err(|fault: MoneyFault| Failure::usage(Error::invalid("--budget", fault)))
}

/// The workflow's own budget with another limit in money: its other limits stay, and what becomes of
/// a run that they refuse.
fn budget(workflow: &Workflow, usd: NanoUsd) -> RunBudget {
    let defined = workflow.definition().budget();
    let mut budget = defined.map_or_else(RunBudget::default, |defined| RunBudget {
        limit: defined.limit,
        on_exceed: defined.on_exceed,
    });
    budget.limit.money = Some(usd);
    budget
}

fn options(common: &Common, args: &RunArgs) -> Result<StartOptions, Failure> {
    let wrong = |option: &'static str, fault: &dyn std::fmt::Display| {
        Failure::usage(Error::invalid(option, fault))
    };
    let labels = args.labels.iter().map(|text| pair(text, "--label"));
    let labels = labels.collect::<Result<Vec<_>, _>>()?;
    let labels = Labels::new(labels)
        .map_err(|error| Failure::usage(error.with_context("option", "--label")))?;
    if let Some(key) = &args.key {
        Opaque::new(key).map_err(|fault| wrong("--key", &fault))?;
    }
    for tag in &args.tags {
        TagName::new(tag).map_err(|fault| wrong("--tag", &fault))?;
    }
    let operator = operator(common)?;
    let labels = labels.pairs().iter();
    Ok(StartOptions {
        idempotency_key: args.key.clone(),
        tags: args.tags.clone(),
        policy: args.plan_check.map(|check| RunPolicy {
            plan_check: check.into(),
            ..Settings::default().run_policy
        }),
        labels: labels
            .map(|(key, value)| (key.to_string(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        ..StartOptions::by(operator)
    })
}

/// The run that the plan's key started before, if it is the same run that is asked for now.
pub(super) async fn found(common: &Common, plan: &Plan) -> Result<Option<RunId>, Failure> {
    let Some(key) = &plan.options.idempotency_key else {
        return Ok(None);
    };
    if !common.db.exists() {
        return Ok(None);
    }
    let log = store::look(common).await?;
    let (row, _) = log.run_by_key(plan.workflow.name(), key).await?;
    let Some(row) = row else { return Ok(None) };
    let run = Run::decode(&store::run_row(&*log, row.run_id).await?.state)?;
    match difference(plan, &run) {
        None => Ok(Some(row.run_id)),
        Some(what) => Err(reused(key, &run, what)),
    }
}

/// What is asked for otherwise than when the run was started.
fn difference(plan: &Plan, run: &Run) -> Option<&'static str> {
    let created = &run.created;
    let input = Digest::of(&[&json::canonical(&plan.input)]);
    let labels = created.labels.iter();
    let labels = labels.map(|(key, value)| (key.as_str(), &**value));
    let wanted = plan.options.labels.iter();
    if created.definition_hash != Some(plan.workflow.hash()) {
        Some("definition")
    } else if created.input_digest != input {
        Some("input")
    } else if plan
        .options
        .budget
        .is_some_and(|budget| created.budget != Some(budget))
    {
        Some("budget")
    } else if !labels.eq(wanted.map(|(key, value)| (key.as_str(), value.as_str()))) {
        Some("label")
    } else if !plan
        .options
        .tags
        .iter()
        .map(String::as_str)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .eq(created.tags.iter().map(TagName::as_str))
    {
        Some("tag")
    } else {
        None
    }
}

fn reused(key: &str, run: &Run, what: &str) -> Failure {
    let of = run.workflow();
    let of = of.map_or_else(String::new, |(name, version)| {
        format!(" of {name} version {version}")
    });
    let id = run.run_id;
    let message = format!("the key `{key}` belongs to run {id}{of}, which has another {what}");
    let error = Error::new(ErrorKind::Conflict, message).with_detail(Detail::KeyReused {
        key: key.to_owned(),
        run_id: id.to_string(),
    });
    let next = format!("take another --key for a new run, or give the {what} that the run has");
    Failure::from(error).with_next(next)
}
