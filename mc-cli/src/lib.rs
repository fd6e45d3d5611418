//! The command line of Mission Control, as a library: the binary and the bindings call [`run`].
//!
//! `args` says what may be asked, `commands` has one file a command, `failure` what an error tells
//! and how the process exits. Commands that only look open the log without the engine.
//! `docs/command-line.md` is the reference.

mod agents_file;
mod args;
mod asked;
mod commands;
mod console;
mod draft;
mod exit;
mod failure;
mod family;
mod given;
mod interrupt;
mod live;
mod moment;
mod news;
mod pipe;
mod progress;
mod reasons;
mod refusals;
pub mod rehearse;
mod spend;
mod steps;
mod store;
mod table;
mod text;
mod top;
mod usage;
mod waits;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser as _;

use pipe::Pipe;

pub use console::{Console, Screen, Signals};
pub use exit::Exit;

/// Runs one command line; the first argument is the program's name, as in `std::env::args_os`.
/// Results go to `out`, errors to `err`; both get plain lines. Signals are left to the caller.
pub fn run<I, T>(args: I, out: &mut dyn Write, err: &mut dyn Write) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut console = Console {
        out,
        err,
        screen: Screen::Plain,
        signals: Signals::Left,
        input: None,
    };
    run_on(args, &mut console)
}

/// Runs one command line on a console.
pub fn run_on<I, T>(args: I, console: &mut Console<'_>) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let cli = match args::Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage::refused(&error, &args, console),
    };
    let mut pipe = Pipe::new(&mut *console.out, commands::on_close(&cli.command));
    let mut heard = Console {
        out: &mut pipe,
        err: &mut *console.err,
        screen: console.screen,
        signals: console.signals,
        input: console.input.as_deref_mut().map(|input| input as _),
    };
    let done = act(&cli, &mut heard);
    let done = done.and_then(|exit| Ok(heard.out.flush().map(|()| exit)?));
    let closed = pipe.is_closed();
    match done {
        Ok(_) if closed => Exit::Done,
        Ok(exit) => exit,
        Err(_) if closed && commands::on_close(&cli.command) == pipe::OnClose::Stop => Exit::Done,
        Err(failure) => failure.report(console, cli.common.json),
    }
}

fn act(cli: &args::Cli, console: &mut Console<'_>) -> commands::Done {
    if let args::Command::Rehearse(options) = &cli.command {
        // It drives a simulated world of its own, on this thread.
        return commands::rehearse(&cli.common, options, console);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    match &runtime {
        Ok(runtime) => runtime.block_on(commands::execute(cli, console)),
        Err(error) => Err(failure::Failure::no_runtime(error)),
    }
}
