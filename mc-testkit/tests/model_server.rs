//! The server as a program, as another language starts it.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_model_server"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn it_prints_its_port_answers_and_tells_at_the_end_what_it_got() {
    let mut child = start(&[]);
    let mut input = child.stdin.take().unwrap();
    writeln!(
        input,
        r#"{{"default":{{"json":{{"status":200,"body":{{"a":1}}}}}}}}"#
    )
    .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let port: Value = serde_json::from_str(&line).unwrap();
    let port = u16::try_from(port["port"].as_u64().unwrap()).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let asked = "POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(r#"{"a":1}"#), "{answer}");
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(r#""path":"/x""#), "{rest}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_script_that_is_none_is_refused() {
    let mut child = start(&[]);
    writeln!(child.stdin.take().unwrap(), "{{").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(64));
}
