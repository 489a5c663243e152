//! Wrong passwords as arithmetic: after so many an account, or an address, is locked for a while.
//!
//! An account that is attacked from elsewhere stays open to the addresses from which it logged in before, so that
//! nobody can lock an agency's server out by guessing. Names that do not exist are counted like others: a lock tells
//! nothing about which names do. No socket, no clock; bounded whatever comes (THREATS I-08, R-12).

use std::hash::Hash;
use std::net::IpAddr;

use crate::listen::admit::key;
use crate::mail::memory::{Fading, Memory, Seen};
use crate::mail::{Span, Timestamp};

/// Accounts, addresses and acquaintances remembered; past it the oldest half goes.
const MOST: usize = 16_384;
/// How long a login from an address keeps it acquainted with the account.
const ACQUAINTED: Span = Span::days(30);

/// Who is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locked {
    Account,
    Address,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u32,
    last: Timestamp,
}

impl Fading for Tally {
    type Worth = Timestamp;

    fn worth(&self, _: Timestamp) -> Timestamp {
        self.last
    }
}

/// The failures that still count.
#[derive(Debug)]
pub struct Lockout {
    accounts: Memory<String, Tally>,
    addresses: Memory<IpAddr, Tally>,
    acquainted: Memory<(String, IpAddr), Seen<()>>,
}

impl Default for Lockout {
    fn default() -> Self {
        Self { accounts: Memory::of_size(MOST), addresses: Memory::of_size(MOST), acquainted: Memory::of_size(MOST) }
    }
}

impl Lockout {
    /// Whether a password may be tried at all. `most` failures lock for `lock` from the last one.
    #[must_use]
    pub fn check(&self, name: &str, address: IpAddr, now: Timestamp, most: u32, lock: Span) -> Option<Locked> {
        let (name, address) = (name.to_lowercase(), key(address));
        let full = |tally: Option<&Tally>| tally.is_some_and(|t| t.count >= most && now.since(t.last) < lock);
        let known = || {
            let seen = self.acquainted.get(&(name.clone(), address));
            seen.is_some_and(|seen| now.since(seen.at) < ACQUAINTED)
        };
        if full(self.addresses.get(&address)) {
            Some(Locked::Address)
        } else if full(self.accounts.get(&name)) && !known() {
            Some(Locked::Account)
        } else {
            None
        }
    }

    /// A wrong password, or a name that does not exist. Tells whether this failure is the one that locks.
    pub fn failed(&mut self, name: &str, address: IpAddr, now: Timestamp, most: u32, lock: Span) -> Option<Locked> {
        let address = key(address);
        let by_account = count(&mut self.accounts, name.to_lowercase(), now, lock);
        let by_address = count(&mut self.addresses, address, now, lock);
        if by_address == most {
            Some(Locked::Address)
        } else if by_account == most {
            Some(Locked::Account)
        } else {
            None
        }
    }

    /// A right password: what was wrong before is forgiven.
    pub fn succeeded(&mut self, name: &str, address: IpAddr, now: Timestamp) {
        let (name, address) = (name.to_lowercase(), key(address));
        self.addresses.remove(&address);
        // The account's own tally stays: the failures may be somebody else's.
        self.acquainted.put((name, address), Seen { what: (), at: now }, now);
    }
}

/// One more; a tally that nobody added to for `lock` begins anew.
fn count<K: Eq + Hash>(tallies: &mut Memory<K, Tally>, who: K, now: Timestamp, lock: Span) -> u32 {
    let (tally, _) = tallies.meet(who, now, || Tally { count: 0, last: now });
    if now.since(tally.last) >= lock {
        tally.count = 0;
    }
    tally.count = tally.count.saturating_add(1);
    tally.last = now;
    tally.count
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: Span = Span::minutes(15);
    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_guesses_is_locked_and_let_in_again_later() {
        let mut lockout = Lockout::default();
        let guesser = ip("198.51.100.7");
        for n in 1..=5 {
            let name = format!("name{n}");
            assert_eq!(lockout.check(&name, guesser, START, 5, LOCK), None);
            assert_eq!(lockout.failed(&name, guesser, START, 5, LOCK), (n == 5).then_some(Locked::Address));
        }
        assert_eq!(lockout.check("other", guesser, START + Span::minutes(14), 5, LOCK), Some(Locked::Address));
        assert_eq!(lockout.check("other", ip("198.51.100.8"), START, 5, LOCK), None);
        let later = START + LOCK;
        assert_eq!(lockout.check("other", guesser, later, 5, LOCK), None);
        assert_eq!(lockout.failed("other", guesser, later, 5, LOCK), None, "the count begins anew");
    }

    #[test]
    fn an_account_guessed_from_everywhere_is_locked_but_not_for_its_own_server() {
        let mut lockout = Lockout::default();
        let own = ip("203.0.113.25");
        lockout.succeeded("unit", own, START);
        for n in 0..5_u8 {
            lockout.failed("UNIT", ip(&format!("198.51.100.{n}")), START, 5, LOCK);
        }
        assert_eq!(lockout.check("unit", ip("192.0.2.1"), START, 5, LOCK), Some(Locked::Account));
        assert_eq!(lockout.check("Unit", own, START, 5, LOCK), None);
        assert_eq!(lockout.check("unit", ip("192.0.2.1"), START + LOCK, 5, LOCK), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lockout = Lockout::default();
        for n in 0..60_000_u32 {
            let at = START + Span::millis(u64::from(n));
            let address = IpAddr::from(std::net::Ipv4Addr::from(n));
            lockout.failed(&format!("n{n}"), address, at, 5, LOCK);
            lockout.succeeded(&format!("s{n}"), IpAddr::from(std::net::Ipv4Addr::from(n + 1_000_000)), at);
        }
        assert!(lockout.accounts.len() <= MOST && lockout.addresses.len() <= MOST && lockout.acquainted.len() <= MOST);
        let last = ip("0.0.234.95");
        assert_eq!(lockout.addresses.get(&last).map(|tally| tally.count), Some(1), "the newest stay");
    }
}
