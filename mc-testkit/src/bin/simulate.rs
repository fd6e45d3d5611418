//! Lives worlds through, seed by seed, and says which one broke an invariant.
//!
//! `simulate --seeds 0..1000`; a finding names its seed, and that seed gives it again.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use mc_testkit::simulate::{Habits, live_with};

/// Lives simulated worlds through and holds them against the invariants.
#[derive(Debug, Parser)]
struct Args {
    /// The seeds, as FROM..TO.
    #[arg(long, default_value = "0..100")]
    seeds: String,
    /// Live every seed twice and compare the roots of the two logs.
    #[arg(long)]
    twice: bool,
    #[command(flatten)]
    kind: Kind,
}

/// What kind of worlds they are; wild ones unless said otherwise.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Kind {
    /// Leave out sessions, sleeps, late answers and clocks that are set.
    #[arg(long)]
    tame: bool,
    /// Also let people be asked before what cannot be undone.
    #[arg(long, conflicts_with = "tame")]
    asking: bool,
    /// Also let workflows use others: runs nested in runs.
    #[arg(long, conflicts_with_all = ["tame", "asking"])]
    nesting: bool,
}

fn range(text: &str) -> Option<std::ops::Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    let Some(seeds) = range(&args.seeds) else {
        let _ = writeln!(out, "--seeds takes FROM..TO, e.g. 0..100");
        return ExitCode::from(64);
    };
    let habits = match (args.kind.tame, args.kind.asking, args.kind.nesting) {
        (true, ..) => Habits::Tame,
        (false, true, _) => Habits::Asking,
        (false, false, true) => Habits::Nesting,
        (false, false, false) => Habits::Wild,
    };
    // Agents panic on purpose; their words are in the log.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut worlds, mut events, mut runs, mut crashes, mut broken) = (0, 0, 0, 0, 0);
    let (mut nested, mut redriven) = (0, 0);
    for seed in seeds {
        let mut lived = live_with(seed, habits);
        if args.twice && live_with(seed, habits).root != lived.root {
            lived.findings.push(mc_testkit::simulate::Finding {
                invariant: "I10",
                what: "the same seed gave another log".to_owned(),
            });
        }
        for finding in &lived.findings {
            let _ = writeln!(
                out,
                "seed {seed}: {finding}; again: --seeds {seed}..{}",
                seed + 1
            );
        }
        worlds += 1;
        events += lived.events;
        runs += lived.runs;
        crashes += lived.crashes;
        nested += lived.nested;
        redriven += lived.redriven;
        broken += u64::from(!lived.findings.is_empty());
    }
    let _ = writeln!(
        out,
        "{worlds} worlds, {runs} runs ({nested} nested, {redriven} redriven), {events} events, {crashes} crashes: \
         {broken} worlds broke an invariant"
    );
    ExitCode::from(u8::from(broken > 0))
}
