//! Agents of an agents file that are programs: run, and refused before anything is written.

use crate::support::Desk;
use mc_cli::Exit;

const AGENTS: &str = "
agents:
  planner: { kind: command, program: [sh, -c, \"cat > /dev/null; echo '{\\\"output\\\":{\\\"a\\\":1}}'\"] }
  writer:  { kind: command, program: [./write.sh, --fast] }
";

#[cfg(unix)]
#[test]
fn a_run_by_programs_ends_with_their_output() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.write("agents.yaml", AGENTS);
    desk.write("write.sh", "#!/bin/sh\necho '{\"output\":\"'$1'\"}'\n");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(desk.path("write.sh"), mode).unwrap();
    let answer = desk.run(&["--json"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert!(answer.out.contains("--fast"), "{}", answer.out);
}

#[test]
fn what_agents_miss_is_refused_all_at_once_and_makes_no_store() {
    let desk = Desk::new();
    desk.write("agents.yaml", AGENTS);
    desk.edit(
        "agents.yaml",
        "planner: { kind: command",
        "planner: { kind: command, env: [NOBODY_SETS_THIS]",
    );
    let answer = desk.run(&[]);
    assert_ne!(answer.exit, Exit::Done);
    for place in [
        "/agents/planner/env",
        "NOBODY_SETS_THIS",
        "/agents/writer/program",
    ] {
        assert!(answer.err.contains(place), "{place}: {}", answer.err);
    }
    assert!(!desk.path("a.redb").exists());
}
