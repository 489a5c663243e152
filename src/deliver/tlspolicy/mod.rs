//! What a domain of the Internet publishes about the TLS of its mail servers, and what follows for a connection: DANE
//! (RFC 7672), MTA-STS (RFC 8461), REQUIRETLS and `TLS-Required: No` (RFC 8689); and what came of it, counted for TLS
//! reports (RFC 8460). Pure: answers and policies come in, [`Protection`] goes out.
//!
//! Invariants: DANE goes before MTA-STS, and a failing DANE check is never overridden by it (RFC 8461 §2); a server for
//! which it cannot be found out whether it has pins is not used (RFC 7672 §2.1.2); nothing here makes a connection
//! weaker than without a policy, but the sender's own `TLS-Required: No`.

pub mod metrics;
pub mod sts;
pub mod tally;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::env::dns::DnsError;
use crate::env::dns::validator::Pins;
use crate::env::tls::dane::Tlsa;
use crate::mail::Parcel;
use crate::mail::header::Headers;

pub use metrics::Metrics;

/// How a connection to a server is protected.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Protection {
    /// TLS where it is offered, of anyone, in clear where it fails (RFC 7435).
    #[default]
    Opportunistic,
    /// As opportunistic, but the certificate is looked at and faults are told (MTA-STS, mode `testing`).
    Observed,
    /// TLS or nothing, of anyone: there are TLSA records, and none can be used (RFC 7672 §2.2).
    Encrypted,
    /// A certificate of a trusted root that names the server (MTA-STS, mode `enforce`; REQUIRETLS).
    Verified,
    /// A certificate that matches the TLSA records.
    Dane(Arc<DanePins>),
}

/// Usable TLSA records of one server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DanePins {
    /// The base domain first; a certificate under a trust anchor carries one of them (RFC 7672 §3.2.2).
    pub names: Vec<String>,
    /// Sorted, so that the same set is the same key.
    pub records: Vec<Tlsa>,
}

impl Protection {
    /// Whether mail waits rather than go in clear.
    #[must_use]
    pub const fn needs_tls(&self) -> bool {
        matches!(self, Self::Encrypted | Self::Verified | Self::Dane(_))
    }

    /// The label of metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opportunistic => "none",
            Self::Observed => "sts-testing",
            Self::Encrypted => "dane-unusable",
            Self::Verified => "verified",
            Self::Dane(_) => "dane",
        }
    }
}

/// What the sender asks of TLS for one message (RFC 8689).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// As the recipient's domain publishes.
    Usual,
    /// The MAIL parameter REQUIRETLS: every hop proven, or the message comes back.
    RequireTls,
    /// The header `TLS-Required: No`: arriving matters more.
    NotNeeded,
}

impl Wish {
    /// RFC 8689 §3, §4.1: the header counts only without the parameter, and only once and with the one value it has.
    #[must_use]
    pub fn of(parcel: &Parcel) -> Self {
        if parcel.meta.params.requiretls {
            return Self::RequireTls;
        }
        let headers = Headers::parse(&parcel.head);
        let mut fields = headers.all("TLS-Required");
        match (fields.next(), fields.next()) {
            (Some(field), None) if field.unfolded().trim().eq_ignore_ascii_case("no") => Self::NotNeeded,
            _ => Self::Usual,
        }
    }
}

/// What is known when a server is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The exchanger's name.
    pub host: &'a str,
    /// The recipient's domain.
    pub domain: &'a str,
    /// DNSSEC proves that the domain named this exchanger.
    pub mx_proven: bool,
    pub sts: Option<&'a sts::Policy>,
    /// `None`: not asked, because the exchangers are not proven or DANE is switched off.
    pub pins: Option<&'a Result<Pins, DnsError>>,
}

/// A server that this message must not go to now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Barred {
    #[error("its TLSA records could not be found out: {0}")]
    DnssecInvalid(String),
    #[error("it is not named in the domain's MTA-STS policy")]
    NotInPolicy,
    /// RFC 8689 §4.2.1.
    #[error("the message requires TLS and nothing proves who this server is")]
    Unproven,
}

/// How a connection for this message is protected, or why there is none.
pub fn choose(wish: Wish, e: Evidence<'_>) -> Result<Protection, Barred> {
    if wish == Wish::NotNeeded {
        return Ok(Protection::Opportunistic);
    }
    let listed = e.sts.is_some_and(|policy| policy.names(e.host));
    let pinned = match e.pins {
        Some(Err(error)) => return Err(Barred::DnssecInvalid(error.to_string())),
        Some(Ok(Pins::Records { base, records })) => Some(dane(e, base, records)),
        Some(Ok(Pins::None)) | None => None,
    };
    let by_policy = match (pinned, e.sts.map(|policy| policy.mode)) {
        (Some(pinned @ Protection::Dane(_)), _) => pinned,
        (_, Some(sts::Mode::Enforce)) if listed => Protection::Verified,
        (_, Some(sts::Mode::Enforce)) => return Err(Barred::NotInPolicy),
        // Records that nobody can use still say that the server has TLS (RFC 7672 §2.2).
        (Some(unusable), _) => unusable,
        (None, Some(sts::Mode::Testing)) => Protection::Observed,
        (None, _) => Protection::Opportunistic,
    };
    if wish == Wish::Usual {
        return Ok(by_policy);
    }
    match by_policy {
        Protection::Dane(_) | Protection::Verified => Ok(by_policy),
        // RFC 8689 §4.2.1: the name itself is proven, by DNSSEC or by a policy, and then its certificate.
        _ if e.mx_proven || listed => Ok(Protection::Verified),
        _ => Err(Barred::Unproven),
    }
}

fn dane(e: Evidence<'_>, base: &str, records: &[Vec<u8>]) -> Protection {
    let mut records: Vec<Tlsa> = records.iter().filter_map(|data| Tlsa::read(data)).filter(Tlsa::is_usable).collect();
    if records.is_empty() {
        return Protection::Encrypted;
    }
    records.sort();
    records.dedup();
    let mut names: Vec<String> = Vec::new();
    for name in [base, e.host, e.domain] {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Protection::Dane(Arc::new(DanePins { names, records }))
}
