//! Who misbehaves is sent away for a while: points that fade, a ban that ends, a table that is bounded.

use std::net::IpAddr;

use super::settings::Ban;
use crate::listen::admit::key;
use crate::mail::memory::{Fading, Memory};
use crate::mail::{Span, Timestamp};
use crate::session::desk::Reason;

/// Addresses remembered at a time.
const MOST: usize = 65_536;
/// What fades between offences that follow each other within a few minutes: three of one point are three points.
const EDGE: f64 = 0.1;
/// Half of the points are forgotten in this time.
const HALF_LIFE: Span = Span::hours(1);
/// A ban is remembered so long after its end, so that the next one is longer.
const MEMORY: Span = Span::days(7);

/// What somebody did. Stable words, also a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Offence {
    /// Asked for mailboxes that do not exist.
    Harvesting,
    /// Guessed passwords.
    BruteForce,
    /// Broke the protocol on purpose.
    Abuse,
    /// Tried to send through us to others.
    Relaying,
    /// Wrote to an address that nobody has: banned at once.
    Trap,
}

impl Offence {
    pub const ALL: [Self; 5] = [Self::Harvesting, Self::BruteForce, Self::Abuse, Self::Relaying, Self::Trap];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Harvesting => "harvesting",
            Self::BruteForce => "brute_force",
            Self::Abuse => "abuse",
            Self::Relaying => "relaying",
            Self::Trap => "trap",
        }
    }

    /// What a refusal shows of the one who was refused: its reason, and the enhanced code of the reply.
    #[must_use]
    pub fn shown_by(reason: Reason, enhanced: &str) -> Option<Self> {
        match reason {
            Reason::Recipient if enhanced == "5.1.1" => Some(Self::Harvesting),
            Reason::Recipient if enhanced == "5.7.1" => Some(Self::Relaying),
            // RFC 4954 §6: credentials that are not valid.
            _ if enhanced == "5.7.8" => Some(Self::BruteForce),
            Reason::Pregreet
            | Reason::LineEnds
            | Reason::Pipelining
            | Reason::StartTls
            | Reason::Errors
            | Reason::Junk => Some(Self::Abuse),
            _ => None,
        }
    }

    fn points(self, s: &Ban) -> f64 {
        match self {
            Self::Harvesting => s.unknown_recipient,
            Self::BruteForce => s.failed_login,
            Self::Abuse => s.abuse,
            Self::Relaying => s.relaying,
            Self::Trap => s.after,
        }
    }
}

/// What is known of one address.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conduct {
    pub points: f64,
    pub at: Timestamp,
    pub banned_until: Option<Timestamp>,
    /// How often it was banned.
    pub times: u32,
}

impl Conduct {
    fn is_banned(&self, now: Timestamp) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }

    /// Banned, or so lately that the next ban would be longer.
    fn is_recorded(&self, now: Timestamp) -> bool {
        self.banned_until.is_some_and(|until| now < until + MEMORY)
    }
}

impl Fading for Conduct {
    /// Who is banned stays; of the others those go that were seen longest ago.
    type Worth = (bool, Timestamp);

    fn worth(&self, now: Timestamp) -> (bool, Timestamp) {
        (self.is_banned(now), self.at)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        match self.banned_until {
            Some(_) => !self.is_recorded(now),
            None => faded(self.points, now.since(self.at)) < EDGE,
        }
    }
}

/// What is known of everybody's conduct. An IPv6 host is its /64.
#[derive(Debug)]
pub struct Bans {
    known: Memory<IpAddr, Conduct>,
}

impl Default for Bans {
    fn default() -> Self {
        Self::of_size(MOST)
    }
}

impl Bans {
    #[must_use]
    pub fn of_size(most: usize) -> Self {
        Self { known: Memory::of_size(most) }
    }

    /// Until when this address is banned, if it is.
    #[must_use]
    pub fn until(&self, address: IpAddr, now: Timestamp) -> Option<Timestamp> {
        self.known.get(&key(address)).and_then(|conduct| conduct.banned_until).filter(|until| now < *until)
    }

    /// Whether somebody is half-way to a ban, or had one of late.
    #[must_use]
    pub fn is_notorious(&self, s: &Ban, address: IpAddr, now: Timestamp) -> bool {
        s.after > 0.0
            && self.known.get(&key(address)).is_some_and(|conduct| {
                let points = faded(conduct.points, now.since(conduct.at));
                points * 2.0 >= s.after || conduct.is_recorded(now)
            })
    }

    /// Writes an offence down; the end of the ban when it was the one too many.
    pub fn offend(&mut self, s: &Ban, address: IpAddr, offence: Offence, now: Timestamp) -> Option<Timestamp> {
        if s.after <= 0.0 {
            return None;
        }
        let fresh = Conduct { points: 0.0, at: now, banned_until: None, times: 0 };
        let (conduct, _) = self.known.meet(key(address), now, || fresh);
        if conduct.is_banned(now) {
            return None;
        }
        conduct.points = faded(conduct.points, now.since(conduct.at)) + offence.points(s);
        conduct.at = now;
        if conduct.points + EDGE < s.after {
            return None;
        }
        let until = now + s.time.doubled(conduct.times).min(s.longest);
        *conduct = Conduct { points: 0.0, at: now, banned_until: Some(until), times: conduct.times.saturating_add(1) };
        Some(until)
    }

    /// Who is worth remembering over a restart: the banned, and those whose next ban will be longer.
    pub fn saved(&self, now: Timestamp) -> impl Iterator<Item = (IpAddr, Conduct)> {
        let known = self.known.iter().map(|(ip, conduct)| (*ip, *conduct));
        known.filter(move |(_, conduct)| conduct.is_recorded(now))
    }

    /// Takes back what was saved. No ban is longer than the longest, whatever the file or the clock says.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = (IpAddr, Conduct)>, s: &Ban, now: Timestamp) {
        let bounded = rows.into_iter().map(|(ip, mut conduct)| {
            conduct.banned_until = conduct.banned_until.map(|until| until.min(now + s.longest));
            conduct.at = conduct.at.min(now);
            conduct.points = if conduct.points.is_finite() { conduct.points.clamp(0.0, s.after) } else { 0.0 };
            (key(ip), conduct)
        });
        self.known.restore(bounded.filter(|(_, conduct)| conduct.is_recorded(now)));
    }

    /// Addresses that are banned now.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> usize {
        self.known.iter().filter(|(_, conduct)| conduct.is_banned(now)).count()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

fn faded(points: f64, since: Span) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a ratio of times; the last bit does not matter")]
    let half_lives = since.as_millis() as f64 / HALF_LIFE.as_millis() as f64;
    points * (-half_lives).exp2()
}
