//! `[http]`, `[receipts]`, `[retro]`

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::listen::settings::Certificate;
use crate::mail::Span;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// /metrics, /healthz, /readyz. Loopback until told otherwise (THREATS K-01).
    pub address: SocketAddr,
    /// Left out: the agencies' MTA-STS policies are served elsewhere, or nowhere.
    pub mta_sts: Option<MtaSts>,
}

impl Default for Http {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8025)), mta_sts: None }
    }
}

/// `[http.mta_sts]`: the page `https://mta-sts.<domain>/.well-known/mta-sts.txt` of each agency's domain (RFC 8461).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtaSts {
    /// `0.0.0.0:443`
    pub address: SocketAddr,
    /// For `mta-sts.<domain>` of the first domains; a sender that finds another name delivers without the policy.
    pub tls: Certificate,
    /// Certificates of further domains.
    #[serde(default)]
    pub sni: Vec<Certificate>,
    #[serde(default)]
    pub mode: StsMode,
    /// How long senders keep the policy.
    #[serde(default = "week")]
    pub max_age: Span,
}

const fn week() -> Span {
    Span::days(7)
}

/// RFC 8461 §5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StsMode {
    /// Senders report what would have failed, and deliver all the same: the way to begin.
    #[default]
    Testing,
    Enforce,
    /// On the way out: no policy any more.
    None,
}

impl StsMode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Testing => "testing",
            Self::Enforce => "enforce",
            Self::None => "none",
        }
    }
}

/// `[retro]`: what was delivered, looked at again with what is known today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retro {
    /// How far back.
    pub look_back: Span,
    /// Files of digests beside `[rules] hashes`: looked for in the record only, never in new mail.
    pub hashes: Vec<PathBuf>,
    /// So long after the last change of rules, lists or signatures of an engine the gateway looks by itself; 0: only when
    /// it is told to.
    pub after: Span,
    /// The mailbox in each agency's first domain that is told; empty: nobody is written to.
    pub report_to: String,
    /// Letters to one agency in 24 hours; what is found beyond waits for the next one.
    pub reports_a_day: u32,
}

impl Default for Retro {
    fn default() -> Self {
        Self {
            look_back: Span::days(7),
            hashes: Vec::new(),
            // An officer saves a file several times.
            after: Span::minutes(5),
            report_to: "postmaster".to_owned(),
            reports_a_day: 4,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receipts {
    /// How long a day of the receipt log is kept after it is over (DOMAIN R37).
    pub keep: Span,
}

impl Default for Receipts {
    fn default() -> Self {
        // Twelve months: the most that the levels of TCVN 14423:2026 ask for.
        Self { keep: Span::days(366) }
    }
}
