//! `[auth]`: what sender authentication may spend and whom it protects.

use serde::{Deserialize, Serialize};

use crate::mail::{Domain, Span};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Signatures looked at, those of the From domain first (THREATS A-18).
    pub dkim_signatures: usize,
    /// Questions one message may send out (THREATS A-06).
    pub dns_queries: u32,
    /// All look-ups of one message together.
    pub dns_time: Span,
    /// Domains whose look-alikes in From are reported, beside the agencies' own.
    pub protected_domains: Vec<Domain>,
    /// Names of people whose display name from elsewhere is reported.
    pub protected_names: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dkim_signatures: 8,
            // SPF alone may take ten terms; forty leave room for two evaluations, keys, policies and reverse DNS.
            dns_queries: 40,
            // RFC 7208 §4.6.4 asks for 20 seconds at least.
            dns_time: Span::seconds(30),
            protected_domains: Vec::new(),
            protected_names: Vec::new(),
        }
    }
}
