//! A directory with a small workflow, its agents and a store, and the command line over it.

use std::path::PathBuf;

use mc_cli::Exit;

/// Two steps: the first is answered, the second is refused once and fails once.
const WORKFLOW: &str = "
workflow: brief
model_retry: { initial_interval: 1ms, maximum_interval: 1ms }
steps:
  plan:  { agent: planner, risk: read }
  write: { agent: writer, needs: [plan], retry: { initial_interval: 1ms, maximum_attempts: 2 } }
";
const AGENTS: &str = "
agents:
  planner: { kind: recorded, file: calls.jsonl }
  writer:  { kind: recorded, file: calls.jsonl }
";
const CALLS: &str = r#"{"id":"a","task":"t","project":"p","model":"GPT_4","started":"2026-01-31T18:00:00","finished":"2026-01-31T18:01:00","calls":[{"phase":"plan","turn":0,"agent":"Planner","counterpart":"","model":"GPT_4","started":"2026-01-31T18:00:00","finished":"2026-01-31T18:00:09","rate_limit_refusals":0,"prompt":"what?","completion":"{\"plan\":\"two\"}","prompt_tokens":100,"completion_tokens":50,"reported_cost_usd":null},{"phase":"write","turn":0,"agent":"Writer","counterpart":"","model":"GPT_3_5_TURBO","started":"2026-01-31T18:00:10","finished":"2026-01-31T18:00:19","rate_limit_refusals":1,"prompt":"write","completion":"done","prompt_tokens":1000,"completion_tokens":20,"reported_cost_usd":null,"fail":"came back empty"}]}
"#;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.out.lines().last().unwrap_or_default()).unwrap()
    }
}

/// The directory.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        desk.write("workflow.yaml", WORKFLOW);
        desk.write("agents.yaml", AGENTS);
        desk.write("calls.jsonl", CALLS);
        desk
    }

    /// A desk with one run that completed.
    pub(crate) fn with_run() -> Self {
        let desk = Self::new();
        let answer = desk.run(&[]);
        assert_eq!(answer.exit, Exit::Done, "{answer:?}");
        desk
    }

    /// A desk with a run that is paused because its budget is too small.
    pub(crate) fn with_paused_run() -> Self {
        let desk = Self::new();
        let budget = "workflow: brief\nbudget: { usd: \"0.000001\", on_exceed: pause }";
        desk.write(
            "workflow.yaml",
            &WORKFLOW.replace("workflow: brief", budget),
        );
        let answer = desk.run(&[]);
        assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A desk whose writer fails for good with a message.
    pub(crate) fn with_failure(message: &str) -> Self {
        let desk = Self::new();
        desk.edit(
            "workflow.yaml",
            "maximum_attempts: 2",
            "maximum_attempts: 1",
        );
        let quoted = serde_json::Value::from(message).to_string();
        desk.edit("calls.jsonl", "\"came back empty\"", &quoted);
        let answer = desk.run(&[]);
        assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
        desk
    }

    /// Replaces a text that stands in a file.
    pub(crate) fn edit(&self, name: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{old}: {text}");
        self.write(name, &text.replace(old, new));
    }

    /// Every byte of the store.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path("a.redb")).unwrap()
    }

    /// How many events of a type the store has.
    pub(crate) fn count(&self, kind: &str) -> usize {
        let answer = self.ask(&["export", "--format", "csv"]);
        let cell = format!(",{kind},");
        answer.out.lines().filter(|l| l.contains(&cell)).count()
    }

    /// A command over the desk's store.
    pub(crate) fn ask(&self, args: &[&str]) -> Answer {
        let db = self.text("a.redb");
        let named = args.contains(&"--operator");
        let operator: &[&str] = if named { &[] } else { &["--operator", "ann"] };
        let store = ["--db", &db];
        let all = ["mission-control"].iter().chain(args).chain(operator);
        let all = all.chain(&store);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = mc_cli::run(all.copied(), &mut out, &mut err);
        Answer {
            exit,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    /// `run` with the desk's files.
    pub(crate) fn run(&self, more: &[&str]) -> Answer {
        let (workflow, agents) = (self.text("workflow.yaml"), self.text("agents.yaml"));
        let args = ["run", &workflow, "--agents", &agents];
        self.ask(&[&args, more].concat())
    }

    /// The id of the newest run.
    pub(crate) fn newest(&self) -> String {
        let runs = self.ask(&["runs", "--json"]).json();
        runs["runs"][0]["run_id"].as_str().unwrap().to_owned()
    }
}
