//! How fast somebody goes: rates as arithmetic over one number a party.
//!
//! The generic cell rate algorithm: for each party the moment up to which its share is used. Nothing runs in the
//! background, a window has no edge to sit on, and the table is bounded: parties that would be let in anyway are forgotten.

use sha2::{Digest, Sha256};

use crate::mail::memory::{Fading, Memory};
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
    /// Recipients of one address that do not exist.
    Unknown,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Connections, Self::Address, Self::Network, Self::Sender, Self::Recipient, Self::Agency, Self::Unknown];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Network => "network",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Agency => "agency",
            Self::Unknown => "unknown",
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
    /// What one uses up.
    fn share(self) -> Span {
        Span::millis((self.window.as_millis() / u64::from(self.count.max(1))).max(1))
    }
}

/// What the names are mixed with before they are hashed.
pub type Secret = [u8; 16];

/// The moment up to which somebody's share is used.
#[derive(Clone, Copy, Debug)]
struct UsedUpTo(Timestamp);

impl Fading for UsedUpTo {
    /// Who used least is let in soonest anyway: the table forgives, it never refuses.
    type Worth = Timestamp;

    fn worth(&self, _: Timestamp) -> Timestamp {
        self.0
    }

    /// Its share is whole again.
    fn is_over(&self, now: Timestamp) -> bool {
        self.0 <= now
    }
}

/// The table. Names are kept as hashes with a secret: nobody outside can make two of them meet, and the file of them is
/// no list of who writes to whom.
#[derive(Debug)]
pub struct Pace {
    secret: Secret,
    used_up_to: Memory<(Kind, u64), UsedUpTo>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::of_size(MOST)
    }
}

impl Pace {
    #[must_use]
    pub fn of_size(most: usize) -> Self {
        Self { secret: Secret::default(), used_up_to: Memory::of_size(most) }
    }

    /// A table whose names are mixed with `secret`.
    #[must_use]
    pub fn keyed(secret: Secret) -> Self {
        Self { secret, ..Self::default() }
    }

    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Whose share is not whole again.
    pub fn saved(&self, now: Timestamp) -> impl Iterator<Item = (Kind, u64, Timestamp)> {
        let owing = self.used_up_to.iter().filter(move |(_, used)| !used.is_over(now));
        owing.map(|((kind, name), used)| (*kind, *name, used.0))
    }

    /// Takes back what was saved under the same secret. Nobody owes more than an hour, whatever the file or the clock says.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = (Kind, u64, Timestamp)>, now: Timestamp) {
        let owing = rows.into_iter().filter(|(_, _, used)| *used > now);
        self.used_up_to
            .restore(owing.map(|(kind, name, used)| ((kind, name), UsedUpTo(used.min(now + Span::hours(1))))));
    }

    fn hashed(&self, party: &str) -> u64 {
        let digest = Sha256::new().chain_update(self.secret).chain_update(party).finalize();
        digest.iter().take(8).fold(0, |name, byte| (name << 8) | u64::from(*byte))
    }

    fn used(&self, key: (Kind, u64), now: Timestamp) -> Timestamp {
        self.used_up_to.get(&key).map_or(now, |used| used.0.max(now))
    }

    /// Whether one more would be too early; nothing is counted.
    #[must_use]
    pub fn is_spent(&self, kind: Kind, party: &str, rate: Rate, now: Timestamp) -> bool {
        let used = self.used((kind, self.hashed(party)), now);
        rate.count > 0 && (used + rate.share()).since(now) > rate.window
    }

    /// Counts one more of `party`, or says how long it is too early.
    pub fn take(&mut self, kind: Kind, party: &str, rate: Rate, now: Timestamp) -> Result<(), Span> {
        if rate.count == 0 {
            return Ok(());
        }
        let key = (kind, self.hashed(party));
        let next = self.used(key, now) + rate.share();
        let ahead = next.since(now);
        if ahead > rate.window {
            return Err(Span::millis(ahead.as_millis().saturating_sub(rate.window.as_millis())));
        }
        self.used_up_to.put(key, UsedUpTo(next), now);
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
}
