//! Child processes: this test binary again, with a part to play in an environment variable.
//!
//! A child says a line whenever it has come so far; the test waits for lines, never for time.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const PART: &str = "MC_PROCESSES_PART";
const PATH: &str = "MC_PROCESSES_PATH";
const MARK: &str = "\u{1}said ";

/// A process that plays a part on a store.
pub(crate) struct Player {
    child: Child,
    said: Option<Said>,
}

/// What a process says, line by line.
pub(crate) struct Said(Lines<BufReader<ChildStdout>>);

impl Said {
    /// The next line; none once the process is gone.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.0
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(MARK).map(str::to_owned))
    }
}

/// The part that this process is to play, and the store's path; none in a plain test run.
pub(crate) fn part() -> Option<(String, PathBuf)> {
    let part = std::env::var(PART).ok()?;
    Some((part, std::env::var_os(PATH)?.into()))
}

/// Says a line to the test that started this process.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{MARK}{line}").unwrap();
    out.flush().unwrap();
}

impl Player {
    /// Starts a process for a part.
    pub(crate) fn start(part: &str, path: &Path) -> Self {
        Self::start_with(part, path, &[])
    }

    /// As `start`, with more in its environment.
    pub(crate) fn start_with(part: &str, path: &Path, more: &[(&str, &Path)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "plays_its_part", "--nocapture"])
            .env(PART, part)
            .env(PATH, path)
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Some(Said(lines));
        Self { child, said }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says, to be heard elsewhere.
    pub(crate) fn listen(&mut self) -> Said {
        self.said.take().unwrap()
    }

    /// The next line that it says; none once it is gone.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.said.as_mut().unwrap().next()
    }

    /// Waits until it has said this.
    pub(crate) fn wait_for(&mut self, line: &str) {
        loop {
            match self.next() {
                Some(said) if said == line => return,
                Some(_) => {}
                None => panic!("it ended without saying `{line}`"),
            }
        }
    }

    /// Tells it to go on.
    pub(crate) fn nod(&mut self) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "go").unwrap();
        stdin.flush().unwrap();
    }

    /// Kills it, as a power cut would; what it had said before is still there.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // A test that failed leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, in a child, until the test nods or is gone.
pub(crate) async fn await_nod() -> bool {
    let (sender, nod) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let _ = sender.send(read.is_ok_and(|n| n > 0));
    });
    nod.await.unwrap_or(false)
}
