//! A view: all that is shown, as plain data, and how it follows what was read.
//!
//! It knows no terminal and no store; what keys do to it is in `keys`.

use std::collections::BTreeMap;

use mc_core::id::{ApprovalId, RunId};

use super::halts::HaltLine;
use super::keys::Asking;
use super::rows::{AccountLine, AskedLine, RunLine};

/// Runs that are kept: all that are open, and so many of the others.
const ENDED: usize = 200;

/// What was read of a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// How much of the store it is.
    pub(crate) extent: Extent,
    /// The runs that were read.
    pub(crate) runs: Vec<RunLine>,
    /// What each of these runs asks.
    pub(crate) asked: BTreeMap<RunId, Vec<AskedLine>>,
    /// Every shared account.
    pub(crate) accounts: Vec<AccountLine>,
    /// What is halted, but for runs.
    pub(crate) halts: Vec<HaltLine>,
    /// The process that has the store.
    pub(crate) owner: Option<u32>,
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything: what is not in it is not there.
    #[default]
    Whole,
    /// The runs that moved.
    Part,
}

/// One of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pane {
    /// Runs.
    #[default]
    Runs,
    /// Shared accounts.
    Accounts,
    /// What is asked of people.
    Requests,
}

/// What lies over the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    /// Nothing.
    #[default]
    Lists,
    /// What the keys do.
    Help,
    /// One request, whole.
    Request {
        /// Which.
        id: ApprovalId,
        /// The first line that is shown.
        scroll: u16,
        /// An answer that is being given.
        asking: Option<Asking>,
    },
}

/// What was said last to whoever looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It was done.
    Done(String),
    /// It was not.
    Failed(String),
    /// The store could not be read for the moment; said until it can.
    Away(String),
}

/// All that is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The store, as it was named.
    pub(crate) store: String,
    /// Who looks, and decides.
    pub(crate) operator: String,
    /// The process that has the store.
    pub(crate) owner: Option<u32>,
    runs: BTreeMap<RunId, RunLine>,
    asked: BTreeMap<RunId, Vec<AskedLine>>,
    accounts: Vec<AccountLine>,
    halts: Vec<HaltLine>,
    /// The list that the keys move in.
    pub(crate) pane: Pane,
    places: BTreeMap<Pane, usize>,
    /// What lies over the lists.
    pub(crate) page: Page,
    /// What was said last.
    pub(crate) said: Option<Said>,
}

impl View {
    /// A view of a store of which nothing was read yet.
    pub(crate) fn new(store: &str, operator: &str) -> Self {
        Self {
            store: store.to_owned(),
            operator: operator.to_owned(),
            ..Self::default()
        }
    }

    /// Takes over what was read; what was chosen stays chosen, wherever it is now.
    pub(crate) fn take(&mut self, reading: Reading) {
        let (run, request) = (self.chosen_run(), self.chosen_request());
        self.said = self
            .said
            .take()
            .filter(|said| !matches!(said, Said::Away(_)));
        self.owner = reading.owner;
        self.accounts = reading.accounts;
        self.halts = reading.halts;
        if reading.extent == Extent::Whole {
            self.runs.clear();
            self.asked.clear();
        }
        for line in reading.runs {
            self.runs.insert(line.run_id, line);
        }
        for (run, asked) in reading.asked {
            self.asked.insert(run, asked);
        }
        self.asked.retain(|_, asked| !asked.is_empty());
        self.forget();
        let runs = self.runs();
        let place = run.and_then(|id| runs.iter().position(|line| line.run_id == id));
        self.chooses(Pane::Runs, place);
        let requests = self.requests();
        let place = request.and_then(|id| requests.iter().position(|line| line.id == id));
        self.chooses(Pane::Requests, place);
        self.chooses(Pane::Accounts, None);
    }

    /// Lets go of the oldest runs that have ended.
    fn forget(&mut self) {
        let runs = self.runs();
        let ended = runs.iter().filter(|line| !line.is_open()).skip(ENDED);
        let gone: Vec<RunId> = ended.map(|line| line.run_id).collect();
        for run in gone {
            self.runs.remove(&run);
        }
    }

    /// Runs that have not ended, then the others, the newest first.
    pub(crate) fn runs(&self) -> Vec<&RunLine> {
        let mut runs: Vec<&RunLine> = self.runs.values().collect();
        runs.sort_by_key(|line| {
            (
                !line.is_open(),
                std::cmp::Reverse((line.started_at, line.run_id)),
            )
        });
        runs
    }

    /// What is asked, the first to end first.
    pub(crate) fn requests(&self) -> Vec<&AskedLine> {
        let mut requests: Vec<&AskedLine> = self.asked.values().flatten().collect();
        requests.sort_by_key(|line| (line.expires_at, line.id));
        requests
    }

    /// The shared accounts.
    pub(crate) fn accounts(&self) -> &[AccountLine] {
        &self.accounts
    }

    /// What is halted: everything, agents, and runs that have not ended.
    pub(crate) fn halts(&self) -> Vec<&HaltLine> {
        let runs = self.runs().into_iter().filter(|line| line.is_open());
        let runs = runs.filter_map(|line| line.halt.as_ref());
        self.halts.iter().chain(runs).collect()
    }

    /// A request, while it is asked.
    pub(crate) fn request(&self, id: ApprovalId) -> Option<&AskedLine> {
        self.asked
            .get(&id.run_id)?
            .iter()
            .find(|line| line.id == id)
    }

    /// How many runs have not ended.
    pub(crate) fn open_runs(&self) -> usize {
        self.runs.values().filter(|line| line.is_open()).count()
    }

    /// The place in a list that is chosen.
    pub(crate) fn place(&self, pane: Pane) -> usize {
        self.places.get(&pane).copied().unwrap_or(0)
    }

    /// The run that is chosen.
    pub(crate) fn chosen_run(&self) -> Option<RunId> {
        let runs = self.runs();
        runs.get(self.place(Pane::Runs)).map(|line| line.run_id)
    }

    /// The request that is chosen, or that lies open.
    pub(crate) fn chosen_request(&self) -> Option<ApprovalId> {
        if let Page::Request { id, .. } = &self.page {
            return Some(*id);
        }
        let requests = self.requests();
        requests.get(self.place(Pane::Requests)).map(|line| line.id)
    }

    /// Chooses a place in a list, or as near to where it was as there is one.
    pub(super) fn chooses(&mut self, pane: Pane, place: Option<usize>) {
        let last = self.len(pane).saturating_sub(1);
        let place = place.unwrap_or_else(|| self.place(pane)).min(last);
        self.places.insert(pane, place);
    }

    fn len(&self, pane: Pane) -> usize {
        match pane {
            Pane::Runs => self.runs.len(),
            Pane::Accounts => self.accounts.len(),
            Pane::Requests => self.asked.values().map(Vec::len).sum(),
        }
    }
}
