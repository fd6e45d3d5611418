//! The agents of an agents file as this program runs them: recorded ones as fast as it was told.

use std::time::Duration;

use mc_agents::file::{AgentKind, AgentSpec, ReadyAgent};
use mc_agents::recorded::{OutputRule, RecordedAgent, RecordedRun, read_runs};
use mc_core::error::{Error, Result};
use mc_core::id::AgentVersion;

/// How fast recorded agents answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// At once.
    Max,
    /// So many times as fast as recorded.
    Times(u32),
}

impl Speed {
    /// Reads `max`, or a whole number from 1 on.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn read(text: &str) -> Result<Self> {
        match (text, text.parse()) {
            ("max", _) => Ok(Self::Max),
            (_, Ok(times)) if times > 0 => Ok(Self::Times(times)),
            _ => Err(Error::invalid(
                "--speed",
                "`max` or a whole number from 1 on",
            )),
        }
    }

    fn of(self, latency: Duration) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            Self::Times(times) => latency / times,
        }
    }
}

/// An agent of the file, ready to be registered.
///
/// # Errors
/// As [`read_runs`] for a recorded one, else as [`AgentSpec::agent`].
pub(crate) fn ready(spec: &AgentSpec, speed: Speed) -> Result<ReadyAgent> {
    match &spec.kind {
        AgentKind::Recorded(file) => {
            let agent = recorded(read_runs(file)?, speed, spec.version.as_ref());
            Ok(ReadyAgent::new(agent))
        }
        AgentKind::Command(_) | AgentKind::Chat(_) | AgentKind::Http(_) => spec.agent(),
    }
}

/// An agent that answers from runs, as fast as told.
pub(crate) fn recorded(
    mut runs: Vec<RecordedRun>,
    speed: Speed,
    version: Option<&AgentVersion>,
) -> RecordedAgent {
    for call in runs.iter_mut().flat_map(|run| &mut run.calls) {
        call.latency = speed.of(call.latency);
    }
    let agent = RecordedAgent::new(runs).with_output(OutputRule::ObjectOrText);
    match version {
        Some(version) => agent.with_version(version.clone()),
        None => agent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_max_or_a_whole_number() {
        assert_eq!(Speed::read("max").unwrap(), Speed::Max);
        let ten = Speed::read("10").unwrap();
        assert_eq!(ten.of(Duration::from_secs(20)), Duration::from_secs(2));
        for bad in ["", "0", "-1", "1.5", "fast"] {
            assert!(Speed::read(bad).is_err(), "{bad}");
        }
    }
}
