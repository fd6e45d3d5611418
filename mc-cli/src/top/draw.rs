//! Drawing a view into a frame: three lists under one another, or a page over them.
//!
//! What may come from elsewhere was made safe where its line was made (`rows`, `asked`); here it is
//! only laid out. Every size is fine: what has no room is left out.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use super::page;
use super::rows::{AccountLine, AskedLine, RunLine, moment, short, usd};
use super::view::{Page, Pane, Said, View};

/// The most lines that accounts and requests take each, with their heads.
const MOST_ACCOUNTS: u16 = 7;
const MOST_REQUESTS: u16 = 7;
/// The most lines that halts take.
const MOST_HALTED: usize = 6;

const KEYS: &str = "a approve  r reject  enter whole  tab next list  ? help  q quit";

/// Draws a view.
pub(super) fn draw(view: &View, frame: &mut Frame<'_>) {
    let [head, halts, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(banner(view, frame.area().height)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(view)), head);
    halted(view, frame, halts);
    match &view.page {
        Page::Lists => lists(view, frame, body),
        Page::Help => page::help(frame, body),
        Page::Request { id, scroll, asking } => {
            page::request(view, (*id, *scroll, asking.as_ref()), (frame, body));
        }
    }
    frame.render_widget(Paragraph::new(footing(view)), foot);
}

/// Lines that are taken by what is halted, on a screen of so many.
pub(super) fn banner(view: &View, height: u16) -> u16 {
    let lines = view.halts().len().saturating_mul(2).min(MOST_HALTED);
    let lines = u16::try_from(lines).unwrap_or(u16::MAX);
    lines.min(height / 3)
}

/// What is halted, two lines each; of what has no room it is said how much there is.
fn halted(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let halts = view.halts();
    let style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    let lines = halts.iter().flat_map(|halt| {
        let told = Line::styled(halt.told(), style);
        [told, Line::from(halt.resumed_by(&view.store))]
    });
    let room = usize::from(area.height);
    let mut lines: Vec<Line<'_>> = lines.take(room).collect();
    let hidden = halts.len() - room.div_ceil(2).min(halts.len());
    if hidden > 0
        && let Some(last) = lines.last_mut()
    {
        *last = Line::styled(format!("and {hidden} more are halted; {last}"), style);
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn heading(view: &View) -> Line<'static> {
    let owner = match view.owner {
        Some(pid) => format!("process {pid} has it open"),
        None => "nobody has it open".to_owned(),
    };
    let counts = format!("{} open, {} asked", view.open_runs(), view.requests().len());
    let text = format!("{}  {counts}  {owner}", view.store);
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn footing(view: &View) -> Line<'static> {
    match &view.said {
        Some(Said::Done(text)) => Line::styled(text.clone(), Style::new().fg(Color::Green)),
        Some(Said::Failed(text) | Said::Away(text)) => {
            Line::styled(crate::text::clean(text), Style::new().fg(Color::Red))
        }
        None => Line::from(Span::styled(
            match &view.page {
                Page::Lists => KEYS,
                Page::Help => "any key goes back",
                Page::Request { asking: None, .. } => {
                    "a approve  r reject  up/down scroll  esc back"
                }
                Page::Request {
                    asking: Some(_), ..
                } => "enter hands it in  esc gives up",
            },
            Style::new().fg(Color::DarkGray),
        )),
    }
}

fn lists(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let wanted = |len: usize, most: u16| {
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        Constraint::Length(len.saturating_add(1).clamp(2, most))
    };
    let requests = view.requests();
    let [runs_area, accounts_area, requests_area] = Layout::vertical([
        Constraint::Fill(1),
        wanted(view.accounts().len(), MOST_ACCOUNTS),
        wanted(requests.len().saturating_mul(2), MOST_REQUESTS),
    ])
    .areas(area);
    runs(view, frame, runs_area);
    accounts(view, frame, accounts_area);
    asked(view, &requests, (frame, requests_area));
}

/// A list: its head, its rows, and the chosen one in reverse where the keys move in it.
struct List<'a> {
    pane: Pane,
    head: &'a [&'a str],
    widths: &'a [Constraint],
    rows: Vec<Row<'a>>,
}

