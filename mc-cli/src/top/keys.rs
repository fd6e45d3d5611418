//! What keys do to a view. Nothing is decided by one key alone: an answer has a reason in words.

use mc_core::event::approval::ApprovalVerdict;
use mc_core::id::ApprovalId;

use super::view::{Page, Pane, Said, View};

/// Lines that a page key moves by.
const PAGE: usize = 5;

/// The longest reason that is taken, in characters.
const MAX_REASON: usize = 1_000;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The next list.
    Tab,
    /// The list before.
    BackTab,
    /// Opens, or hands in.
    Enter,
    /// Leaves what is open.
    Escape,
    /// Takes a character back.
    Backspace,
    /// Ends it, wherever it is.
    Interrupt,
    /// A character.
    Char(char),
}

/// What comes from whoever sits at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A key.
    Key(Key),
    /// The terminal has another size, or wants to be drawn again.
    Redraw,
}

/// Where keys come from.
pub(crate) trait Keys {
    /// The next input; none once nobody is there any more.
    ///
    /// # Errors
    /// Those of the terminal.
    async fn next(&mut self) -> std::io::Result<Option<Input>>;
}

/// An answer that is being given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    /// The answer.
    pub(crate) verdict: ApprovalVerdict,
    /// Why, as far as it is written.
    pub(crate) reason: String,
}

/// A person's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The request.
    pub(crate) id: ApprovalId,
    /// The answer.
    pub(crate) verdict: ApprovalVerdict,
    /// Why.
    pub(crate) reason: String,
}

impl Word {
    /// What it is once it was taken.
    pub(crate) const fn done(&self) -> &'static str {
        match self.verdict {
            ApprovalVerdict::Approved => "approved",
            ApprovalVerdict::Rejected => "rejected",
        }
    }
}

/// What a key asks for beyond the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing: at most the view has changed.
    Nothing,
    /// To end.
    Quit,
    /// To hand an answer in.
    Decide(Word),
}

impl View {
    /// Takes a key.
    pub(crate) fn key(&mut self, key: Key) -> Deed {
        if key == Key::Interrupt {
            return Deed::Quit;
        }
        match std::mem::take(&mut self.page) {
            Page::Lists => self.in_lists(key),
            // Any key leaves it.
            Page::Help => Deed::Nothing,
            Page::Request { id, scroll, asking } => match asking {
                Some(asking) => self.in_reason((id, scroll), asking, key),
                None => self.in_request((id, scroll), key),
            },
        }
    }

    fn in_lists(&mut self, key: Key) -> Deed {
        self.said = None;
        match key {
            Key::Char('q') => return Deed::Quit,
            Key::Char('?' | 'h') => self.page = Page::Help,
            Key::Char('a') => self.opens(Some(ApprovalVerdict::Approved)),
            Key::Char('r') => self.opens(Some(ApprovalVerdict::Rejected)),
            Key::Enter => self.opens(None),
            Key::Tab => self.pane = after(self.pane),
            Key::BackTab => self.pane = after(after(self.pane)),
            Key::Up | Key::Char('k') => self.moves(|place| place.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.moves(|place| place.saturating_add(1)),
            Key::PageUp => self.moves(|place| place.saturating_sub(PAGE)),
            Key::PageDown => self.moves(|place| place.saturating_add(PAGE)),
            Key::Escape | Key::Backspace | Key::Interrupt | Key::Char(_) => {}
        }
        Deed::Nothing
    }

    fn moves(&mut self, to: impl Fn(usize) -> usize) {
        let place = to(self.place(self.pane));
        self.chooses(self.pane, Some(place));
    }

    /// Opens the request that is chosen: it is shown whole before anybody answers it.
    fn opens(&mut self, verdict: Option<ApprovalVerdict>) {
        let Some(id) = self.chosen_request() else {
            self.said = Some(Said::Failed("nothing is asked of anybody".to_owned()));
            return;
        };
        let asking = verdict.map(|verdict| Asking {
            verdict,
            reason: String::new(),
        });
        self.page = Page::Request {
            id,
            scroll: 0,
            asking,
        };
    }

    fn in_request(&mut self, (id, scroll): (ApprovalId, u16), key: Key) -> Deed {
        let asking = |verdict| {
            let reason = String::new();
            Some(Asking { verdict, reason })
        };
        let (scroll, asking) = match key {
            Key::Char('q') | Key::Escape | Key::Enter | Key::Backspace => return Deed::Nothing,
            Key::Char('a') => (scroll, asking(ApprovalVerdict::Approved)),
            Key::Char('r') => (scroll, asking(ApprovalVerdict::Rejected)),
            Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Tab
            | Key::BackTab
            | Key::Interrupt
            | Key::Char(_) => (scrolled(scroll, key), None),
        };
        self.page = Page::Request { id, scroll, asking };
        Deed::Nothing
    }

    fn in_reason(&mut self, (id, scroll): (ApprovalId, u16), mut asking: Asking, key: Key) -> Deed {
        let mut at = scroll;
        match key {
            Key::Enter if !asking.reason.trim().is_empty() => {
                return Deed::Decide(Word {
                    id,
                    verdict: asking.verdict,
                    reason: asking.reason.trim().to_owned(),
                });
            }
            Key::Escape => {
                let asking = None;
                self.page = Page::Request { id, scroll, asking };
                return Deed::Nothing;
            }
            Key::Backspace => drop(asking.reason.pop()),
            Key::Char(c) if asking.reason.chars().count() < MAX_REASON => asking.reason.push(c),
            Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Tab
            | Key::BackTab
            | Key::Enter
            | Key::Interrupt
            | Key::Char(_) => at = scrolled(scroll, key),
        }
        self.page = Page::Request {
            id,
            scroll: at,
            asking: Some(asking),
        };
        Deed::Nothing
    }
}

const fn after(pane: Pane) -> Pane {
    match pane {
        Pane::Runs => Pane::Accounts,
        Pane::Accounts => Pane::Requests,
        Pane::Requests => Pane::Runs,
    }
}

fn scrolled(scroll: u16, key: Key) -> u16 {
    let page = u16::try_from(PAGE).unwrap_or(u16::MAX);
    match key {
        Key::Up => scroll.saturating_sub(1),
        Key::Down => scroll.saturating_add(1),
        Key::PageUp => scroll.saturating_sub(page),
        Key::PageDown => scroll.saturating_add(page),
        Key::Tab
        | Key::BackTab
        | Key::Enter
        | Key::Escape
        | Key::Backspace
        | Key::Interrupt
        | Key::Char(_) => scroll,
    }
}
