//! `[http]`, `[receipts]`

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::mail::Span;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// /metrics, /healthz, /readyz. Loopback until told otherwise (THREATS K-01).
    pub address: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8025)) }
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
