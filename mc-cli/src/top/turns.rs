//! The loop of `top`: a turn is what moved, or a key; each ends with the view drawn anew.

use std::io;
use std::sync::Arc;

use mc_core::error::{Error, ErrorKind, Result};
use mc_core::ports::EventLog;
use mc_link::Moved;
use ratatui::Terminal;
use ratatui::backend::Backend;

use super::draw::draw;
use super::keys::{Deed, Input, Keys, Word};
use super::page;
use super::reading::after;
use super::rows::short;
use super::view::{Said, View};

/// How a store is reached.
pub(crate) trait Reach {
    /// The log, to read now and to be dropped then, and the process that has it.
    ///
    /// # Errors
    /// Those of the store.
    async fn log(&self) -> Result<(Option<u32>, Arc<dyn EventLog>)>;

    /// Waits until something moved.
    ///
    /// # Errors
    /// Those of the store, once it cannot be followed any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn moved(&self) -> Result<Moved>;

    /// Hands a person's answer in.
    ///
    /// # Errors
    /// What speaks against it.
    async fn decide(&self, word: &Word) -> Result<()>;
}

/// Shows a store until whoever looks has had enough.
///
/// # Errors
/// Those of the store and of the terminal.
pub(crate) async fn turns<B>(
    view: &mut View,
    (store, keys): (&impl Reach, &mut impl Keys),
    terminal: &mut Terminal<B>,
) -> Result<()>
where
    B: Backend,
    B::Error: Send + Sync + 'static,
{
    refresh(view, store, &Moved::Anything).await?;
    loop {
        let drawn = terminal.size().and_then(|size| {
            page::clamp(view, size);
            terminal.draw(|frame| draw(view, frame)).map(drop)
        });
        drawn.map_err(|error| no_terminal(io::Error::other(error)))?;
        tokio::select! {
            biased;
            input = keys.next() => match input.map_err(no_terminal)? {
                Some(Input::Key(key)) => match view.key(key) {
                    Deed::Nothing => {}
                    Deed::Quit => return Ok(()),
                    Deed::Decide(word) => decide(view, store, &word).await?,
                },
                Some(Input::Redraw) => {}
                None => return Ok(()),
            },
            moved = store.moved() => refresh(view, store, &moved?).await?,
        }
    }
}

/// Reads what moved. An owner that went away meanwhile is told of; what comes next is heard.
async fn refresh(view: &mut View, store: &impl Reach, moved: &Moved) -> Result<()> {
    let read = async {
        let (owner, log) = store.log().await?;
        let mut reading = after(&*log, moved, view).await?;
        reading.owner = owner;
        Ok(reading)
    };
    match read.await {
        Ok(reading) => view.take(reading),
        Err(error) if is_passing(&error) => {
            view.said = Some(Said::Away(error.message().to_owned()));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn is_passing(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

async fn decide(view: &mut View, store: &impl Reach, word: &Word) -> Result<()> {
    let id = word.id;
    view.said = Some(match store.decide(word).await {
        Ok(()) => Said::Done(format!(
            "{}/{} is {}",
            short(id.run_id),
            id.number,
            word.done()
        )),
        Err(error) => Said::Failed(format!("it does not count: {error}")),
    });
    let run = [id.run_id].into();
    refresh(view, store, &Moved::Runs(run)).await
}

fn no_terminal(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the terminal cannot be used").with_source(error)
}
