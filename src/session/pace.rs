//! How much a sender on a relay listener sends: a limit an hour, and a sense for "suddenly much" (DOMAIN R17).
//!
//! A stolen account sends spam in the agency's name within minutes. Recipients are counted an account (or a client
//! without one) and a sender domain, in hours that begin on the hour. What an account usually sends in an hour it
//! sends at all is a moving average; an hour far above it is told once. No socket, no clock; bounded.

use super::settings::Outgoing;
use crate::mail::memory::{Fading, Memory};
use crate::mail::{Domain, Span, Timestamp};

/// Senders and domains remembered; past it those silent for longest go, then those who sent least.
const MOST: usize = 16_384;
/// Below so many recipients an hour nothing is sudden.
const QUIET: u64 = 50;
/// An hour older than so many days says nothing about what is usual now.
const FORGET: Span = Span::days(60);

/// What came of one more recipient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    Usual,
    /// Taken; but the account sends far more than it ever does. Said once an hour.
    Sudden,
    /// Over the limit of this hour: not taken.
    OverSender,
    OverDomain,
}

#[derive(Clone, Copy, Debug)]
struct Hour {
    /// Hours since 1970.
    hour: i64,
    count: u64,
    /// Recipients in a usual hour, times 8.
    usual8: u64,
    told: bool,
}

impl Fading for Hour {
    /// Of this hour those go who sent least: whoever comes under many names does not so forget his count.
    type Worth = (i64, u64);

    fn worth(&self, _: Timestamp) -> (i64, u64) {
        (self.hour, self.count)
    }
}

/// Everybody's hour.
#[derive(Debug)]
pub struct Paces {
    senders: Memory<String, Hour>,
    domains: Memory<Domain, Hour>,
}

impl Default for Paces {
    fn default() -> Self {
        Self { senders: Memory::of_size(MOST), domains: Memory::of_size(MOST) }
    }
}

impl Paces {
    /// Counts one recipient of `sender` (an account's name, a certificate or an address) writing as `domain`.
    pub fn count(&mut self, sender: &str, domain: Option<&Domain>, now: Timestamp, limits: &Outgoing) -> Pace {
        let own = turned(&mut self.senders, sender.to_owned(), now);
        if limits.sender_recipients > 0 && own.count >= limits.sender_recipients {
            return Pace::OverSender;
        }
        if let Some(domain) = domain {
            let theirs = turned(&mut self.domains, domain.clone(), now);
            if limits.domain_recipients > 0 && theirs.count >= limits.domain_recipients {
                return Pace::OverDomain;
            }
            theirs.count = theirs.count.saturating_add(1);
        }
        own.count = own.count.saturating_add(1);
        let usual = (own.usual8 / 8).max(QUIET / 10);
        let sudden =
            limits.sudden > 0 && own.count > QUIET && own.count > usual.saturating_mul(u64::from(limits.sudden));
        if sudden && !own.told {
            own.told = true;
            return Pace::Sudden;
        }
        Pace::Usual
    }
}

/// The entry of `who`, moved on to this hour: the hour before goes into what is usual.
fn turned<K: Eq + std::hash::Hash>(memory: &mut Memory<K, Hour>, who: K, now: Timestamp) -> &mut Hour {
    let hour = now.millis().div_euclid(3_600_000);
    let fresh = Hour { hour, count: 0, usual8: 0, told: false };
    let (entry, _) = memory.meet(who, now, || fresh);
    if hour > entry.hour {
        let gone = hour.saturating_sub(entry.hour);
        let forget = i64::try_from(FORGET.as_millis() / 3_600_000).unwrap_or(i64::MAX);
        // avg += (count - avg) / 8; the first hour is its own average. A sudden hour counts as twice a usual one at
        // most: spam must not become usual by being sent.
        let count = if entry.told { entry.count.min(entry.usual8 / 4) } else { entry.count };
        let usual8 = if entry.usual8 == 0 {
            entry.count.saturating_mul(8)
        } else {
            entry.usual8.saturating_sub(entry.usual8 / 8).saturating_add(count)
        };
        *entry = Hour { usual8: if gone > forget { 0 } else { usual8 }, ..fresh };
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000 / 3600 * 3600);

    fn domain() -> Domain {
        Domain::parse("agency.test").unwrap()
    }
    fn send(paces: &mut Paces, who: &str, count: u64, hour: u64, limits: &Outgoing) -> Vec<Pace> {
        (0..count).map(|_| paces.count(who, Some(&domain()), START + Span::hours(hour), limits)).collect()
    }

    #[test]
    fn domain_r17_an_account_has_so_many_recipients_an_hour() {
        let limits = Outgoing { sender_recipients: 3, domain_recipients: 5, sudden: 0 };
        let mut paces = Paces::default();
        let first = send(&mut paces, "a", 4, 0, &limits);
        assert_eq!(first, [Pace::Usual, Pace::Usual, Pace::Usual, Pace::OverSender]);
        assert_eq!(send(&mut paces, "b", 3, 0, &limits), [Pace::Usual, Pace::Usual, Pace::OverDomain]);
        assert_eq!(send(&mut paces, "a", 1, 1, &limits), [Pace::Usual], "the next hour");
        let free = Outgoing { sender_recipients: 0, domain_recipients: 0, sudden: 0 };
        assert!(send(&mut paces, "c", 1000, 1, &free).iter().all(|p| *p == Pace::Usual));
    }

    #[test]
    fn domain_r17_an_account_that_suddenly_sends_much_is_told_once_an_hour() {
        let limits = Outgoing { sender_recipients: 0, domain_recipients: 0, sudden: 10 };
        let mut paces = Paces::default();
        for hour in 0..48 {
            assert!(!send(&mut paces, "a", 20, hour, &limits).contains(&Pace::Sudden), "usual mail");
        }
        let burst = send(&mut paces, "a", 400, 48, &limits);
        assert_eq!(burst.iter().filter(|p| **p == Pace::Sudden).count(), 1);
        assert_eq!(burst.iter().position(|p| *p == Pace::Sudden), Some(200), "ten times the usual hour");
        assert!(send(&mut paces, "a", 400, 49, &limits).contains(&Pace::Sudden), "and again the next hour");
        let unknown = send(&mut paces, "new", 60, 0, &limits);
        assert_eq!(unknown.iter().position(|p| *p == Pace::Sudden), Some(50), "a new account has no usual hour");
    }

    #[test]
    fn a_busy_newsletter_is_usual_after_a_while() {
        let limits = Outgoing { sender_recipients: 0, domain_recipients: 0, sudden: 10 };
        let mut paces = Paces::default();
        let told: Vec<bool> =
            (0..6).map(|hour| send(&mut paces, "news", 2000, hour, &limits).contains(&Pace::Sudden)).collect();
        assert_eq!(told, [true, false, false, false, false, false]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limits = Outgoing::default();
        let mut paces = Paces::default();
        for n in 0..50_000_u64 {
            paces.count(&format!("s{n}"), None, START + Span::millis(n), &limits);
        }
        assert!(paces.senders.len() <= MOST);
        // In one hour, under ever new names: who sends much is not forgotten, nor is the limit.
        let limits = Outgoing { sender_recipients: 3, domain_recipients: 0, sudden: 0 };
        assert!(send(&mut paces, "much", 3, 1, &limits).iter().all(|p| *p == Pace::Usual));
        for n in 0..50_000_u64 {
            paces.count(&format!("t{n}"), None, START + Span::hours(1), &limits);
        }
        assert_eq!(send(&mut paces, "much", 1, 1, &limits), [Pace::OverSender]);
    }
}
