//! The halt switch: how somebody without any other way in stops everything.

use std::fmt;

/// Who pulled the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The operator, as far as the switch can tell.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// What has to be done away with before the workspace may be resumed, for a message.
    pub place: String,
}

/// Something beside the store that halts the workspace for as long as it is pulled.
///
/// It is looked at with every commit that dispatches something, so looking must not wait.
pub trait HaltSwitch: Send + Sync + fmt::Debug + 'static {
    /// Who pulled it; none while it is not pulled.
    fn pulled(&self) -> Option<Pulled>;
}
