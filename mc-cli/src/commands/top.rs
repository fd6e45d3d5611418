//! `top`: what goes on in a store, on a terminal.

use std::sync::Arc;
use std::time::Duration;

use mc_core::error::{Error, Result};
use mc_core::event::approval::ApprovalVerdict;
use mc_core::ports::EventLog;
use mc_link::{Following, Moved};
use mission_control::Settings;

use super::{Done, operator};
use crate::args::Common;
use crate::console::{Console, Screen as Behind};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};
use crate::text::clean;
use crate::top::{Reach, Screen, TypedKeys, View, Word, turns};

/// The shortest time between two readings: whoever looks sees no more.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn execute(common: &Common, console: &mut Console<'_>) -> Done {
    let by = operator(common)?;
    if common.json || console.screen == Behind::Plain || console.input.is_none() {
        let rule =
            "it is drawn on a terminal, and there is none: `mission-control watch` writes lines";
        return Err(Failure::usage(Error::invalid("top", rule))
            .with_next("use `mission-control watch`, or `watch --json`"));
    }
    let following = store::follow(common).await?;
    let store = Store { common, following };
    let mut view = View::new(&clean(&common.db.display().to_string()), &by);
    let mut screen = Screen::take(&mut *console.out)?;
    let mut keys = TypedKeys::default();
    let done = turns(&mut view, (&store, &mut keys), screen.terminal()).await;
    drop(screen);
    done?;
    Ok(Exit::Done)
}

/// The store of a command line: it is followed, and opened only for as long as an answer takes.
struct Store<'a> {
    common: &'a Common,
    following: Following,
}

impl Reach for Store<'_> {
    async fn log(&self) -> Result<(Option<u32>, Arc<dyn EventLog>)> {
        let looked = self.following.log().await?;
        Ok((looked.owner(), Arc::clone(looked.log())))
    }

    async fn moved(&self) -> Result<Moved> {
        // It is not asked whether something moved: what did meanwhile is put together.
        tokio::time::sleep(AT_MOST_EVERY).await;
        self.following.moved().await
    }

    async fn decide(&self, word: &Word) -> Result<()> {
        let by = operator(self.common).map_err(Failure::into_error)?;
        let opened = Opened::open(self.common, Settings::default()).await;
        let opened = opened.map_err(Failure::into_error)?;
        let control = &opened.control;
        let said = match word.verdict {
            ApprovalVerdict::Approved => control.approve(word.id, &by, &word.reason).await,
            ApprovalVerdict::Rejected => control.reject(word.id, &by, &word.reason).await,
        };
        opened.close(Duration::ZERO).await?;
        said
    }
}
