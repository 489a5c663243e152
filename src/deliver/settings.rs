//! `[deliver]` and the next hops and keys of an agency.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::mail::{KeyPin, Span};

/// `[deliver]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deliver {
    /// How long the sender waits for the agency's server, connect and TLS included.
    pub cut_through_wait: Span,
    pub retry_first: Span,
    pub retry_max: Span,
    pub give_up: Span,
    /// Outgoing mail: "" = by MX, else "host:port".
    pub smart_host: String,
    /// Port of the Internet's servers, for tests; 25 (RFC 5321 §4.5.4.2).
    pub mx_port: u16,
    /// Connections to one host at the same time.
    pub concurrency: usize,
    /// Mail without a sender leaves to those who wrote to an agency within this time, at least, and were vouched for;
    /// 0: to anybody.
    pub correspondents: Span,
    pub internet: Internet,
}

impl Default for Deliver {
    fn default() -> Self {
        Self {
            cut_through_wait: Span::seconds(10),
            retry_first: Span::minutes(1),
            retry_max: Span::minutes(30),
            give_up: Span::days(5),
            smart_host: String::new(),
            mx_port: 25,
            concurrency: 20,
            // The longest that an old server keeps trying, and a holiday.
            correspondents: Span::days(30),
            internet: Internet::default(),
        }
    }
}

impl Deliver {
    /// The limits of a host: an exchanger of that name, or an agency's own server.
    #[must_use]
    pub fn limits(&self, exchanger: Option<&str>) -> Limits {
        match exchanger {
            Some(name) => self.internet.limits(name),
            None => Limits { concurrency: self.concurrency.max(1), rate: 0, messages: 10_000, idle: Span::seconds(30) },
        }
    }
}

/// `[deliver.internet]`: mail to servers found by MX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Internet {
    /// Whether DNS answers for outgoing mail are validated, and DANE follows from them.
    pub dnssec: Dnssec,
    /// DNSKEY records to trust instead of the root's, as in a zone file; "": the root's. Read at the start.
    pub trust_anchors: PathBuf,
    /// Whether MTA-STS policies are fetched and kept.
    pub mta_sts: bool,
    /// More certificates to trust than the system's, for MTA-STS; a PEM file, read at the start.
    pub roots: PathBuf,
    /// Port of MTA-STS policies, for tests; 443 (RFC 8461 §3.3).
    pub https_port: u16,
    /// Connections to one exchanger, and messages under way to one domain, at the same time.
    pub concurrency: usize,
    /// Messages a minute to one domain; 0: no limit.
    pub rate: u32,
    /// After this many messages a connection is closed.
    pub messages: u32,
    /// How long a connection may rest between two messages.
    pub idle: Span,
    /// What differs for some domains.
    pub destination: Vec<ByDomain>,
}

impl Default for Internet {
    fn default() -> Self {
        Self {
            dnssec: Dnssec::Auto,
            trust_anchors: PathBuf::new(),
            mta_sts: true,
            roots: PathBuf::new(),
            https_port: 443,
            // Large providers answer more than a handful of connections from one small sender with 421.
            concurrency: 5,
            rate: 0,
            messages: 100,
            // Servers of the Internet close theirs after a minute or five.
            idle: Span::seconds(30),
            destination: Vec::new(),
        }
    }
}

/// Whether answers are validated by ourselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dnssec {
    /// Where the name servers pass signatures on.
    #[default]
    Auto,
    Required,
    Off,
}

/// `[[deliver.internet.destination]]`: limits for some domains, and for the servers below them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByDomain {
    /// Recipients' domains, and names below which exchangers stand: `gmail.com`, `google.com`.
    pub domains: Vec<crate::mail::Domain>,
    #[serde(default)]
    pub concurrency: Option<usize>,
    #[serde(default)]
    pub rate: Option<u32>,
    #[serde(default)]
    pub messages: Option<u32>,
}

/// What holds for one domain or one exchanger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub concurrency: usize,
    /// Messages a minute; 0: no limit.
    pub rate: u32,
    pub messages: u32,
    pub idle: Span,
}

impl Internet {
    /// The limits of a recipient's domain or an exchanger's name: those of the longest entry that is it or above it.
    #[must_use]
    pub fn limits(&self, name: &str) -> Limits {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let covers = |domain: &str| {
            name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) as usize * domain.len()
        };
        let best = |entry: &&ByDomain| entry.domains.iter().map(|domain| covers(domain.as_str())).max().unwrap_or(0);
        let entry = self.destination.iter().filter(|entry| best(entry) > 0).max_by_key(best);
        Limits {
            concurrency: entry.and_then(|e| e.concurrency).unwrap_or(self.concurrency).max(1),
            rate: entry.and_then(|e| e.rate).unwrap_or(self.rate),
            messages: entry.and_then(|e| e.messages).unwrap_or(self.messages).max(1),
            idle: self.idle,
        }
    }
}

/// One of `next_hops`; several are tried in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextHop {
    /// `10.1.2.3:25` or `mail.local:25`.
    pub address: String,
    #[serde(default)]
    pub profile: Profile,
    #[serde(default)]
    pub tls: TlsMode,
    /// With `tls = "required"`: the keys that are believed, instead of a certificate that leads to an authority.
    #[serde(default)]
    pub tls_pins: Vec<KeyPin>,
    /// TLS 1.0 and 1.1 with old ciphers on this link; `None`: as the profile says.
    #[serde(default)]
    pub tls_legacy: Option<bool>,
    #[serde(default)]
    pub delivery: Delivery,
    /// Opens the next hop's transaction at RCPT and passes each answer on.
    #[serde(default)]
    pub live_recipients: bool,
}

impl NextHop {
    /// A server of which nothing but its address is known.
    #[must_use]
    pub fn to(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            profile: Profile::default(),
            tls: TlsMode::default(),
            tls_pins: Vec::new(),
            tls_legacy: None,
            delivery: Delivery::default(),
            live_recipients: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Exchange2007,
    Exchange2010,
    Mdaemon,
    Qmail,
    Domino,
    #[default]
    Generic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    None,
    #[default]
    Opportunistic,
    Required,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    #[default]
    CutThrough,
    Queued,
}

/// `[agency.dkim]`: signs outgoing mail of the agency's domains. Several: one signature each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimKey {
    pub domain: crate::mail::Domain,
    pub selector: String,
    /// PEM, PKCS#8: RSA (2048 bits and more) or Ed25519.
    pub key: PathBuf,
}

/// `[agency.smime]`: the agency's certificate for outgoing mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmimeKey {
    /// PEM: the certificate first, then its chain.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_destination_hold_for_its_name_and_below_and_the_longest_wins() {
        let entry = |domain: &str, rate| ByDomain {
            domains: vec![crate::mail::Domain::parse(domain).unwrap()],
            concurrency: None,
            rate: Some(rate),
            messages: None,
        };
        let internet =
            Internet { destination: vec![entry("x.vn", 10), entry("a.x.vn", 20)], rate: 1, ..Internet::default() };
        for (name, rate) in [("x.vn", 10), ("mx.X.vn.", 10), ("a.x.vn", 20), ("b.a.x.vn", 20), ("ax.vn", 1), ("vn", 1)]
        {
            assert_eq!(internet.limits(name).rate, rate, "{name}");
        }
        assert_eq!(internet.limits("x.vn").concurrency, internet.concurrency, "what is not written is as everywhere");
    }
}
