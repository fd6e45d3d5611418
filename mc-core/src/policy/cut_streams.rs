//! What a stream counts as that was cut before its usage came.

/// What a stream counts as that was cut before its usage came.
///
/// The provider may go on to bill what it had begun, so that what was seen of the answer is no proof
/// of what it costs: it is the workspace's choice, not the caller's, to believe it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CutStreams {
    /// All that was held for it, flag `cut`.
    #[default]
    InFull,
    /// What whoever cut it says that it can have used at most, where they say so and never more than
    /// was held: flags `cut` and `observed`.
    AsObserved,
}
