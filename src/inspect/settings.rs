//! `[inspect]`, `[rules]`, `[smime]`, `[dns]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::mail::{Domain, Span};

/// `[inspect]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inspect {
    /// Inspector processes; 0: one a core, at least two, so that one is kept for small mail.
    pub workers: usize,
    /// Total for a message, second try included.
    pub deadline: Span,
    /// Content checks that run, in this order; an empty list switches them off (and `luytre check` warns).
    pub checks: Vec<String>,
    /// Whether SPF, DKIM, DMARC, ARC and iprev are evaluated.
    pub authenticate: bool,
}

impl Default for Inspect {
    fn default() -> Self {
        Self {
            workers: 0,
            deadline: Span::seconds(20),
            checks: ["mime", "yara", "hashes", "smime", "rules"].map(str::to_owned).to_vec(),
            authenticate: true,
        }
    }
}

/// `[rules]`: files or folders, relative to the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    pub spam: Vec<PathBuf>,
    pub yara: Vec<PathBuf>,
    /// Lists of known files, by SHA-256 or TLSH.
    pub hashes: Vec<PathBuf>,
    /// Text files of passwords, one a line, that encrypted archives are tried with after the words of their message.
    pub passwords: Vec<PathBuf>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            spam: vec!["rules/spam".into()],
            yara: vec!["rules/yara".into()],
            hashes: vec!["rules/hashes".into()],
            passwords: Vec::new(),
        }
    }
}

/// `[smime]`: folders or files of PEM or DER trust anchors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smime {
    pub trust: Vec<PathBuf>,
}

impl Default for Smime {
    fn default() -> Self {
        Self { trust: vec!["certs/trust".into()] }
    }
}

/// `[protect]`: names that others must not put on. The agencies' own domains are protected without being listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protect {
    /// Domains whose look-alikes in From are reported: the ministry, the banks people here use.
    pub domains: Vec<Domain>,
    /// Display names that only the agencies' own addresses may carry: "Chánh Văn phòng Nguyễn Văn A".
    pub names: Vec<String>,
}

/// `[dns]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSettings {
    /// Empty: the system's (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// For one look-up, retries included.
    pub timeout: Span,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Span::seconds(2) }
    }
}
