//! A program as a child in a process group of its own, which ends with it.
//!
//! It gets bytes on its standard input and gives bytes on its standard output; what it says on
//! standard error is kept from its end. Told to stop, the group gets TERM and, after a grace, KILL;
//! whatever the program leaves behind in its group is killed when it has ended. What is *not* here:
//! what the bytes mean (`exchange`).

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::hiding::Whole;

/// How much of the end of standard error is kept.
const MAX_STDERR_BYTES: usize = 8 * 1024;

/// A program that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) dir: PathBuf,
    pub(crate) environment: Vec<(String, OsString)>,
    /// Between TERM and KILL.
    pub(crate) grace: Duration,
    /// The most bytes of standard output.
    pub(crate) max_output: usize,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) why: Why,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Whether that is all of standard error.
    pub(crate) stderr_whole: Whole,
}

/// Why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// By itself.
    Exited(ExitStatus),
    /// It was told to: its attempt is to stop.
    Cancelled,
    /// It was told to: it took too long.
    TimedOut,
    /// It was told to: it wrote more than it may.
    TooMuchOutput,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Captured {
    bytes: VecDeque<u8>,
    overflowed: bool,
}

type Shared = Arc<Mutex<Captured>>;

/// What a group is sent.
#[derive(Clone, Copy, Debug)]
enum Signal {
    /// To end in order.
    Term,
    /// To be gone.
    Kill,
}

/// The groups of this process: it may have to end before their attempts are dropped.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// The group; whatever still runs in it is killed when this is dropped.
struct Group(Option<u32>);

/// Kills every program that command agents of this process run, with its children: for a process that
/// has to end at once.
pub fn kill_programs() {
    for id in &*groups() {
        signal(Some(*id), Signal::Kill);
    }
}

fn groups() -> MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn signal(group: Option<u32>, signal: Signal) {
    use rustix::process::{Pid, Signal as Posix, kill_process_group};
    let signal = match signal {
        Signal::Term => Posix::TERM,
        Signal::Kill => Posix::KILL,
    };
    let id = group.and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(Pid::from_raw) {
        // A group in which nobody is left has got what it was sent.
        let _ = kill_process_group(group, signal);
    }
}

/// There are no groups here, and no agents file is read that asks for one.
#[cfg(not(unix))]
fn signal(group: Option<u32>, signal: Signal) {
    let _ = (group, signal);
}

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id();
        groups().extend(id);
        Self(id)
    }

    fn signal(&self, what: Signal) {
        signal(self.0, what);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = groups();
        self.signal(Signal::Kill);
        if let Some(id) = self.0 {
            groups.remove(&id);
        }
    }
}

impl Program {
    /// Runs it until it ends, or until `stop` says why it is to be ended.
    ///
    /// # Errors
    /// Where it could not be started.
    pub(crate) async fn run(
        &self,
        input: Vec<u8>,
        stop: impl Future<Output = Why> + Send,
    ) -> io::Result<Ended> {
        let mut child = self.command().spawn()?;
        let group = Group::of(&child);
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let mut pipes = JoinSet::new();
        if let Some(mut pipe) = child.stdin.take() {
            // A program need not read what it is given.
            pipes.spawn(async move { drop(pipe.write_all(&input).await) });
        }
        if let Some(pipe) = child.stdout.take() {
            pipes.spawn(read_until(pipe, Arc::clone(&stdout), self.max_output));
        }
        if let Some(pipe) = child.stderr.take() {
            pipes.spawn(read_tail(pipe, Arc::clone(&stderr)));
        }
        let why = watch(&mut child, &mut pipes, &stdout, stop).await?;
        if !matches!(why, Why::Exited(_)) {
            group.signal(Signal::Term);
        }
        self.wait_for_the_rest(&mut child, &mut pipes).await;
        drop(group);
        // It is dead or dies now; nothing of it stays behind.
        let _ = child.wait().await;
        let overflowed = lock(&stdout).overflowed;
        let why = if overflowed && matches!(why, Why::Exited(_)) {
            Why::TooMuchOutput
        } else {
            why
        };
        let stderr_whole = if lock(&stderr).overflowed {
            Whole::No
        } else {
            Whole::Yes
        };
        Ok(Ended {
            why,
            stdout: take(&stdout),
            stderr: take(&stderr),
            stderr_whole,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        let piped = { command.args(&self.arguments) }
            .current_dir(&self.dir)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        piped.process_group(0);
        #[cfg(not(unix))]
        let _ = piped;
        command
    }

    /// Until it has exited and nobody holds its pipes any more, but no longer than the grace.
    async fn wait_for_the_rest(&self, child: &mut Child, pipes: &mut JoinSet<()>) {
        let rest = async {
            let _ = child.wait().await;
            while pipes.join_next().await.is_some() {}
        };
        let _ = timeout_at(Instant::now() + self.grace, rest).await;
    }
}

/// Until it exits, writes too much, or is to stop.
async fn watch(
    child: &mut Child,
    pipes: &mut JoinSet<()>,
    stdout: &Shared,
    stop: impl Future<Output = Why> + Send,
) -> io::Result<Why> {
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            why = &mut stop => return Ok(why),
            status = child.wait() => return status.map(Why::Exited),
            Some(_) = pipes.join_next() => {
                if lock(stdout).overflowed {
                    return Ok(Why::TooMuchOutput);
                }
            }
        }
    }
}

async fn read_until(mut pipe: impl AsyncRead + Unpin, into: Shared, most: usize) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let mut captured = lock(&into);
        captured.bytes.extend(buffer.iter().take(length));
        if captured.bytes.len() > most {
            captured.overflowed = true;
            return;
        }
    }
}

async fn read_tail(mut pipe: impl AsyncRead + Unpin, into: Shared) {
    let mut buffer = vec![0; 4 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let mut captured = lock(&into);
        captured.bytes.extend(buffer.iter().take(length));
        let surplus = captured.bytes.len().saturating_sub(MAX_STDERR_BYTES);
        captured.bytes.drain(..surplus);
        captured.overflowed |= surplus > 0;
    }
}

fn lock(captured: &Shared) -> MutexGuard<'_, Captured> {
    captured.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(captured: &Shared) -> Vec<u8> {
    std::mem::take(&mut lock(captured).bytes).into()
}
