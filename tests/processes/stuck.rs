//! Owners that do not answer, do not take anybody, or are not up yet: nobody waits for them for ever.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mission_control::{Builder, Detail, MissionControl, RunQuery, StartOptions, Succession};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::child::Player;
use crate::common::{Echo, hello, open, place, settings, workflow};
use crate::refusing::{first_words, framed, greet, socket, welcome};

const ONE: &str = "{ workflow: one, steps: { a: { agent: echo } } }";

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(20);

async fn join_only(path: &Path) -> MissionControl {
    let builder = Builder::new().with_settings(settings());
    let builder = builder.with_succession(Succession::Never);
    builder.open(path).await.unwrap()
}

#[tokio::test]
async fn a_joined_process_can_be_shut_down_while_its_owner_does_not_answer() {
    let (_dir, path) = place();
    let mut player = Player::start("owns", &path);
    player.wait_for("ready");
    let joined = open(&path).await;
    joined.register_agent("echo", Echo).await.unwrap();
    let owner = Pid::from_raw(i32::try_from(player.id()).unwrap()).unwrap();
    kill_process(owner, Signal::STOP).unwrap();
    let left = timeout(LONG, joined.shutdown(Duration::from_millis(100))).await;
    left.expect("it does not wait for its owner").unwrap();
    kill_process(owner, Signal::CONT).unwrap();
}

#[tokio::test]
async fn a_joined_process_that_is_shut_down_while_its_owner_dies_leaves_the_file_free() {
    for _ in 0..8 {
        let (_dir, path) = place();
        let mut player = Player::start("owns", &path);
        player.wait_for("ready");
        let joined = open(&path).await;
        player.kill();
        let left = timeout(LONG, joined.shutdown(Duration::from_secs(5))).await;
        left.expect("it ends").unwrap();
        drop(joined);
        // Nobody has the file any more.
        assert!(!open(&path).await.is_joined());
    }
}

/// Welcomes whoever comes, refuses every command, and answers nothing else.
fn refuse_all(listener: &UnixListener, welcome: &Value, error: &Value) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let (welcome, error) = (welcome.clone(), error.clone());
        std::thread::spawn(move || refuse(stream, &welcome, &error));
    }
}

fn refuse(mut stream: UnixStream, welcome: &Value, error: &Value) -> Option<()> {
    next(&mut stream)?;
    stream.write_all(&framed(welcome)).ok()?;
    loop {
        let asked = next(&mut stream)?;
        let id = &asked["ask"][0];
        if asked["ask"][1].get("submit").is_some() {
            let told = json!({"told": {"reply": {"Err": error}}});
            let answer = json!({"answer": [id, told, null]});
            stream.write_all(&framed(&answer)).ok()?;
        }
        if asked["ask"][1]["read"] == "head" {
            let error = json!({"read": {"Err": error}});
            let answer = json!({"answer": [id, error, null]});
            stream.write_all(&framed(&answer)).ok()?;
        }
    }
}

fn next(stream: &mut UnixStream) -> Option<Value> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap();
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_while_whoever_owns_the_file_takes_nobody() {
    let (_dir, path) = place();
    let owner = open(&path).await;
    let mut welcome = welcome(&path, &framed(&first_words(&path)));
    let mut odd = first_words(&path);
    odd["protocol"] = json!(99);
    let error = greet(&path, &framed(&odd)).unwrap()["refused"].clone();
    let joined = join_only(&path).await;
    owner.shutdown(LONG).await.unwrap();
    drop(owner);
    // The file is held by somebody who welcomes everybody, and then refuses.
    let log = once_free(&path).await;
    let listener = UnixListener::bind(socket(&path)).unwrap();
    welcome["welcome"]["terms"]["epoch"] = json!(1_000);
    std::thread::spawn(move || refuse_all(&listener, &welcome, &error));
    let started = joined.start("one", hello(), StartOptions::by("ann"));
    let told = timeout(LONG, started).await.expect("an answer");
    assert!(told.unwrap_err().message().contains("version 99"));
    let _ = timeout(LONG, joined.runs(RunQuery::default())).await;
    drop(log);
}

/// The file, once the last task of its owner has let go of it.
async fn once_free(path: &Path) -> mc_store::RedbLog {
    let free = async {
        loop {
            match mc_store::RedbOptions::default().open(path) {
                Ok(log) => break log,
                Err(error) => assert!(
                    matches!(error.detail(), Some(Detail::AlreadyOpen { .. })),
                    "{error:?}"
                ),
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, free).await.unwrap()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[tokio::test]
async fn an_owner_that_is_not_up_yet_is_waited_for() {
    let (_dir, path) = place();
    let log = mc_store::RedbOptions::default().open(&path).unwrap();
    // What an owner leaves beside its file while it reads the state back.
    let text = format!("{}\nopening\n", std::process::id());
    std::fs::write(beside(&path, ".owner"), text).unwrap();
    let mut opening = Box::pin(open(&path));
    let soon = timeout(Duration::from_secs(2), &mut opening).await;
    assert!(soon.is_err(), "it waits");
    drop(log);
    assert!(!timeout(LONG, opening).await.expect("it opens").is_joined());
}

#[tokio::test]
async fn an_owner_is_found_whatever_the_environment_of_who_joins_it() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let path = deep.join("agents.redb");
    let private = dir.path().join("p");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&private)
        .unwrap();
    assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o777, 0o700);
    let more = [("XDG_RUNTIME_DIR", private.as_path())];
    let mut player = Player::start_with("owns", &path, &more);
    player.wait_for("ready");
    let joined = open(&path).await;
    assert!(joined.is_joined());
    joined.register_agent("echo", Echo).await.unwrap();
    joined.publish(workflow(ONE)).await.unwrap();
}
