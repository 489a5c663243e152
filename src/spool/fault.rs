//! Deliberate mistakes, to see that the campaign of power cuts notices them. Outside of tests there are none.

/// A promise of the spool that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    SyncLeftOut,
    AnswerBeforeSync,
    ReusedTooEarly,
    ChecksumIgnored,
    FreedOutOfOrder,
    FailedSegmentTrusted,
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
