//! Limits per address as arithmetic: no socket, no clock of its own.
//! Who may connect: so many in total, so many an address (an IPv6 /64 counts as one), THREATS S-31, R-12.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::mail::memory::forget_older_half;
use crate::mail::{Span, Timestamp};

/// The connections that are open now.
#[derive(Debug, Default)]
pub struct Admission {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    Total,
    Address,
}

impl Admission {
    /// Counts one more connection of any address.
    pub const fn enter(&mut self, limit: usize) -> Result<(), Full> {
        if self.total >= limit {
            return Err(Full::Total);
        }
        self.total = self.total.saturating_add(1);
        Ok(())
    }

    /// Counts it for its address, once that is known (behind a PROXY header it is known later).
    pub fn claim(&mut self, address: IpAddr, limit: usize) -> Result<(), Full> {
        let open = self.by_address.entry(key(address)).or_insert(0);
        if *open >= limit {
            return Err(Full::Address);
        }
        *open = open.saturating_add(1);
        Ok(())
    }

    /// Gives back a connection, and its place among those of `address`.
    pub fn leave(&mut self, address: Option<IpAddr>) {
        self.total = self.total.saturating_sub(1);
        let Some(key) = address.map(key) else { return };
        if let Some(open) = self.by_address.get_mut(&key) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.by_address.remove(&key);
            }
        }
    }

    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }
}

/// Clients that have delivered mail of late; they need not wait for the banner.
#[derive(Debug, Default)]
pub struct Familiar(HashMap<IpAddr, Timestamp>);

/// How long a client stays familiar, and how many are remembered.
const FAMILIAR_FOR: Span = Span::days(30);
const FAMILIAR_MAX: usize = 65_536;

impl Familiar {
    #[must_use]
    pub fn is_known(&self, address: IpAddr, now: Timestamp) -> bool {
        self.0.get(&key(address)).is_some_and(|seen| now.since(*seen) <= FAMILIAR_FOR)
    }

    /// A message of this client was accepted.
    pub fn meet(&mut self, address: IpAddr, now: Timestamp) {
        if self.0.len() >= FAMILIAR_MAX && !self.0.contains_key(&key(address)) {
            // Full: the older half goes. It costs a pause, no mail.
            forget_older_half(&mut self.0, |at| *at);
        }
        self.0.insert(key(address), now);
    }
}

/// What counts as one address: IPv4 as it is, IPv6 by its /64, for a host has a whole one.
#[must_use]
pub fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn permits_come_back() {
        let mut a = Admission::default();
        assert_eq!((a.enter(2), a.enter(2), a.enter(2)), (Ok(()), Ok(()), Err(Full::Total)));
        assert_eq!(a.claim(ip("192.0.2.1"), 1), Ok(()));
        assert_eq!(a.claim(ip("::ffff:192.0.2.1"), 1), Err(Full::Address), "a mapped address is the same host");
        a.leave(Some(ip("192.0.2.1")));
        assert_eq!((a.enter(2), a.claim(ip("192.0.2.1"), 1)), (Ok(()), Ok(())));
        a.leave(Some(ip("192.0.2.1")));
        a.leave(None);
        assert_eq!((a.total(), a.by_address.len()), (0, 0), "nothing is remembered of those who left");
    }

    #[test]
    fn familiar_clients_are_remembered_for_a_month_and_bounded() {
        let (mut f, start) = (Familiar::default(), Timestamp::from_seconds(1_000_000));
        f.meet(ip("192.0.2.1"), start);
        assert!(f.is_known(ip("192.0.2.1"), start + Span::days(30)));
        assert!(!f.is_known(ip("192.0.2.1"), start + Span::days(31)));
        assert!(!f.is_known(ip("192.0.2.2"), start));
        for i in 0..200_000_u32 {
            f.meet(std::net::Ipv4Addr::from(i).into(), start + Span::millis(u64::from(i)));
        }
        assert!(f.0.len() <= FAMILIAR_MAX);
        assert!(f.is_known(std::net::Ipv4Addr::from(199_999).into(), start + Span::hours(1)));
    }

    #[test]
    fn an_ipv6_host_is_its_64() {
        let mut a = Admission::default();
        assert_eq!(a.claim(ip("2001:db8::1"), 1), Ok(()));
        assert_eq!(a.claim(ip("2001:db8::ffff:1"), 1), Err(Full::Address));
        assert_eq!(a.claim(ip("2001:db8:0:1::1"), 1), Ok(()));
    }
}
