//! Limits per address as arithmetic: no socket, no clock of its own.
//! Who may connect: so many in total, so many an address (an IPv6 /64 counts as one), so many a network (an IPv4 /24, an
//! IPv6 /48): THREATS S-31, R-12.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mail::memory::{Memory, Seen};
use crate::mail::{Span, Timestamp};

/// The connections that are open now.
#[derive(Debug, Default)]
pub struct Admission {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    by_network: HashMap<IpAddr, usize>,
}

/// How many connections an address, and the network around it, may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    pub address: usize,
    /// 0: as many as come. Never less than one address may have.
    pub network: usize,
}

impl Share {
    /// The lesser of both.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        let network = match (self.network, other.network) {
            (0, network) | (network, 0) => network,
            (a, b) => a.min(b),
        };
        Self { address: self.address.min(other.address), network }
    }
}

/// Why a connection was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    Total,
    Address,
    Network,
}

impl Full {
    /// The limit that was met, as it is called in the configuration: the rule of an event.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Total => "connections",
            Self::Address => "connections_per_address",
            Self::Network => "connections_per_network",
        }
    }
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
    pub fn claim(&mut self, address: IpAddr, share: Share) -> Result<(), Full> {
        let (host, network) = (key(address), network_of(address));
        let open = |map: &HashMap<IpAddr, usize>, key| map.get(key).copied().unwrap_or(0);
        if open(&self.by_address, &host) >= share.address {
            return Err(Full::Address);
        }
        if share.network > 0 && open(&self.by_network, &network) >= share.network.max(share.address) {
            return Err(Full::Network);
        }
        for (map, key) in [(&mut self.by_address, host), (&mut self.by_network, network)] {
            let open = map.entry(key).or_insert(0);
            *open = open.saturating_add(1);
        }
        Ok(())
    }

    /// Gives back a connection, and its place among those of `address`.
    pub fn leave(&mut self, address: Option<IpAddr>) {
        self.total = self.total.saturating_sub(1);
        let Some(address) = address else { return };
        for (map, key) in [(&mut self.by_address, key(address)), (&mut self.by_network, network_of(address))] {
            if let Some(open) = map.get_mut(&key) {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    map.remove(&key);
                }
            }
        }
    }

    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }
}

/// Clients that have delivered mail of late; they need not wait for the banner.
#[derive(Debug)]
pub struct Familiar(Memory<IpAddr, Seen<()>>);

/// How long a client stays familiar, and how many are remembered.
const FAMILIAR_FOR: Span = Span::days(30);
const FAMILIAR_MAX: usize = 65_536;

impl Default for Familiar {
    fn default() -> Self {
        Self(Memory::of_size(FAMILIAR_MAX))
    }
}

impl Familiar {
    #[must_use]
    pub fn is_known(&self, address: IpAddr, now: Timestamp) -> bool {
        self.0.get(&key(address)).is_some_and(|seen| now.since(seen.at) <= FAMILIAR_FOR)
    }

    /// A message of this client was accepted.
    pub fn meet(&mut self, address: IpAddr, now: Timestamp) {
        // Full: who was here longest ago goes. It costs a pause, no mail.
        self.0.put(key(address), Seen { what: (), at: now }, now);
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

/// The network of an address, as limits and greylisting count it: an IPv4 /24, an IPv6 /48 (a site's usual share; a
/// single host has a /64, RFC 6177).
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Share = Share { address: 1, network: 0 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn permits_come_back() {
        let mut a = Admission::default();
        assert_eq!((a.enter(2), a.enter(2), a.enter(2)), (Ok(()), Ok(()), Err(Full::Total)));
        assert_eq!(a.claim(ip("192.0.2.1"), ONE), Ok(()));
        assert_eq!(a.claim(ip("::ffff:192.0.2.1"), ONE), Err(Full::Address), "a mapped address is the same host");
        a.leave(Some(ip("192.0.2.1")));
        assert_eq!((a.enter(2), a.claim(ip("192.0.2.1"), ONE)), (Ok(()), Ok(())));
        a.leave(Some(ip("192.0.2.1")));
        a.leave(None);
        assert_eq!(
            (a.total(), a.by_address.len(), a.by_network.len()),
            (0, 0, 0),
            "nothing is remembered of those who left"
        );
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
        assert_eq!(a.claim(ip("2001:db8::1"), ONE), Ok(()));
        assert_eq!(a.claim(ip("2001:db8::ffff:1"), ONE), Err(Full::Address));
        assert_eq!(a.claim(ip("2001:db8:0:1::1"), ONE), Ok(()));
    }

    #[test]
    fn one_network_cannot_take_all_places_whatever_its_addresses() {
        let (mut a, share) = (Admission::default(), Share { address: 2, network: 3 });
        for last in 1..=3 {
            assert_eq!(a.claim(ip(&format!("192.0.2.{last}")), share), Ok(()));
        }
        assert_eq!(a.claim(ip("192.0.2.4"), share), Err(Full::Network));
        assert_eq!(a.claim(ip("192.0.3.4"), share), Ok(()));
        a.leave(Some(ip("192.0.2.1")));
        assert_eq!(a.claim(ip("192.0.2.4"), share), Ok(()));
        // Many /64 of one site.
        for net in 1..=3 {
            assert_eq!(a.claim(ip(&format!("2001:db8:0:{net}::1")), share), Ok(()));
        }
        assert_eq!(a.claim(ip("2001:db8:0:4::1"), share), Err(Full::Network));
        let wide = Share { address: 5, network: 3 };
        assert_eq!(a.claim(ip("192.0.2.4"), wide), Ok(()), "a network has at least the share of an address");
        assert_eq!(Share { address: 9, network: 0 }.at_most(share), share);
    }
}
