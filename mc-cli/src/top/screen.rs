//! The terminal under a view: taken over as a whole, and given back whatever happens.

use std::collections::VecDeque;
use std::io::{self, Write, stdout};
use std::panic;
use std::sync::Arc;

use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, EventStream, KeyCode, KeyEvent,
    KeyEventKind, KeyModifiers,
};
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute};
use futures::StreamExt as _;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::keys::{Input, Key, Keys};

type Hook = Arc<dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync>;

/// A terminal that was taken over. It is as it was before once this is dropped, and before a panic is
/// told of.
pub(crate) struct Screen<'a> {
    terminal: Terminal<CrosstermBackend<&'a mut dyn Write>>,
    hook: Hook,
}

impl<'a> Screen<'a> {
    /// Takes the terminal over that `out` writes to.
    ///
    /// # Errors
    /// Those of the terminal.
    pub(crate) fn take(out: &'a mut dyn Write) -> io::Result<Self> {
        let hook: Hook = Arc::from(panic::take_hook());
        let before = Arc::clone(&hook);
        panic::set_hook(Box::new(move |panic| {
            give_back(&mut stdout());
            before(panic);
        }));
        let terminal = open(out);
        if terminal.is_err() {
            give_back(&mut stdout());
            restore(&hook);
        }
        let terminal = terminal?;
        Ok(Self { terminal, hook })
    }

    /// What is drawn on.
    pub(crate) const fn terminal(&mut self) -> &mut Terminal<CrosstermBackend<&'a mut dyn Write>> {
        &mut self.terminal
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        give_back(self.terminal.backend_mut());
        restore(&self.hook);
    }
}

fn open<W: Write>(mut out: W) -> io::Result<Terminal<CrosstermBackend<W>>> {
    enable_raw_mode()?;
    execute!(out, EnterAlternateScreen, EnableBracketedPaste)?;
    Terminal::new(CrosstermBackend::new(out))
}

fn restore(hook: &Hook) {
    // In a panic the hook is at work, and the process is about to end.
    if !std::thread::panicking() {
        let hook = Arc::clone(hook);
        panic::set_hook(Box::new(move |panic| hook(panic)));
    }
}

/// Nobody is left to tell if this fails.
fn give_back(out: &mut impl Write) {
    drop(disable_raw_mode());
    drop(execute!(
        out,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    ));
}

/// Keys that are typed at the terminal.
#[derive(Debug, Default)]
pub(crate) struct TypedKeys {
    events: EventStream,
    pasted: VecDeque<char>,
}

impl Keys for TypedKeys {
    async fn next(&mut self) -> io::Result<Option<Input>> {
        loop {
            if let Some(c) = self.pasted.pop_front() {
                return Ok(Some(Input::Key(Key::Char(c))));
            }
            let Some(event) = self.events.next().await else {
                return Ok(None);
            };
            match event? {
                Event::Key(key) => {
                    if let Some(key) = typed(key) {
                        return Ok(Some(Input::Key(key)));
                    }
                }
                // What is pasted hands nothing in: a line feed is no key here.
                Event::Paste(text) => self.pasted.extend(text.chars().filter(|c| !c.is_control())),
                Event::Resize(..) | Event::FocusGained => return Ok(Some(Input::Redraw)),
                Event::FocusLost | Event::Mouse(_) => {}
            }
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a keyboard has more keys than this knows"
)]
fn typed(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let with = |modifier| key.modifiers.contains(modifier);
    match key.code {
        KeyCode::Char('c' | 'd') if with(KeyModifiers::CONTROL) => Some(Key::Interrupt),
        KeyCode::Char(_) if with(KeyModifiers::CONTROL) || with(KeyModifiers::ALT) => None,
        KeyCode::Char(c) => Some(Key::Char(c)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Tab => Some(Key::Tab),
        KeyCode::BackTab => Some(Key::BackTab),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_ends_it_and_other_controls_are_no_letters() {
        let key = |code, modifiers| typed(KeyEvent::new(code, modifiers));
        let control = KeyModifiers::CONTROL;
        assert_eq!(key(KeyCode::Char('c'), control), Some(Key::Interrupt));
        assert_eq!(key(KeyCode::Char('a'), control), None);
        let shift = KeyModifiers::SHIFT;
        assert_eq!(key(KeyCode::Char('A'), shift), Some(Key::Char('A')));
    }
}
