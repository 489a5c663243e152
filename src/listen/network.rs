//! Networks as written in configuration (`10.1.0.0/16`, `2001:db8::1`), parsed once.
//! IPv4 addresses that arrive as `::ffff:a.b.c.d` count as the IPv4 addresses they are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One network: an address and the length of its prefix; host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is not a network: write it like \"10.1.0.0/16\", \"203.0.113.7\" or \"2001:db8::/48\"")]
pub struct BadNetwork(String);

impl Network {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => (u32::from(base) ^ u32::from(ip)) & mask4(self.prefix) == 0,
            (IpAddr::V6(base), IpAddr::V6(ip)) => (u128::from(base) ^ u128::from(ip)) & mask6(self.prefix) == 0,
            _ => false,
        }
    }

    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether every address of it is of private use: RFC 1918, loopback, link-local, RFC 4193.
    /// Shared address space (RFC 6598) is not: it has many customers behind it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        const PRIVATE: [(IpAddr, u8); 8] = [
            (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
            (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
            (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
            (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
            (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
            (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
            (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
            (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
        ];
        PRIVATE.iter().any(|&(base, prefix)| prefix <= self.prefix && Self { base, prefix }.contains(self.base))
    }

    /// Whether a relay may trust it as one agency's own (THREATS I-07): private, or at most a handful of
    /// public addresses (/28; for IPv6 one site's /64). Wider public ranges belong to providers.
    #[must_use]
    pub fn is_narrow_enough_to_relay(&self) -> bool {
        let floor = if self.base.is_ipv4() { 28 } else { 64 };
        self.is_private() || self.prefix >= floor
    }
}

impl FromStr for Network {
    type Err = BadNetwork;
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return Err(bad());
        }
        Ok(match address {
            IpAddr::V4(ip) => Self { base: IpAddr::V4((u32::from(ip) & mask4(prefix)).into()), prefix },
            IpAddr::V6(ip) => match (ip.to_ipv4_mapped(), prefix.checked_sub(96)) {
                (Some(v4), Some(short)) => Self { base: IpAddr::V4((u32::from(v4) & mask4(short)).into()), prefix: short },
                _ => Self { base: IpAddr::V6((u128::from(ip) & mask6(prefix)).into()), prefix },
            },
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}
fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

/// A list of networks; empty contains nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// All of them, or every text that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Self, Vec<BadNetwork>> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for text in texts {
            match text.parse() {
                Ok(network) => good.push(network),
                Err(error) => bad.push(error),
            }
        }
        if bad.is_empty() { Ok(Self(good)) } else { Err(bad) }
    }
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn membership_is_by_prefix_and_family() {
        assert!(contains("10.1.0.0/16", "10.1.255.9"));
        assert!(!contains("10.1.0.0/16", "10.2.0.1"));
        assert!(contains("10.1.2.3", "::ffff:10.1.2.3"));
        assert!(contains("::ffff:10.1.0.0/112", "10.1.0.7"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("0.0.0.0/0", "203.0.113.1"));
    }

    #[test]
    fn rubbish_is_refused() {
        for text in ["", "10.1", "10.1.0.0/33", "::/129", "10.0.0.0/x", "host"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn threats_i_07_wide_public_ranges_are_not_one_agency() {
        let ok = |text: &str| text.parse::<Network>().unwrap().is_narrow_enough_to_relay();
        for text in ["10.0.0.0/8", "127.0.0.0/8", "192.168.7.0/24", "203.0.113.7", "203.0.113.16/28", "fd00::/8"] {
            assert!(ok(text), "{text}");
        }
        for text in ["0.0.0.0/0", "203.0.113.0/27", "10.0.0.0/7", "100.64.0.0/10", "::/0", "2001:db8::/48", "172.0.0.0/8"] {
            assert!(!ok(text), "{text}");
        }
    }
}
