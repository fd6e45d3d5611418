//! A view as it looks.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;

use super::*;
use crate::top::draw::draw;
use crate::top::keys::Key;
use crate::top::page::clamp;
use crate::top::view::Said;

/// The screen as lines, without what is blank at their ends.
fn drawn(view: &View, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(view, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().chunks(usize::from(width.max(1)));
    let line = |row: &[Cell]| row.iter().map(Cell::symbol).collect();
    let lines = cells.map(line);
    lines
        .map(|line: String| line.trim_end().to_owned())
        .collect()
}

const LISTS: &str = "\
a.redb  2 open, 1 asked  process 4711 has it open
RUN           WORKFLOW     STATUS    STEP              TOKENS     USD
03030303-0303 brief@1      running   plan #1           1100/70    0.006 of 1.00
02020202-0202 brief@1      running   pay: approval     1100/70    0.006 of 1.00
01010101-0101 brief@1      completed                   1100/70    0.006 of 1.00












ACCOUNT                      USED   SPENT             RESETS           WINDOW
agent:writer      ####++.... 41%    8.20 of 20.00 USD 2026-01-02 00:00 day UTC
workspace                           8.20 of 20.00 USD 2026-01-02 00:00 day UTC
ASKED            TIER         WHAT              AT MOST USD UNTIL
02020202-0202/1  financial    send_invoice of p 0.10        2026-01-01 01:00:02Z
                              {\"amount\":7}
a approve  r reject  enter whole  tab next list  ? help  q quit";

#[test]
fn three_lists_stand_under_one_another() {
    let lines = drawn(&view(), (80, 24));
    assert_eq!(lines.join("\n"), LISTS);
}

const REQUEST: &str = "\
a.redb  2 open, 1 asked  process 4711 has it
02020202-0202-0202-0202-020202020202/1 (fina
ncial)
  parameters {\"amount\":7}


reject it as ann. Why?
> too much
enter hands it in  esc gives up";

#[test]
fn a_request_is_shown_whole_above_the_answer_to_it() {
    let mut view = view();
    view.key(Key::Char('r'));
    for c in "too much".chars() {
        view.key(Key::Char(c));
    }
    let lines = drawn(&view, (44, 9));
    assert_eq!(lines.join("\n"), REQUEST);
}

#[test]
fn long_parameters_are_there_to_the_last_character() {
    let mut view = View::new("a.redb", "ann");
    let params = format!("{{\"to\":\"{}END\"}}", "x".repeat(3_000));
    view.take(Reading {
        asked: [(run_id(2), vec![asked(2, &params)])].into(),
        ..Reading::default()
    });
    view.key(Key::Enter);
    let size = (40, 10);
    let mut last = drawn(&view, size);
    for _ in 0..50 {
        view.key(Key::PageDown);
        clamp(&mut view, size.into());
        last = drawn(&view, size);
    }
    assert!(last[8].ends_with("END\"}"), "{last:?}");
    // It stops at its end: one line up is one line up.
    view.key(Key::Up);
    assert_eq!(drawn(&view, size)[2..9], last[1..8]);
}

#[test]
fn a_refusal_is_told_at_the_foot_without_steering_the_terminal() {
    let mut view = view();
    view.said = Some(Said::Failed("it does not count: \u{1b}[2J".to_owned()));
    let lines = drawn(&view, (80, 24));
    assert_eq!(lines[23], "it does not count: \\u{1b}[2J");
}

#[test]
fn no_size_is_too_small() {
    for keys in ["", "?", "a", "ax"] {
        let mut view = view();
        for c in keys.chars() {
            view.key(Key::Char(c));
        }
        for (width, height) in [(0, 0), (1, 1), (2, 1), (1, 9), (9, 2), (20, 5), (300, 90)] {
            let lines = drawn(&view, (width, height));
            assert_eq!(
                lines.len(),
                usize::from(if width == 0 { 0 } else { height })
            );
        }
    }
}

const HALTED: &str = "\
a.redb  2 open, 1 asked  process 4711 has it open
HALTED workspace by bob since 2026-01-01 00:00:05Z: it spends too much
  mission-control resume workspace --db a.redb
HALTED run:02020202-0202-0202-0202-020202020202 by bob since 2026-01-01 00:00:06
  mission-control resume run:02020202-0202-0202-0202-020202020202 --db a.redb
RUN           WORKFLOW     STATUS    STEP              TOKENS     USD
03030303-0303 brief@1      running   plan #1           1100/70    0.006 of 1.00
02020202-0202 brief@1      halted    pay: approval     1100/70    0.006 of 1.00";

#[test]
fn what_is_halted_stands_above_all_with_the_command_that_lets_it_go_on() {
    let mut view = halted_view(1);
    assert_eq!(drawn(&view, (80, 24))[..8].join("\n"), HALTED);
    view.key(Key::Enter);
    view.key(Key::Char('?'));
    let lines = drawn(&view, (80, 24));
    assert!(lines[1].starts_with("HALTED workspace"), "{lines:?}");
}

#[test]
fn of_many_halts_it_is_said_how_many_there_are() {
    let lines = drawn(&halted_view(5), (80, 24));
    assert!(lines[6].contains("and 3 more are halted"), "{lines:?}");
    assert!(lines[7].starts_with("RUN"), "{lines:?}");
    for height in 0..9 {
        let lines = drawn(&halted_view(5), (20, height));
        assert_eq!(lines.len(), usize::from(height));
    }
}
