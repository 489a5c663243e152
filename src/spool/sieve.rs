//! What can be told of a message without reading it: whose it is, how old, whether it is held. Long queues are looked
//! through by this first, so that a filter that fits few messages reads few.

use crate::mail::{AgencyId, Timestamp};

/// An agency in two octets, as the index and the log's records carry it. Two agencies may share one; 0 is that of records
/// written before there were marks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Mark(pub u16);

impl Mark {
    #[must_use]
    pub fn of(agency: &AgencyId) -> Self {
        let [a, b, ..] = crc32fast::hash(agency.to_string().as_bytes()).to_le_bytes();
        Self(u16::from_le_bytes([a, b]).max(1))
    }
}

/// Everything that is set must fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sieve {
    pub agency: Option<AgencyId>,
    /// Taken before this moment.
    pub before: Option<Timestamp>,
    pub held: Option<bool>,
}

impl Sieve {
    /// Whether such a message may be meant. One that is meant is never left out; of another agency's one in 65,000 may
    /// come through.
    pub(super) fn passes(&self, mark: Mark, since: Timestamp, held: bool) -> bool {
        self.agency.as_ref().is_none_or(|agency| mark == Mark::default() || mark == Mark::of(agency))
            && self.before.is_none_or(|before| since < before)
            && self.held.is_none_or(|wanted| wanted == held)
    }
}
