//! `verify` and `export`: what they prove, and what they find.

use crate::support::Desk;
use mc_cli::Exit;

#[test]
fn a_store_verifies_without_a_checkpoint() {
    let answer = Desk::with_run().ask(&["verify"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert!(
        answer.out.ends_with("chain verified, no checkpoint yet\n"),
        "{}",
        answer.out
    );
    assert!(
        answer.out.contains("unsealed  0 of 1 runs"),
        "{}",
        answer.out
    );
}

#[test]
fn exports_of_the_store_and_of_a_run_verify() {
    let desk = Desk::with_run();
    let (all, one) = (desk.text("all.jsonl"), desk.text("one.jsonl"));
    desk.ask(&["export", "--out", &all]);
    desk.ask(&["export", "--out", &one, "--run", &desk.newest()]);
    for file in [&all, &one] {
        let answer = desk.ask(&["verify", "--export", file]);
        assert_eq!(answer.exit, Exit::Done, "{answer:?}");
        assert!(answer.out.contains("chain verified, no checkpoint yet"));
    }
}

#[test]
fn an_export_that_was_changed_is_found_with_its_place() {
    let desk = Desk::with_run();
    let lines = desk.ask(&["export"]).out;
    let changed = lines.replacen("attempt\\\":1", "attempt\\\":7", 1);
    assert_ne!(changed, lines);
    desk.write("changed.jsonl", &changed);
    let answer = desk.ask(&["verify", "--export", &desk.text("changed.jsonl")]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(
        answer.out.contains("tampered: first bad seq"),
        "{}",
        answer.out
    );
    assert!(answer.out.contains("reason facts_hash"), "{}", answer.out);
}

#[test]
fn what_is_no_export_cannot_be_read() {
    let desk = Desk::new();
    desk.write("rubbish", "{}\n");
    for name in ["rubbish", "absent"] {
        let answer = desk.ask(&["verify", "--export", &desk.text(name)]);
        assert_eq!(answer.exit, Exit::CannotOpen, "{answer:?}");
        assert!(answer.err.contains("next: "), "{}", answer.err);
    }
}

#[test]
fn a_damaged_store_never_verifies_as_another() {
    let desk = Desk::with_run();
    let sound = desk.ask(&["verify"]).out;
    let bytes = std::fs::read(desk.path("a.redb")).unwrap();
    for place in (64..bytes.len()).step_by(bytes.len() / 24) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        std::fs::write(desk.path("a.redb"), damaged).unwrap();
        let answer = desk.ask(&["verify"]);
        let same = answer.exit == Exit::Done && answer.out == sound;
        let found = matches!(answer.exit, Exit::Negative | Exit::CannotOpen);
        assert!(same || found, "byte {place}: {answer:?}");
    }
}

#[test]
fn csv_has_one_row_an_event_and_a_header() {
    let desk = Desk::with_run();
    let answer = desk.ask(&["export", "--format", "csv", "--run", &desk.newest()]);
    let mut lines = answer.out.lines();
    insta::assert_snapshot!(lines.next().unwrap(), @"seq,run_id,run_seq,ts,type,actor,auth_method,step,attempt,agent,model,input_tokens,output_tokens,cost_usd,code,facts");
    let settled: Vec<&str> = answer
        .out
        .lines()
        .filter(|l| l.contains("model_call.settled"))
        .collect();
    assert!(settled[0].contains(",100,50,0.006,"), "{settled:?}");
    assert!(answer.out.contains("operator:ann,cli"), "{}", answer.out);
}

#[test]
fn an_export_never_replaces_what_is_there() {
    let desk = Desk::with_run();
    let before = desk.bytes();
    desk.write("letter", "dear ann");
    std::fs::copy(desk.path("a.redb"), desk.path("other.redb")).unwrap();
    let other = mc_store::RedbLog::open(desk.path("other.redb")).unwrap();
    for name in ["letter", "a.redb", "other.redb", "."] {
        for format in ["jsonl", "csv"] {
            let out = desk.text(name);
            let answer = desk.ask(&["export", "--format", format, "--out", &out]);
            assert_eq!(answer.exit, Exit::CannotOpen, "{name}: {answer:?}");
            assert!(answer.err.contains("next: "), "{}", answer.err);
        }
    }
    drop(other);
    assert_eq!(std::fs::read(desk.path("letter")).unwrap(), b"dear ann");
    assert!(before == desk.bytes());
    std::fs::rename(desk.path("other.redb"), desk.path("a.redb")).unwrap();
    assert_eq!(desk.ask(&["verify"]).exit, Exit::Done);
}

#[test]
fn an_export_is_there_whole_or_not_at_all() {
    let desk = Desk::with_run();
    let names = || {
        let all = std::fs::read_dir(desk.dir.path()).unwrap();
        all.map(|entry| entry.unwrap().file_name())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let out = desk.text("log.jsonl");
    assert_eq!(
        desk.ask(&["export", "--run", "ffff", "--out", &out]).exit,
        Exit::Negative
    );
    assert_eq!(names(), before);
    assert_eq!(desk.ask(&["export", "--out", &out]).exit, Exit::Done);
    assert_eq!(names().len(), before.len() + 1);
    assert_eq!(
        desk.ask(&["export"]).out,
        std::fs::read_to_string(&out).unwrap()
    );
}
