//! A scripted model provider for tests in any language: prints its port, answers, and ends with its
//! standard input.
//!
//! `model_server [--script FILE]`; without a file the script is the first line of standard input.
//! It prints `{"port":N}` once it listens; at the end a line for each request that reached it.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mc_testkit::model_server::{ModelServer, Script};

/// A scripted model provider on a free port of this machine.
#[derive(Debug, Parser)]
struct Args {
    /// The script, as JSON; without it, the first line of standard input.
    #[arg(long)]
    script: Option<PathBuf>,
}

fn serve(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut input = std::io::stdin().lock();
    let mut text = String::new();
    match &args.script {
        Some(file) => text = std::fs::read_to_string(file)?,
        None => drop(input.read_line(&mut text)?),
    }
    let script: Script = serde_json::from_str(&text)?;
    let server = ModelServer::start(script)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::json!({"port": server.port()}))?;
    out.flush()?;
    // Whoever started it holds the other end: when that closes, so does the server.
    std::io::copy(&mut input.by_ref(), &mut std::io::sink())?;
    for one in server.received() {
        writeln!(out, "{}", serde_json::to_string(&one)?)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match serve(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "model_server: {error}");
            ExitCode::from(64)
        }
    }
}
