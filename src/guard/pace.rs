//! How fast somebody goes: rates as arithmetic over one number a party.
//!
//! The generic cell rate algorithm: for each party the moment up to which its share is used. Nothing runs in the
//! background, a window has no edge to sit on, and the table is bounded: parties that would be let in anyway are forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::mail::memory::forget_older_half;
use crate::mail::{Span, Timestamp};

/// Parties remembered at a time.
const MOST: usize = 131_072;

/// Of what a party is one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Connections,
    Address,
    Network,
    Sender,
    Recipient,
    Agency,
}

impl Kind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Network => "network",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Agency => "agency",
        }
    }
}

/// So many in so long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// 0: no limit.
    pub count: u32,
    pub window: Span,
}

impl Rate {
    #[must_use]
    pub const fn hourly(count: u32) -> Self {
        Self { count, window: Span::hours(1) }
    }
    #[must_use]
    pub const fn minutely(count: u32) -> Self {
        Self { count, window: Span::minutes(1) }
    }
}

/// The table. Names are kept as keyed hashes: nobody outside can make two of them meet.
#[derive(Debug)]
pub struct Pace {
    hasher: RandomState,
    used_up_to: HashMap<(Kind, u64), Timestamp>,
    most: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { hasher: RandomState::new(), used_up_to: HashMap::new(), most: MOST }
    }
}

impl Pace {
    #[must_use]
    pub fn of_size(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Counts one more of `party`, or says how long it is too early.
    pub fn take(&mut self, kind: Kind, party: &str, rate: Rate, now: Timestamp) -> Result<(), Span> {
        if rate.count == 0 {
            return Ok(());
        }
        let key = (kind, self.hasher.hash_one(party));
        let share = Span::millis((rate.window.as_millis() / u64::from(rate.count)).max(1));
        let used = self.used_up_to.get(&key).copied().unwrap_or(now).max(now);
        let next = used + share;
        let ahead = next.since(now);
        if ahead > rate.window {
            return Err(Span::millis(ahead.as_millis().saturating_sub(rate.window.as_millis())));
        }
        self.make_room(now);
        self.used_up_to.insert(key, next);
        Ok(())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.used_up_to.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used_up_to.is_empty()
    }

    /// Full: whoever has its whole share again goes, then the half that used least. It forgives, it never refuses.
    fn make_room(&mut self, now: Timestamp) {
        if self.used_up_to.len() < self.most {
            return;
        }
        self.used_up_to.retain(|_, used| *used > now);
        if self.used_up_to.len() >= self.most {
            forget_older_half(&mut self.used_up_to, |used| *used);
        }
    }
}
