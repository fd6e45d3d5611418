//! The binary `mission-control`: arguments in, exit code out; everything else is in the library.

use std::io::{IsTerminal as _, stderr, stdin, stdout};
use std::process::ExitCode;

use mc_cli::{Console, Screen, Signals};

fn main() -> ExitCode {
    let (mut out, mut err) = (stdout(), stderr());
    let screen = if out.is_terminal() && err.is_terminal() {
        Screen::Terminal
    } else {
        Screen::Plain
    };
    let (asks, mut input) = (stdin().is_terminal(), stdin().lock());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        screen,
        signals: Signals::Heard,
        input: asks.then_some(&mut input as _),
    };
    mc_cli::run_on(std::env::args_os(), &mut console).into()
}
