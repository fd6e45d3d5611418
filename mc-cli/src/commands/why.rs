//! Why: the reason of an order, as it is given, or as whoever sits at the terminal says.

use mc_core::error::Error;

use crate::args::Common;
use crate::console::Console;
use crate::failure::Failure;

/// The reason: the option's, or else what is answered to the question for it.
///
/// # Errors
/// A usage failure where there is none and nobody can be asked.
pub(super) fn reason(
    common: &Common,
    given: Option<&str>,
    console: &mut Console<'_>,
) -> Result<String, Failure> {
    let said = |text: &str| {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    if let Some(reason) = given.and_then(said) {
        return Ok(reason);
    }
    // Whoever reads the output by machine is not there to be asked.
    if given.is_none() && !common.json {
        let answer = console.question("why? (it is kept with the event) ")?;
        if let Some(reason) = answer.as_deref().and_then(said) {
            return Ok(reason);
        }
    }
    let error = Error::invalid("--reason", "an order needs a reason, and none was given");
    Err(Failure::usage(error).with_next("say why with --reason 'TEXT': it is kept with the event"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;
    use crate::console::{Screen, Signals};

    /// What comes of an option, and of an answer where somebody is there.
    fn asked(args: &[&str], answer: Option<&str>) -> (Result<String, Failure>, String) {
        let cli = Cli::try_parse_from([&["mission-control", "halt"], args].concat()).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut input = answer.map(str::as_bytes);
        let mut console = Console {
            out: &mut out,
            err: &mut err,
            screen: Screen::Plain,
            signals: Signals::Left,
            input: input
                .as_mut()
                .map(|input| input as &mut dyn std::io::BufRead),
        };
        let given = args.first().filter(|arg| !arg.starts_with('-')).copied();
        let reason = reason(&cli.common, given, &mut console);
        (reason, String::from_utf8(out).unwrap())
    }

    #[test]
    fn whoever_sits_at_the_terminal_is_asked_for_what_was_not_given() {
        let (reason, out) = asked(&[], Some(" it spends \n"));
        assert_eq!(reason.unwrap(), "it spends");
        assert!(out.starts_with("why?"), "{out}");
        assert!(asked(&[], Some("\n")).0.is_err());
    }

    #[test]
    fn what_was_given_is_not_asked_for() {
        let (reason, out) = asked(&["workspace"], Some("something else\n"));
        assert_eq!((reason.unwrap().as_str(), out.as_str()), ("workspace", ""));
    }

    #[test]
    fn nobody_is_asked_where_nobody_is_there_or_a_program_reads() {
        assert!(asked(&[], None).0.is_err());
        let (reason, out) = asked(&["--json"], Some("it spends\n"));
        assert!(reason.is_err());
        assert_eq!(out, "");
    }
}
