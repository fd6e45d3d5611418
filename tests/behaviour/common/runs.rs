//! Runs: how they are started, and what their state and their log say.

use super::*;

/// One step that gives its input back.
pub const ECHO: &str = "{ workflow: w, steps: { a: { agent: echo } } }";

/// Two of them, one after the other.
pub const ECHOES: &str =
    "{ workflow: w, steps: { a: { agent: echo }, b: { agent: echo, needs: [a] } } }";

/// One step of the agent `it`.
pub const ONE: &str = "{ workflow: w, steps: { a: { agent: it } } }";

/// One step of the agent `it`, with more to say of it: `, timeout: 5s`.
pub fn one(rest: &str) -> String {
    format!("{{ workflow: w, steps: {{ a: {{ agent: it{rest} }} }} }}")
}

/// Publishes a workflow, starts to dispatch, and starts a run of it.
pub async fn begin(control: &MissionControl, yaml: &str, input: Value) -> RunHandle {
    begin_with(control, yaml, input, StartOptions::by("ann")).await
}

/// As `begin`, with options.
pub async fn begin_with(
    control: &MissionControl,
    yaml: &str,
    input: Value,
    options: StartOptions,
) -> RunHandle {
    let workflow = Workflow::from_yaml(yaml).unwrap();
    let published = control.publish(workflow).await.unwrap();
    control.start_dispatch().await.unwrap();
    let name = published.workflow.as_str().to_owned();
    control.start(&name, input, options).await.unwrap()
}

/// Starts another run of the workflow `w`.
pub async fn start(control: &MissionControl, input: Value) -> RunHandle {
    let started = control.start("w", input, StartOptions::by("ann"));
    started.await.unwrap()
}

/// Opens a session of the agent `host`.
pub async fn guard(control: &MissionControl) -> Session {
    let opened = control.guard("host", SessionOptions::default());
    opened.await.unwrap()
}

/// Waits for the end of a run with one last step: its output.
pub async fn output_of(run: &RunHandle) -> Value {
    output(&run.outcome().await.unwrap())
}

/// Waits for the end of a run, which has to be a good one.
pub async fn completes(run: &RunHandle) {
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
}

/// The workspace's account.
pub fn workspace(control: &MissionControl) -> Account {
    control.account(&AccountId::Workspace).unwrap()
}

/// Sets the limit of an account, in thousandths of a dollar.
pub async fn set(control: &MissionControl, account: AccountId, of: i64, on_exceed: OnExceed) {
    let set = control.set_limit(("ann", "as tested"), account, limit(of), on_exceed);
    set.await.unwrap();
}

/// Every event of a run that is on disk.
pub async fn events(control: &MissionControl, run: &RunHandle) -> Vec<Record> {
    control.log().read_run(run.id(), 0, 100_000).await.unwrap()
}

/// The kinds of a run's events.
pub async fn kinds(control: &MissionControl, run: &RunHandle) -> Vec<String> {
    let events = events(control, run).await;
    events.iter().map(|event| event.kind.to_string()).collect()
}

/// How many events of a kind a run has.
pub async fn count(control: &MissionControl, run: &RunHandle, kind: &str) -> usize {
    let kinds = kinds(control, run).await;
    kinds.iter().filter(|one| *one == kind).count()
}

/// The facts of the first event of a kind.
pub async fn facts(control: &MissionControl, run: &RunHandle, kind: &str) -> Value {
    let events = events(control, run).await;
    let found = events.iter().find(|event| &*event.kind == kind);
    let found = found.unwrap_or_else(|| panic!("no event {kind}"));
    serde_json::from_str(&found.facts).unwrap()
}

/// The facts of the first event of a kind among these.
pub fn find(events: &[Record], kind: &str) -> Option<Value> {
    let found = events.iter().find(|event| &*event.kind == kind)?;
    serde_json::from_str(&found.facts).ok()
}

/// The status of a step.
pub async fn status(run: &RunHandle, step: &str) -> StepStatus {
    run.state()
        .await
        .unwrap()
        .step_status(&step.parse().unwrap())
}

/// The output of a run with one last step.
pub fn output(outcome: &Outcome) -> Value {
    outcome
        .output()
        .unwrap_or_else(|| panic!("{outcome:?}"))
        .clone()
}

/// The steps that wait for somebody, with reason and code.
pub fn blocks(position: &Position) -> Vec<(String, BlockReason, String)> {
    match position {
        Position::Blocked { steps, .. } => steps
            .iter()
            .map(|one| (one.step.to_string(), one.reason, one.code.clone()))
            .collect(),
        Position::Ended(outcome) => panic!("it has ended: {outcome:?}"),
    }
}
