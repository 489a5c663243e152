//! The one resolver: cache, deadline for each look-up, negative answers, and what a failure means.

use std::net::IpAddr;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN: the name does not exist.
    #[error("{0} does not exist")]
    NoSuchName(String),
    /// NODATA: the name exists, the type does not.
    #[error("{0} has no record of that type")]
    NoRecords(String),
    /// Timeout, SERVFAIL, refused, no server: we do not know.
    #[error("{0} could not be looked up: {1}")]
    Failed(String, String),
    /// The per-message budget of queries is spent (THREATS A-06).
    #[error("too many DNS queries for this message")]
    Budget,
}

impl DnsError {
    /// Whether the answer is known to be "nothing" (as opposed to not known).
    #[must_use]
    pub const fn is_void(&self) -> bool {
        matches!(self, Self::NoSuchName(_) | Self::NoRecords(_))
    }
}

/// A mail exchanger, lower preference first (RFC 5321 §5.1). An empty `host` is the null MX (RFC 7505).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mx {
    pub preference: u16,
    pub host: String,
}

/// Handle on the resolver; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dns;

impl Dns {
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Err(DnsError::Failed(name.to_owned(), "not built".to_owned()))
    }
    /// Sorted by preference.
    pub async fn mx(&self, name: &str) -> Result<Vec<Mx>, DnsError> {
        Err(DnsError::Failed(name.to_owned(), "not built".to_owned()))
    }
    /// A and AAAA together.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        Err(DnsError::Failed(name.to_owned(), "not built".to_owned()))
    }
    /// PTR names, without trailing dot, lower case.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        Err(DnsError::Failed(address.to_string(), "not built".to_owned()))
    }
}
