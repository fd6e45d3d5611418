//! Who may not join, what the socket looks like, and what goes on without the owner.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mission_control::core::engine::{Spawner, Task};
use mission_control::{
    AccountId, Admission, Builder, Detail, ErrorKind, RunQuery, SessionOptions, StartOptions,
    Threads,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::child::{Player, await_nod, say};
use crate::common::{Echo, answer, hello, mills, open, place, request, settings, workflow};

const ONE: &str = "{ workflow: one, steps: { a: { agent: echo } } }";
const GRACE: Duration = Duration::from_secs(5);

/// Owns the store until it is killed.
pub(crate) async fn owns(path: &Path) {
    let control = open(path).await;
    assert!(!control.is_joined());
    say("ready");
    await_nod().await;
    drop(control);
}

pub(crate) fn socket(path: &Path) -> PathBuf {
    let mut name = std::fs::canonicalize(path).unwrap().into_os_string();
    name.push(".sock");
    name.into()
}

pub(crate) fn first_words(path: &Path) -> Value {
    let meta = std::fs::metadata(path).unwrap();
    let file = json!({"device": meta.dev(), "inode": meta.ino()});
    let protocol = mission_control::link::PROTOCOL;
    json!({"protocol": protocol, "pid": std::process::id(), "file": file, "epoch": 0})
}

/// What the owner answers to first words; none where it says nothing.
pub(crate) fn greet(path: &Path, bytes: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(socket(path)).unwrap();
    // It may have closed its end already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let length = u32::from_be_bytes(all.get(..4)?.try_into().unwrap());
    let end = 4 + usize::try_from(length).unwrap();
    serde_json::from_slice(all.get(4..end)?).ok()
}

/// How the owner welcomes whoever comes with these first words and stays.
pub(crate) fn welcome(path: &Path, bytes: &[u8]) -> Value {
    let mut stream = UnixStream::connect(socket(path)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut text = vec![0; usize::try_from(u32::from_be_bytes(head)).unwrap()];
    stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

pub(crate) fn framed(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

fn refusal(path: &Path, change: impl FnOnce(&mut Value)) -> String {
    let mut message = first_words(path);
    change(&mut message);
    let greeting = greet(path, &framed(&message)).unwrap();
    greeting["refused"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_another_version_is_told_which() {
    let (_dir, path) = place();
    let _owner = open(&path).await;
    let message = refusal(&path, |hello| hello["protocol"] = json!(99));
    assert!(message.contains("speaks version 99"), "{message}");
    let me = format!("process {}", std::process::id());
    assert!(message.contains(&me), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_means_another_file_or_knows_a_later_owner_is_refused_by_name() {
    let (_dir, path) = place();
    let _owner = open(&path).await;
    let message = refusal(&path, |hello| hello["file"]["inode"] = json!(1));
    assert!(
        message.contains("the file at its path is not the one"),
        "{message}"
    );
    let message = refusal(&path, |hello| hello["epoch"] = json!(1_000));
    assert!(
        message.contains("does not own the store any more"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_the_socket_harms_nobody() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    owner.register_agent("echo", Echo).await.unwrap();
    let good = framed(&first_words(&path));
    let rubbish: [&[u8]; 6] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0],
        &good[..good.len() / 2],
        &framed(&json!([1, 2, 3])),
    ];
    for bytes in rubbish {
        let greeting = greet(&path, bytes);
        assert!(greeting.is_none_or(|one| one.get("welcome").is_none()));
    }
    // And behind a proper hello.
    let _ = greet(&path, &[&good, &[0xff_u8; 64][..]].concat());
    let joined = open(&path).await;
    joined.publish(workflow(ONE)).await.unwrap();
    joined.start_dispatch().await.unwrap();
    let run = joined.start("one", hello(), StartOptions::by("ann")).await;
    run.unwrap().outcome().await.unwrap();
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_goes_with_its_owner() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let socket = socket(&path);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    owner.shutdown(GRACE).await.unwrap();
    let joined = tokio::spawn(async move { open(&path).await });
    drop(owner);
    // It owns the file, or it waited for that; the name is its own socket's by now.
    assert!(!joined.await.unwrap().is_joined());
    assert!(socket.exists());
}

#[tokio::test]
async fn a_joined_process_goes_on_when_the_owner_leaves_in_peace() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let joined = open(&path).await;
    joined.register_agent("echo", Echo).await.unwrap();
    joined.publish(workflow(ONE)).await.unwrap();
    joined.start_dispatch().await.unwrap();
    owner.shutdown(GRACE).await.unwrap();
    drop(owner);
    let run = joined.start("one", hello(), StartOptions::by("ann")).await;
    run.unwrap().outcome().await.unwrap();
    assert!(!joined.is_joined());
}

#[tokio::test]
async fn calls_inside_a_block_go_out_while_the_owner_does_not_answer() {
    let (_dir, path) = place();
    let mut player = Player::start("owns", &path);
    player.wait_for("ready");
    let joined = open(&path).await;
    let session = joined
        .guard("worker", SessionOptions::default())
        .await
        .unwrap();
    let first = request("first");
    let call = session.model_call(&first, |_| async { Ok(answer(20)) });
    call.await.unwrap();
    let owner = Pid::from_raw(i32::try_from(player.id()).unwrap()).unwrap();
    kill_process(owner, Signal::STOP).unwrap();
    // A block is a quarter of a dollar: of five calls' worth, one and a part are used.
    let mut permits = Vec::new();
    for n in 0..4 {
        let request = request(&n.to_string());
        let Admission::Allowed(permit) = session.reserve(&request).await.unwrap() else {
            panic!("it lies inside the block");
        };
        permits.push(permit);
    }
    kill_process(owner, Signal::CONT).unwrap();
    for permit in permits {
        permit.settle(&answer(20)).await.unwrap();
    }
    session.close().await.unwrap();
    let account = joined.account(&AccountId::Workspace).unwrap();
    assert_eq!(account.spent().money, mills(100));
    assert_eq!(account.exposure().money, mills(100));
}

/// The engine's threads in a process that may be a forked child.
#[derive(Debug)]
struct Forking {
    threads: Arc<Threads>,
    forked: AtomicBool,
}

impl Spawner for Forking {
    fn spawn_driver(&self, task: Task) {
        self.threads.spawn_driver(task);
    }

    fn spawn_handler(&self, task: Task) {
        self.threads.spawn_handler(task);
    }

    fn is_inherited(&self) -> bool {
        self.forked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_handle_that_was_inherited_over_a_fork_refuses_every_call_by_name() {
    let (_dir, path) = place();
    let _owner = open(&path).await;
    for _ in 0..2 {
        let forking = Arc::new(Forking {
            threads: Threads::start().unwrap(),
            forked: AtomicBool::new(false),
        });
        let spawner = Arc::<Forking>::clone(&forking);
        let builder = Builder::new().with_settings(settings());
        let control = builder.with_spawner(spawner).open(&path).await.unwrap();
        let session = control
            .guard("worker", SessionOptions::default())
            .await
            .unwrap();
        forking.forked.store(true, Ordering::Relaxed);
        let error = control.publish(workflow(ONE)).await.unwrap_err();
        assert_eq!(error.detail(), Some(&Detail::ForkedHandle));
        let error = session.reserve(&request("x")).await.unwrap_err();
        assert_eq!(error.detail(), Some(&Detail::ForkedHandle));
        forking.forked.store(false, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_file_that_was_deleted_is_not_made_anew_by_who_had_joined_it() {
    let (_dir, path) = place();
    let mut player = Player::start("owns", &path);
    player.wait_for("ready");
    let joined = open(&path).await;
    std::fs::remove_file(&path).unwrap();
    player.kill();
    let error = joined.runs(RunQuery::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.message().contains("moved, replaced or deleted"),
        "{error}"
    );
    assert!(!path.exists());
}
