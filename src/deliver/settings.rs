//! `[deliver]` and the next hops and keys of an agency.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pin::KeyPin;
use crate::mail::Span;

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
