//! A question and its answer as the cache keeps them: plain data, cheap to clone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{DnsError, Mx};

/// The record types this house asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    A,
    Aaaa,
    Mx,
    Ptr,
    Tlsa,
    Txt,
}

/// A name in lower case without trailing dot, and a type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    pub kind: Kind,
    pub name: Box<str>,
}

impl Question {
    /// `None` when the name cannot be written into a query: an empty label, one over 63 octets, over 253 in all
    /// (RFC 1035 §2.3.4).
    pub fn new(kind: Kind, name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let good = name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()));
        good.then(|| Self { kind, name: name.to_ascii_lowercase().into() })
    }
}

/// Records of one type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Records {
    V4(Arc<[Ipv4Addr]>),
    V6(Arc<[Ipv6Addr]>),
    Exchanges(Arc<[Mx]>),
    Names(Arc<[String]>),
    Texts(Arc<[String]>),
    Octets(Arc<[Vec<u8>]>),
}

/// What is known of a question. Failures are known, too, for a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Records(Records),
    NoSuchName,
    NoRecords,
    Failed(Arc<str>),
}

impl Answer {
    pub fn into_result(self, name: &str) -> Result<Records, DnsError> {
        match self {
            Self::Records(records) => Ok(records),
            Self::NoSuchName => Err(DnsError::NoSuchName(name.to_owned())),
            Self::NoRecords => Err(DnsError::NoRecords(name.to_owned())),
            Self::Failed(why) => Err(DnsError::Failed(name.to_owned(), why.to_string())),
        }
    }

    /// Roughly what it takes in memory, octets.
    pub fn weight(&self) -> usize {
        match self {
            Self::Records(Records::V4(list)) => list.len() * 4,
            Self::Records(Records::V6(list)) => list.len() * 16,
            Self::Records(Records::Exchanges(list)) => list.iter().map(|mx| mx.host.len() + 40).sum(),
            Self::Records(Records::Names(list) | Records::Texts(list)) => list.iter().map(|text| text.len() + 24).sum(),
            Self::Records(Records::Octets(list)) => list.iter().map(|data| data.len() + 24).sum(),
            Self::NoSuchName | Self::NoRecords => 0,
            Self::Failed(why) => why.len(),
        }
    }
}

/// `1.2.0.192.in-addr.arpa`, or the nibbles under `ip6.arpa` (RFC 1035 §3.5, RFC 3596 §2.5).
pub fn reverse_name(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let mut name = String::with_capacity(72);
            for octet in v6.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    name.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                    name.push('.');
                }
            }
            name.push_str("ip6.arpa");
            name
        }
    }
}
