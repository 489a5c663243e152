//! The one resolver: cache, deadline for each look-up, budget for each message, and what a failure means.
//!
//! Every question of every check goes through [`Dns`]. An answer is kept by its TTL (between a floor and a ceiling),
//! "there is nothing" is kept too (RFC 2308), identical questions under way are asked once, and when the servers are
//! out of reach an answer that has run out is given for a bounded time rather than none (RFC 8767).
//! A message gets its own handle from [`Dns::for_message`], which counts what it sends out (THREATS A-06).
//! "Nothing there" and "could not find out" are different answers: see [`DnsError::is_void`].

mod answer;
mod budget;
mod cache;
mod health;
mod resolver;
pub mod validator;
mod wildcard;
pub mod zone;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::mail::Span;

use answer::{Answer, Kind, Question, Records};
use budget::Budget;
use cache::Cache;
use health::Health;
use resolver::Resolver;

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

/// What the resolver is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Empty: the system's (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// For one look-up, retries and the second way (TCP) included.
    pub timeout: Span,
    /// The cache's size in memory, octets; the least used answers leave first.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        // 32 MiB hold some 100,000 answers; a site of a thousand mailboxes meets a few thousand names a day.
        Self { servers: Vec::new(), timeout: Span::seconds(2), cache_bytes: 32 << 20 }
    }
}

/// The resolver cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the DNS resolver cannot be set up: {0}")]
pub struct SetupError(String);

/// Handle on the resolver; cheap to clone. Clones share the cache; a handle of [`Dns::for_message`] has a budget too.
#[derive(Clone, Debug)]
pub struct Dns {
    shared: Arc<Shared>,
    budget: Option<Arc<Budget>>,
}

#[derive(Debug)]
struct Shared {
    cache: Cache,
    resolver: Resolver,
    health: Health,
    timeout: Span,
}

impl Dns {
    /// Must be called inside a tokio runtime's context only when it is first asked something; building does no I/O
    /// but reading the system's configuration when `options.servers` is empty.
    pub fn new(options: &Options) -> Result<Self, SetupError> {
        let shared = Shared {
            cache: Cache::new(options.cache_bytes),
            resolver: Resolver::new(&options.servers, options.timeout)?,
            health: Health::default(),
            timeout: options.timeout,
        };
        Ok(Self { shared: Arc::new(shared), budget: None })
    }

    /// A handle for the look-ups of one message: at most `queries` questions leave the house, and none is waited for
    /// longer than `time` from now in total. What is in the cache costs nothing.
    #[must_use]
    pub fn for_message(&self, queries: u32, time: Span) -> Self {
        Self { shared: Arc::clone(&self.shared), budget: Some(Arc::new(Budget::new(queries, time))) }
    }

    /// Questions this handle's message has sent out so far; 0 without a budget.
    #[must_use]
    pub fn spent(&self) -> u32 {
        self.budget.as_ref().map_or(0, |budget| budget.spent())
    }

    /// Whether most recent look-ups found no server that answers: checks become `unknown`, operators are told.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.shared.health.is_degraded()
    }

    /// Drops every cached answer.
    pub fn forget(&self) {
        self.shared.cache.clear();
    }

    /// TXT records, the strings of each joined (RFC 7208 §3.3); octets that are not UTF-8 become U+FFFD.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        self.ask(Kind::Txt, name).await.map(|records| match records {
            Records::Texts(texts) => texts.to_vec(),
            _ => Vec::new(),
        })
    }

    /// Sorted by preference.
    pub async fn mx(&self, name: &str) -> Result<Vec<Mx>, DnsError> {
        self.ask(Kind::Mx, name).await.map(|records| match records {
            Records::Exchanges(exchanges) => exchanges.to_vec(),
            _ => Vec::new(),
        })
    }

    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        self.ask(Kind::A, name).await.map(|records| match records {
            Records::V4(addresses) => addresses.to_vec(),
            _ => Vec::new(),
        })
    }

    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, DnsError> {
        self.ask(Kind::Aaaa, name).await.map(|records| match records {
            Records::V6(addresses) => addresses.to_vec(),
            _ => Vec::new(),
        })
    }

    /// A and AAAA together, A first. An error only when neither gave an address; then a failure outweighs a void.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let (v4, v6) = tokio::join!(self.ipv4(name), self.ipv6(name));
        let found: Vec<IpAddr> =
            v4.iter().flatten().map(|a| IpAddr::V4(*a)).chain(v6.iter().flatten().map(|a| IpAddr::V6(*a))).collect();
        match (v4, v6) {
            _ if !found.is_empty() => Ok(found),
            (Err(error), _) if !error.is_void() => Err(error),
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(_), Ok(_)) => Err(DnsError::NoRecords(name.to_owned())),
        }
    }

    /// PTR names, without trailing dot, lower case.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        self.ask(Kind::Ptr, &answer::reverse_name(address)).await.map(|records| match records {
            Records::Names(names) => names.to_vec(),
            _ => Vec::new(),
        })
    }

    /// Whether the name exists at all, with whatever records (RFC 8020; for `np` of RFC 9989).
    pub async fn exists(&self, name: &str) -> Result<bool, DnsError> {
        match self.ask(Kind::A, name).await {
            Ok(_) | Err(DnsError::NoRecords(_)) => Ok(true),
            Err(DnsError::NoSuchName(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// TLSA record data as octets: usage, selector, matching type, then the association (RFC 6698 §2.1).
    /// Without DNSSEC validation they prove nothing: a caller that pins by them asks a validating server.
    pub async fn tlsa(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        self.ask(Kind::Tlsa, name).await.map(|records| match records {
            Records::Octets(data) => data.to_vec(),
            _ => Vec::new(),
        })
    }

    async fn ask(&self, kind: Kind, name: &str) -> Result<Records, DnsError> {
        // A name that cannot be put into a query does not exist (RFC 7208 §4.3 treats it so).
        let question = Question::new(kind, name).ok_or_else(|| DnsError::NoSuchName(name.to_owned()))?;
        if let Some(answer) = self.shared.cache.fresh(&question).await {
            return answer.into_result(name);
        }
        let Some(budget) = &self.budget else {
            return self.fetch(question).await.into_result(name);
        };
        budget.charge()?;
        match tokio::time::timeout_at(budget.deadline(), self.fetch(question)).await {
            Ok(answer) => answer.into_result(name),
            Err(_) => Err(DnsError::Failed(name.to_owned(), "no time left for this message".to_owned())),
        }
    }

    async fn fetch(&self, question: Question) -> Answer {
        let shared = &self.shared;
        shared
            .cache
            .get_or(question, async |question| {
                let fetched = tokio::time::timeout(shared.timeout.as_std(), shared.resolver.look_up(question)).await;
                let fetched = fetched.unwrap_or_else(|_| resolver::Fetched::silence());
                shared.health.note(fetched.reached);
                fetched
            })
            .await
    }
}

#[cfg(test)]
mod tests;
