//! Ctrl-C while a run is watched, in a process of its own.
#![cfg(unix)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::joining::Host;
use crate::support::Desk;

/// The planner is out until something comes through its gate.
const AGENTS: &str = "
agents:
  planner: { kind: command, program: [sh, -c, \"echo $$ > out; read said < gate; echo '{\\\"output\\\":1}'\"] }
  writer:  { kind: command, program: [sh, -c, \"echo '{\\\"output\\\":2}'\"] }
";

/// `run` in a process of its own, whose planner is out.
struct Watched {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
    gate: File,
}

impl Watched {
    fn of(desk: &Desk, more: &[&str]) -> Self {
        desk.write("agents.yaml", AGENTS);
        let made = Command::new("mkfifo").arg(desk.path("gate")).status();
        assert!(made.unwrap().success());
        let mut command = Command::new(env!("CARGO_BIN_EXE_mission-control"));
        command.args(["run", &desk.text("workflow.yaml")]);
        command.args(["--agents", &desk.text("agents.yaml"), "--operator", "ann"]);
        command.args(["--db", &desk.text("a.redb")]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        // Open both ways, it waits for nobody.
        let gate = File::options()
            .read(true)
            .write(true)
            .open(desk.path("gate"));
        let mut watched = Self {
            out: BufReader::new(child.stdout.take().unwrap()).lines(),
            err: BufReader::new(child.stderr.take().unwrap()).lines(),
            gate: gate.unwrap(),
            child,
        };
        while !watched.out.next().unwrap().unwrap().contains("running") {}
        watched
    }

    fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it says that it stops.
    fn stops(&mut self) {
        let said = self.err.next().unwrap().unwrap();
        assert!(said.starts_with("interrupted: nothing more"), "{said}");
    }

    /// The process of the program that is out.
    fn program(desk: &Desk) -> String {
        loop {
            match std::fs::read_to_string(desk.path("out")) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                Ok(_) | Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// What it has said beyond that, once it has ended.
    fn end(&mut self) -> (Option<i32>, String) {
        let rest: Vec<String> = self.out.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), rest.join("\n"))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_interrupt_lets_what_is_out_end_and_says_how_the_run_goes_on() {
    let desk = Desk::new();
    let mut watched = Watched::of(&desk, &["--key", "k"]);
    watched.interrupt();
    watched.stops();
    writeln!(watched.gate, "go").unwrap();
    let (exit, said) = watched.end();
    assert_eq!(exit, Some(130), "{said}");
    let run = desk.newest();
    for told in [
        format!("run {run} was interrupted: running"),
        "with `--key k`, goes on with it".to_owned(),
        format!("`mission-control show {run} --db"),
    ] {
        assert!(said.contains(&told), "{told}: {said}");
    }
    // The planner's answer counts, and the writer was not begun.
    let shown = desk.ask(&["show", &run, "--json"]).json();
    assert_eq!(shown["steps"][0]["status"], "completed");
    assert_eq!(shown["steps"][1]["attempt"], 0);
    let again = desk.run(&["--key", "k"]);
    assert_eq!(again.exit, mc_cli::Exit::Done, "{again:?}");
    assert_eq!(desk.newest(), run);
}

/// Whether a process is there; one that nobody has waited for yet is not.
fn runs(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// How long it took until it ended.
fn ends_within(watched: &mut Watched, most: Duration) -> String {
    let begun = Instant::now();
    let (exit, said) = watched.end();
    assert_eq!(exit, Some(130), "{said}");
    assert!(begun.elapsed() < most, "{:?}", begun.elapsed());
    said
}

#[test]
fn what_never_ends_is_ended_when_the_grace_is_over() {
    let desk = Desk::new();
    let mut watched = Watched::of(&desk, &[]);
    let program = Watched::program(&desk);
    watched.interrupt();
    watched.stops();
    let said = ends_within(&mut watched, Duration::from_secs(9));
    assert!(said.contains("was interrupted: running"), "{said}");
    assert!(!runs(&program));
    let shown = desk.ask(&["show", &desk.newest(), "--json"]).json();
    assert_eq!(shown["steps"][0]["attempt"], 1, "{shown}");
}

#[test]
fn a_run_that_another_process_has_is_left_to_it_and_its_program_is_ended() {
    for times in [1, 2] {
        let desk = Desk::new();
        let host = Host::of(&desk);
        let mut watched = Watched::of(&desk, &[]);
        let program = Watched::program(&desk);
        watched.interrupt();
        watched.stops();
        if times == 2 {
            watched.interrupt();
        }
        let said = ends_within(&mut watched, Duration::from_secs(9));
        let me = format!("process {} has the store open", std::process::id());
        assert!(said.contains(&me), "{said}");
        assert!(!runs(&program), "{times}");
        host.close();
    }
}

#[test]
fn a_second_interrupt_ends_it_with_what_is_out() {
    let desk = Desk::new();
    let mut watched = Watched::of(&desk, &["--json"]);
    let program = Watched::program(&desk);
    watched.interrupt();
    watched.stops();
    watched.interrupt();
    let (exit, said) = watched.end();
    assert_eq!(exit, Some(130), "{said}");
    assert!(!runs(&program));
    let last: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&last["interrupted"], &last["status"]),
        (&true.into(), &"running".into())
    );
    assert_eq!(last["run_id"], desk.newest());
    let shown = desk.ask(&["show", &desk.newest(), "--json"]).json();
    assert_eq!(shown["steps"][0]["attempt"], 1, "{shown}");
    assert_ne!(shown["steps"][0]["status"], "completed", "{shown}");
    assert!(desk.ask(&["verify"]).out.contains("chain verified"));
}
