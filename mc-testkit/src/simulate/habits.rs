//! How far a world goes: the worlds of before keep their histories, and with them their regressions.

/// What may happen in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habits {
    /// Steps, calls, buttons, a failing disk and crashes.
    Tame,
    /// Also handlers that answer twice, sessions, sleeps, and a wall clock that is set by hours.
    Wild,
    /// Also what cannot be undone: steps and tools that ask, operators who answer late, twice or not
    /// at all, and policies that change meanwhile.
    Asking,
    /// Also workflows that use others: runs nested in runs.
    Nesting,
}

impl Habits {
    /// How many things can be drawn: `more` of them in a wild world only.
    pub(super) const fn choices(self, tame: u64, more: u64) -> u64 {
        match self {
            Self::Tame => tame,
            Self::Wild | Self::Asking | Self::Nesting => tame + more,
        }
    }

    /// Whether anything is asked of people.
    pub(super) const fn asks(self) -> bool {
        match self {
            Self::Tame | Self::Wild => false,
            Self::Asking | Self::Nesting => true,
        }
    }

    /// Whether workflows use others.
    pub(super) const fn nests(self) -> bool {
        match self {
            Self::Tame | Self::Wild | Self::Asking => false,
            Self::Nesting => true,
        }
    }
}
