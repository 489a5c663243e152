//! A range of IP addresses in CIDR form (RFC 4632, RFC 4291 §2.3), as configuration writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::units::text_serde;

/// `10.1.0.0/16`, `fd00::/8`, or a single address. Host bits are zero: `10.1.2.3/16` is refused as a likely slip.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Private, loopback and link-local ranges (RFC 1918, 3927, 4193, 4291). Not the shared space of RFC 6598: many
/// customers of a provider stand behind it.
const PRIVATE: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

impl Network {
    /// `None` when the prefix is too long or host bits are set.
    #[must_use]
    pub fn new(base: IpAddr, prefix: u8) -> Option<Self> {
        let width = if base.is_ipv4() { 32 } else { 128 };
        let network = Self { base, prefix };
        (prefix <= width && network.masked(base) == bits(base)).then_some(network)
    }

    #[must_use]
    pub const fn base(&self) -> IpAddr {
        self.base
    }
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` is in the range; an IPv4-mapped IPv6 address counts as the IPv4 address it carries.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && self.masked(address) == bits(self.base)
    }

    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Whether every address of the range is private, loopback or link-local.
    #[must_use]
    pub fn is_private(&self) -> bool {
        PRIVATE
            .iter()
            .any(|(base, prefix)| self.prefix >= *prefix && Self { base: *base, prefix: *prefix }.contains(self.base))
    }

    /// Whether the range holds public addresses of more than one site's worth: wider than /28, or /64 with IPv6
    /// (THREATS I-07: whoever may relay must be one known party).
    #[must_use]
    pub fn is_wide_public(&self) -> bool {
        let floor = if self.base.is_ipv4() { 28 } else { 64 };
        !self.is_private() && self.prefix < floor
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let host_bits = u32::from(width - self.prefix.min(width));
        bits(address).checked_shr(host_bits).and_then(|b| b.checked_shl(host_bits)).unwrap_or(0)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A text that is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("\"{0}\" is not a network: write it like \"10.1.0.0/16\", \"192.0.2.7\" or \"fd00::/8\"")]
    Syntax(String),
    #[error("\"{0}\" has bits set behind its prefix: did you mean \"{1}\"?")]
    HostBits(String, String),
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let syntax = || NetworkError::Syntax(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| syntax())?;
        // An IPv4-mapped address is the IPv4 address it carries; with a prefix it is written as IPv4.
        let base = if prefix.is_none() { base.to_canonical() } else { base };
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(p) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) => p.parse().map_err(|_| syntax())?,
            Some(_) => return Err(syntax()),
        };
        if prefix > width {
            return Err(syntax());
        }
        Self::new(base, prefix).ok_or_else(|| {
            let masked = Self { base, prefix }.masked(base);
            let meant = match base {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(masked).unwrap_or(0))),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(masked)),
            };
            NetworkError::HostBits(text.to_owned(), format!("{meant}/{prefix}"))
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.base.is_ipv4() { 32 } else { 128 };
        if self.prefix == width { write!(f, "{}", self.base) } else { write!(f, "{}/{}", self.base, self.prefix) }
    }
}
text_serde!(Network);

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let cases = [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fd12::1", true),
            ("10.1.0.0/16", "::ffff:10.1.2.3", true),
        ];
        for (network, address, expected) in cases {
            assert_eq!(net(network).contains(address.parse().unwrap()), expected, "{network} {address}");
        }
    }

    #[test]
    fn only_networks_are_networks() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "x", "10.0.0.0/8/8", "::/129"] {
            assert!(matches!(text.parse::<Network>(), Err(NetworkError::Syntax(_))), "{text}");
        }
        assert_eq!(
            "10.1.2.3/16".parse::<Network>().unwrap_err().to_string(),
            "\"10.1.2.3/16\" has bits set behind its prefix: did you mean \"10.1.0.0/16\"?"
        );
    }

    #[test]
    fn wide_public_ranges_are_told_from_private_ones() {
        for text in
            ["10.0.0.0/8", "192.168.1.0/24", "127.0.0.0/8", "fd00::/8", "203.0.113.0/28", "2001:db8::/64", "::1"]
        {
            assert!(!net(text).is_wide_public(), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "203.0.113.0/27", "172.0.0.0/8", "8.0.0.0/6", "2001:db8::/48", "fc00::/6"] {
            assert!(net(text).is_wide_public(), "{text}");
        }
    }

    #[test]
    fn overlap_is_symmetric() {
        for (a, b, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/16", "10.1.0.0/16", false),
            ("10.0.0.0/8", "fd00::/8", false),
        ] {
            assert_eq!((net(a).overlaps(&net(b)), net(b).overlaps(&net(a))), (expected, expected));
        }
        assert_eq!(
            (net("192.0.2.7").to_string(), net("10.1.0.0/16").to_string()),
            ("192.0.2.7".into(), "10.1.0.0/16".into())
        );
    }
}
