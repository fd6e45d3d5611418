//! A command line that is not understood: what is wrong with it, in the form of every other error.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::ErrorKind as ClapKind;
use mc_core::error::{Error, ErrorKind};

use crate::args::Cli;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;

/// Help and version are answers; anything else is wrong usage.
pub(crate) fn refused(error: &clap::Error, args: &[OsString], console: &mut Console<'_>) -> Exit {
    let text = error.render().to_string();
    if [ClapKind::DisplayHelp, ClapKind::DisplayVersion].contains(&error.kind()) {
        // Nobody is left to tell if this fails.
        drop(write!(console.out, "{text}"));
        return Exit::Done;
    }
    let json = args.iter().any(|arg| arg == "--json");
    let help_alone = error.kind() == ClapKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if help_alone && !json {
        drop(write!(console.err, "{text}"));
        return Exit::Usage;
    }
    let message = if help_alone {
        "a command is required".to_owned()
    } else {
        message(&text)
    };
    let next = format!("`{} --help` shows how", command(args));
    let error = Error::new(ErrorKind::InvalidInput, message);
    Failure::usage(error).with_next(next).report(console, json)
}

/// The first paragraph, and tips, on one line.
fn message(text: &str) -> String {
    let mut paragraphs = text.split("\n\n").map(one_line);
    let first = paragraphs.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    let tips = paragraphs.filter_map(|text| Some(text.strip_prefix("tip: ")?.to_owned()));
    std::iter::once(first)
        .chain(tips)
        .collect::<Vec<_>>()
        .join("; ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command whose help has the answer: as far as the words are names of commands.
fn command(args: &[OsString]) -> String {
    let mut at = Cli::command();
    let mut words = vec![at.get_name().to_owned()];
    for word in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        let Some(found) = at.find_subcommand(word).cloned() else {
            continue;
        };
        words.push(word.to_owned());
        at = found;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_that_of_the_command_that_was_named() {
        let of = |line: &str| command(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("x"), "mission-control");
        assert_eq!(
            of("x --json prices list --no"),
            "mission-control prices list"
        );
        assert_eq!(of("x costs --by run"), "mission-control costs");
    }

    #[test]
    fn what_is_missing_and_what_is_near_stand_on_one_line() {
        let text = "error: missing:\n  --agents <FILE>\n  <WORKFLOW>\n\n  tip: try 'x'\n\nUsage: \
                    mission-control run --agents <FILE> <WORKFLOW>\n\nFor more";
        assert_eq!(
            message(text),
            "missing: --agents <FILE> <WORKFLOW>; try 'x'"
        );
    }
}
