//! Groups: every event belongs to the command that decided it, and a command decides once.
//!
//! So no event is without a command, and the events of one command follow each other: no command
//! comes up again once another one has written.

use std::collections::BTreeSet;

use mc_core::event::Record;
use mc_core::id::CommandId;

use super::checker::Finding;

/// Every event without a command, and every command whose events lie apart.
pub fn broken_groups(records: &[Record]) -> Vec<Finding> {
    let (mut seen, mut last) = (BTreeSet::new(), None);
    let mut findings = Vec::new();
    for record in records {
        let mut find = |what: &str| {
            findings.push(Finding {
                invariant: "I10",
                what: format!("event {} ({}) {what}", record.seq, record.kind),
            });
        };
        if record.cmd_id == CommandId::NIL {
            find("has no command");
        } else if last != Some(record.cmd_id) && !seen.insert(record.cmd_id) {
            find("is apart from the other events of its command");
        }
        last = Some(record.cmd_id);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Story;

    fn with_commands(ids: &[u8]) -> Vec<Record> {
        let mut story = Story::new();
        for id in ids {
            story.event(crate::run_id(1), "step.dispatched").cmd_id =
                CommandId::from_bytes([*id; 16]);
        }
        story.batch().records
    }

    #[test]
    fn a_group_is_broken_by_a_gap_and_by_a_missing_command() {
        assert_eq!(broken_groups(&with_commands(&[1, 1, 2, 3, 3])), []);
        assert_eq!(broken_groups(&with_commands(&[1, 2, 1, 1])).len(), 1);
        assert_eq!(broken_groups(&with_commands(&[0, 1, 0])).len(), 2);
    }
}
