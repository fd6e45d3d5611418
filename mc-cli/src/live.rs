//! Live progress: lines one after the other, JSON, or a terminal that is redrawn.

use std::collections::BTreeMap;
use std::io;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::console::{Console, Screen};
use crate::progress::StepLine;
use crate::text::clean;

/// How progress is shown.
#[derive(Debug)]
pub(crate) enum Live {
    /// One line after the other.
    Lines,
    /// One JSON object a line.
    Json,
    /// A line a step, redrawn.
    Drawn(Drawn),
}

/// The lines on a terminal.
#[derive(Debug)]
pub(crate) struct Drawn {
    all: MultiProgress,
    steps: BTreeMap<String, ProgressBar>,
    spend: ProgressBar,
}

impl Live {
    /// The way that fits the console.
    pub(crate) fn new(screen: Screen, json: bool) -> Self {
        match (screen, json) {
            (_, true) => Self::Json,
            (Screen::Plain, false) => Self::Lines,
            (Screen::Terminal, false) => Self::Drawn(Drawn::new()),
        }
    }

    /// Shows a line.
    pub(crate) fn show(&mut self, console: &mut Console<'_>, line: &StepLine) -> io::Result<()> {
        match self {
            Self::Lines => console.line(clean(&line.text())),
            Self::Json => console.json(&line.json()),
            Self::Drawn(drawn) => {
                drawn.show(line);
                Ok(())
            }
        }
    }
}

impl Drop for Drawn {
    /// What was drawn stays, also where watching is given up.
    fn drop(&mut self) {
        self.steps.values().for_each(ProgressBar::abandon);
        self.spend.abandon();
    }
}

impl Drawn {
    fn new() -> Self {
        let all = MultiProgress::new();
        let spend = all.add(plain_bar());
        Self {
            all,
            steps: BTreeMap::new(),
            spend,
        }
    }

    fn show(&mut self, line: &StepLine) {
        let bar = self
            .steps
            .entry(line.path.clone())
            .or_insert_with(|| self.all.insert_before(&self.spend, plain_bar()));
        bar.set_message(clean(&line.state()));
        self.spend.set_message(line.spend());
    }
}

fn plain_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    // The template is fixed; were it refused, the default one is shown.
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}
