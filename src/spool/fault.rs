//! Deliberate mistakes, to see that the campaign of power cuts notices them. Outside of tests there are none.

/// A promise of the spool that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    SyncLeftOut,
    AnswerBeforeSync,
    /// A sync that failed counts as done.
    FailedSyncIgnored,
    /// A segment whose sync failed is not declared void.
    FailedSegmentTrusted,
    /// What later segments say of void ones is not heeded at a start.
    VoidsForgotten,
    /// Changes told to callers are not written again when their segment fails.
    CarryForgotten,
    /// Mail moves ahead with its state from the log while newer changes wait to be written again.
    MovedBeforeCarry,
    /// A segment is left for the next one with changes that are not synced.
    SealNotSynced,
    /// The name of a new segment is not synced.
    FolderNotSynced,
    /// A start goes on behind what a killed process had written but not synced.
    StartNotSynced,
    /// A start believes the cache, also where an earlier process had a sync fail.
    CacheBelieved,
    ChecksumIgnored,
    /// What lies behind a torn record at the end of the log is believed.
    TailBelieved,
    /// Mail that moves ahead is not synced before its old segment goes.
    ReusedTooEarly,
    /// The old segment goes before its mail has moved.
    FreedBeforeMoved,
    FreedOutOfOrder,
    /// A freed segment is not synced before it is used again.
    BlankNotSynced,
    /// Mail moves ahead with the state it came with.
    StateLeftBehind,
    /// Every life of every segment has the same nonce.
    NonceKept,
    /// Keys begin anew at each start.
    KeysForgotten,
}

/// Which of them is on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults(Option<Fault>);

impl Faults {
    #[cfg(test)]
    pub const fn only(fault: Option<Fault>) -> Self {
        Self(fault)
    }

    /// Whether to make this mistake.
    #[must_use]
    pub fn has(self, fault: Fault) -> bool {
        cfg!(test) && self.0 == Some(fault)
    }
}
