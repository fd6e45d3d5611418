//! The command line of Mission Control, as a library: the binary and the bindings call [`run`].
//!
//! `args` says what may be asked, `commands` has one file a command, `failure` what an error tells
//! and how the process exits. Commands that only look open the log without the engine.
//! `docs/command-line.md` is the reference.

mod agents_file;
mod args;
mod commands;
mod console;
mod exit;
mod failure;
mod live;
mod progress;
pub mod rehearse;
mod steps;
mod store;
mod table;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser as _;
use clap::error::ErrorKind as ClapKind;

pub use console::{Console, Screen};
pub use exit::Exit;

/// Runs one command line; the first argument is the program's name, as in `std::env::args_os`.
/// Results go to `out`, errors to `err`; both get plain lines.
pub fn run<I, T>(args: I, out: &mut dyn Write, err: &mut dyn Write) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut console = Console {
        out,
        err,
        screen: Screen::Plain,
    };
    run_on(args, &mut console)
}

/// Runs one command line on a console.
pub fn run_on<I, T>(args: I, console: &mut Console<'_>) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match args::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, console),
    };
    if let args::Command::Rehearse(options) = &cli.command {
        // It drives a simulated world of its own, on this thread.
        let done = commands::rehearse(&cli.common, options, console);
        return done.unwrap_or_else(|failure| failure.report(console, cli.common.json));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let done = match &runtime {
        Ok(runtime) => runtime.block_on(commands::execute(&cli, console)),
        Err(error) => Err(failure::Failure::no_runtime(error)),
    };
    done.unwrap_or_else(|failure| failure.report(console, cli.common.json))
}

/// Help and version are answers; anything else is wrong usage.
fn refused(error: &clap::Error, console: &mut Console<'_>) -> Exit {
    let text = error.render();
    let answers = [ClapKind::DisplayHelp, ClapKind::DisplayVersion];
    let (stream, exit): (&mut dyn Write, Exit) = if answers.contains(&error.kind()) {
        (console.out, Exit::Done)
    } else {
        (console.err, Exit::Usage)
    };
    // Nobody is left to tell if this fails.
    drop(write!(stream, "{text}"));
    exit
}
