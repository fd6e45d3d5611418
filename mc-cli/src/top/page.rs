//! The pages over the lists: one request whole, with the answer that is being given, and help.

use mc_core::event::approval::ApprovalVerdict;
use mc_core::id::ApprovalId;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Wrap};

use super::draw::banner;
use super::keys::Asking;
use super::view::{Page, View};
use crate::text::clean;

/// Lines around a page: the head and the foot.
const AROUND: u16 = 2;

const HELP: &str = "\
up, down, page up, page down   move in a list, or scroll
tab                            the next list
enter                          a request whole: its exact parameters, what it does to each budget
a                              approve the request that is chosen; a reason is asked for
r                              reject it; a reason is asked for
q, ctrl-c                      quit

Runs that have not ended stand first, the newest on top. Of a bar, # is spent and + is held.
What is shown moves when something happens in the store. Times are in UTC. Nothing is started,
and no run waits for this view.";

/// What the keys do.
pub(super) fn help(frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), area);
}

/// A request, whole, and the answer to it.
pub(super) fn request(
    view: &View,
    (id, scroll, asking): (ApprovalId, u16, Option<&Asking>),
    (frame, area): (&mut Frame<'_>, Rect),
) {
    let answer = Constraint::Length(answer(asking));
    let [whole, below] = Layout::vertical([Constraint::Fill(1), answer]).areas(area);
    let lines = lines(view, id, whole.width);
    let shown = lines.iter().skip(usize::from(scroll)).map(String::as_str);
    let text: Text<'_> = shown.take(usize::from(whole.height)).collect();
    frame.render_widget(Paragraph::new(text), whole);
    if let Some(asking) = asking {
        reason(&view.operator, asking, (frame, below));
    }
}

/// Every line of a request, broken at the width and nowhere else: nothing of it is left out.
fn lines(view: &View, id: ApprovalId, width: u16) -> Vec<String> {
    match view.request(id) {
        Some(line) => line
            .whole
            .iter()
            .flat_map(|line| broken(line, width))
            .collect(),
        None => broken(&format!("{id} is not asked any more"), width),
    }
}

fn broken(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let mut lines = vec![(String::new(), 0)];
    for c in text.chars() {
        let takes = Span::raw(c.to_string()).width();
        match lines.last_mut() {
            Some((line, room)) if *room + takes <= width => {
                line.push(c);
                *room += takes;
            }
            Some(_) | None => lines.push((c.to_string(), takes)),
        }
    }
    lines.into_iter().map(|(line, _)| line).collect()
}

/// Keeps a page from being scrolled beyond its end, on a screen of this size.
pub(super) fn clamp(view: &mut View, size: Size) {
    let Page::Request { id, scroll, asking } = &view.page else {
        return;
    };
    let around = AROUND + answer(asking.as_ref()) + banner(view, size.height);
    let room = size.height.saturating_sub(around);
    let lines = lines(view, *id, size.width).len();
    let most = lines.saturating_sub(usize::from(room.max(1)));
    let scroll = (*scroll).min(u16::try_from(most).unwrap_or(u16::MAX));
    if let Page::Request { scroll: at, .. } = &mut view.page {
        *at = scroll;
    }
}

/// Lines that an answer takes.
const fn answer(asking: Option<&Asking>) -> u16 {
    if asking.is_some() { 2 } else { 0 }
}

fn reason(operator: &str, asking: &Asking, (frame, area): (&mut Frame<'_>, Rect)) {
    let verb = match asking.verdict {
        ApprovalVerdict::Approved => "approve",
        ApprovalVerdict::Rejected => "reject",
    };
    let [head, line] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let question = format!("{verb} it as {operator}. Why?");
    frame.render_widget(Paragraph::new(Line::styled(question, bold)), head);
    let text = format!("> {}", clean(&asking.reason));
    let length = u16::try_from(Line::from(text.as_str()).width()).unwrap_or(u16::MAX);
    // The end of a long reason is what is being written.
    let hidden = length.saturating_add(1).saturating_sub(line.width);
    frame.render_widget(Paragraph::new(text).scroll((0, hidden)), line);
    if line.width > 0 && line.height > 0 {
        let x = line.x.saturating_add(length.saturating_sub(hidden));
        frame.set_cursor_position(Position::new(x, line.y));
    }
}
