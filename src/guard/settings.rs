//! `[guard]` and `[events]`: defence before DATA, and the log that an intrusion monitor reads.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mail::{ByteSize, Domain, Mailbox, Network, Span, Timestamp};

/// `[guard]`. What can refuse mail is off until the operator names lists or numbers: behind a firewall that hides
/// addresses all clients look like one, and its ban would be everybody's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Never listed, slowed or banned: own machines, monitoring, a proxy that hides addresses.
    pub trusted: Vec<Network>,
    /// For all look-ups about one client together.
    pub dns_deadline: Span,
    /// Points of a client whose address has no name that leads back to it (iprev).
    pub no_reverse: f64,
    /// Points of a HELO name that no mail server of the Internet would give.
    pub bad_helo: f64,
    /// From so many points on every recipient but postmaster@ and abuse@ is refused.
    pub refuse: f64,
    /// From so many points on a client is suspicious: greylisted and slowed.
    pub suspect: f64,
    /// How long a suspicious client is asked to wait; 0: not at all.
    pub greylist: Span,
    /// How long one that came back is remembered.
    pub greylist_keep: Span,
    /// How long a suspicious client waits for each answer; 0: not at all.
    pub tarpit: Span,
    /// Addresses that nobody has: whoever writes to them is banned.
    pub traps: Vec<String>,
    pub rates: Rates,
    pub ban: Ban,
    pub list: Vec<List>,
    pub entry: Vec<Entry>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            trusted: ["127.0.0.0/8", "::1/128"].iter().filter_map(|n| n.parse().ok()).collect(),
            // A list that does not answer in that time is passed over; sessions stay bounded.
            dns_deadline: Span::seconds(3),
            no_reverse: 2.0,
            bad_helo: 1.0,
            refuse: 10.0,
            // More than a missing name and a bad HELO together: old servers of honest offices have both.
            suspect: 4.0,
            greylist: Span::minutes(5),
            greylist_keep: Span::days(35),
            tarpit: Span::ZERO,
            traps: Vec::new(),
            rates: Rates::default(),
            ban: Ban::default(),
            list: Vec::new(),
            entry: Vec::new(),
        }
    }
}

/// `[guard.rates]`: how much is taken; 0: as much as comes. Counted over an hour, and evenly: who used it up may send
/// the next when its share of the hour has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Connections a minute of one address (an IPv6 /64).
    pub connections: u32,
    /// Messages an hour of one address.
    pub address: u32,
    /// Messages an hour of one network (an IPv4 /24, an IPv6 /48).
    pub network: u32,
    /// Messages an hour of one sender address.
    pub sender: u32,
    /// Messages an hour to one recipient.
    pub recipient: u32,
    /// Recipients an hour of one agency.
    pub agency: u32,
    /// Recipients an hour that do not exist, of one address (harvesting); past it nobody is looked up for it.
    pub unknown: u32,
}

/// `[guard.ban]`: who misbehaves is sent away for a while.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ban {
    /// Points at which an address is banned; 0: never. Half of the points are forgotten each hour.
    pub after: f64,
    /// The first ban; each further one is twice as long.
    pub time: Span,
    pub longest: Span,
    /// A recipient that does not exist (harvesting).
    pub unknown_recipient: f64,
    /// A failed login.
    pub failed_login: f64,
    /// Talking before the greeting, bare line ends, another protocol, pipelining that is none, endless errors.
    pub abuse: f64,
    /// An attempt to relay.
    pub relaying: f64,
}

impl Default for Ban {
    fn default() -> Self {
        Self {
            after: 0.0,
            time: Span::hours(1),
            longest: Span::hours(24),
            unknown_recipient: 1.0,
            failed_login: 5.0,
            abuse: 5.0,
            relaying: 2.0,
        }
    }
}

/// `[[guard.list]]`: a list in DNS (RFC 5782).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub zone: Domain,
    /// Added when the client is listed; negative for a list of good ones.
    pub points: f64,
    #[serde(default)]
    pub asks: Asks,
    /// Answers that count; empty: all in 127.0.0.0/8 but 127.255.255.0/24, where lists say that they do not answer.
    #[serde(default)]
    pub answers: Vec<Network>,
}

/// What is looked up in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asks {
    /// The client's address.
    #[default]
    Address,
    /// The sender's domain.
    Domain,
}

/// `[[guard.entry]]`: the operator's own word about somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// A network, a sender's domain (and everything under it), or a sender's address.
    pub who: Who,
    pub action: Action,
    /// Who answers for the entry.
    pub owner: String,
    pub reason: String,
    /// The last day on which it holds; left out: for good.
    #[serde(default)]
    pub until: Option<Day>,
    /// For a sender that is allowed: only when SPF says that it is really it.
    #[serde(default)]
    pub authenticated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Allow,
    Deny,
}

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Who {
    Network(Network),
    Domain(Domain),
    Address(Mailbox),
}

impl TryFrom<String> for Who {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('@') {
            return Mailbox::parse(&text).map(Self::Address).map_err(|error| error.to_string());
        }
        let like_network = text.contains('/') || text.contains(':') || IpAddr::from_str(&text).is_ok();
        if like_network {
            return text
                .parse()
                .map(Self::Network)
                .map_err(|error: crate::mail::network::NetworkError| error.to_string());
        }
        Domain::parse(&text).map(Self::Domain).map_err(|error| error.to_string())
    }
}

impl From<Who> for String {
    fn from(who: Who) -> Self {
        who.to_string()
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
            Self::Address(mailbox) => mailbox.fmt(f),
        }
    }
}

/// A calendar day, `2026-12-31`; it ends at midnight UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(jiff::civil::Date);

impl Day {
    /// The first moment that is no longer of this day.
    #[must_use]
    pub fn end(self) -> Timestamp {
        let next = self.0.tomorrow().unwrap_or(self.0);
        let start = next.to_zoned(jiff::tz::TimeZone::UTC).map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond());
        Timestamp::from_millis(start)
    }
}

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("\"{text}\" is no day: write it like \"2026-12-31\""))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.0.to_string()
    }
}

/// `[events]`: each refusal and each ban as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// A file a day in `data_dir`/events is kept so long; 0: none is written.
    pub keep: Span,
    /// No day's file grows larger: an attack must not fill the disk where mail is kept.
    pub day_size: ByteSize,
    /// Also to a collector: `udp:192.0.2.1:514`, `tcp:192.0.2.1:514` (octet counting) or `unix:/dev/log`; empty: none.
    pub syslog: String,
    pub syslog_format: SyslogFormat,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            keep: Span::days(90),
            day_size: ByteSize::mib(256),
            syslog: String::new(),
            syslog_format: SyslogFormat::Cef,
        }
    }
}

/// What a syslog message (RFC 5424) carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    #[default]
    Cef,
    Json,
}
