//! `[http]`, `[receipts]`, `[retro]`

use std::net::SocketAddr;
use std::path::PathBuf;

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

/// `[retro]`: what was delivered, looked at again with what is known today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retro {
    /// How far back.
    pub look_back: Span,
    /// Files of SHA-256 digests, one a line, a name behind it.
    pub hashes: Vec<PathBuf>,
}

impl Default for Retro {
    fn default() -> Self {
        Self { look_back: Span::days(7), hashes: Vec::new() }
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