impl List<'_> {
    fn draw(self, view: &View, (frame, area): (&mut Frame<'_>, Rect)) {
        let focused = view.pane == self.pane;
        let style = if focused {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        };
        let chosen = (focused && !self.rows.is_empty()).then(|| view.place(self.pane));
        let table = Table::new(self.rows, self.widths.iter().copied())
            .header(Row::new(self.head.iter().copied()).style(style))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut state = TableState::new().with_selected(chosen);
        frame.render_stateful_widget(table, area, &mut state);
    }
}

fn runs(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let list = List {
        pane: Pane::Runs,
        head: &["RUN", "WORKFLOW", "STATUS", "STEP", "TOKENS", "USD"],
        widths: &[
            Constraint::Length(13),
            Constraint::Fill(2),
            Constraint::Length(9),
            Constraint::Fill(3),
            Constraint::Length(10),
            Constraint::Length(14),
        ],
        rows: view.runs().into_iter().map(run).collect(),
    };
    list.draw(view, (frame, area));
}

fn run(line: &RunLine) -> Row<'static> {
    let style = if line.is_open() {
        Style::new()
    } else {
        Style::new().fg(Color::DarkGray)
    };
    Row::new([
        line.short_id(),
        line.what.clone(),
        line.status_text(),
        line.steps.clone(),
        line.tokens_text(),
        line.cost_text(),
    ])
    .style(style)
}

fn accounts(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let list = List {
        pane: Pane::Accounts,
        head: &["ACCOUNT", "", "USED", "SPENT", "RESETS", "WINDOW"],
        widths: &[
            Constraint::Fill(2),
            Constraint::Length(10),
            Constraint::Length(6),
            Constraint::Fill(2),
            Constraint::Length(16),
            Constraint::Fill(1),
        ],
        rows: view.accounts().iter().map(account).collect(),
    };
    list.draw(view, (frame, area));
}

fn account(line: &AccountLine) -> Row<'static> {
    let color = match line.percent {
        _ if line.frozen => Color::Cyan,
        Some(100..) => Color::Red,
        Some(80..) => Color::Yellow,
        Some(_) => Color::Green,
        None => Color::Reset,
    };
    let bar = Cell::from(line.bar.clone()).style(Style::new().fg(color));
    Row::new([
        Cell::from(line.name.clone()),
        bar,
        Cell::from(line.percent_text()),
        Cell::from(line.told.clone()),
        Cell::from(line.resets_text()),
        Cell::from(line.window.clone()),
    ])
}

fn asked(view: &View, requests: &[&AskedLine], (frame, area): (&mut Frame<'_>, Rect)) {
    let list = List {
        pane: Pane::Requests,
        head: &["ASKED", "TIER", "WHAT", "AT MOST USD", "UNTIL"],
        widths: &[
            Constraint::Length(16),
            Constraint::Length(12),
            Constraint::Fill(1),
            Constraint::Length(11),
            Constraint::Length(20),
        ],
        rows: requests.iter().map(|line| request(line)).collect(),
    };
    if requests.is_empty() {
        let [head, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        list.draw(view, (frame, head));
        frame.render_widget(Paragraph::new("nothing is asked of anybody"), body);
    } else {
        list.draw(view, (frame, area));
    }
}

/// Two lines: what is asked, and the beginning of its parameters.
fn request(line: &AskedLine) -> Row<'static> {
    let id = format!("{}/{}", short(line.id.run_id), line.id.number);
    let what = format!("{}\n{}", line.what, line.params);
    Row::new([
        id,
        line.tier.clone(),
        what,
        usd(line.most),
        moment(line.expires_at),
    ])
    .height(2)
}
