//! `[[listener]]`: one address the gateway listens on.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Role;

/// One `[[listener]]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub address: SocketAddr,
    #[serde(default)]
    pub role: Role,
    #[serde(default)]
    pub tls: Option<Certificate>,
    /// Further certificates, for clients that ask for one of their names (SNI).
    #[serde(default)]
    pub sni: Vec<Certificate>,
    /// Whether clients are asked for a certificate; with role `relay` only.
    #[serde(default)]
    pub client_certificates: bool,
    /// PEM files of authorities whose word on a client's name counts.
    #[serde(default)]
    pub client_trust: Vec<PathBuf>,
    /// Networks whose connections begin with a PROXY v1/v2 header; only theirs are read, and there it is mandatory.
    #[serde(default)]
    pub proxy_networks: Vec<String>,
    /// Networks that may use XCLIENT.
    #[serde(default)]
    pub xclient_networks: Vec<String>,
    #[serde(default)]
    pub bare_newline: BareNewline,
    /// Networks of old devices whose bare CR and LF are mended instead of refused, with `bare_newline = "normalize"`.
    #[serde(default)]
    pub normalize_networks: Vec<String>,
}

/// What a bare CR or LF gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    #[default]
    Reject,
    Normalize,
}

/// Paths of a PEM certificate chain and its key, relative to the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}
