//! `[[listener]]`: one address the gateway listens on; `[limits.stress]`: what changes near the limits.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::mail::Span;

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

/// `[limits.stress]`: less patience with strangers while connections or memory run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stress {
    /// Percent of `limits.connections` or of `limits.memory` in use at which it begins; 0: never.
    pub enter: u32,
    /// Percent below which both must stay for `calm` before it ends.
    pub leave: u32,
    pub calm: Span,
    /// Instead of the settings of `[limits]` with the same names, where these are less.
    pub command_timeout: Span,
    pub errors: u32,
    pub junk_commands: u32,
    /// How long a client may be silent between commands.
    pub idle: Span,
    /// Connections of an address, and of a network, that has delivered nothing of late.
    pub connections_per_address: usize,
    pub connections_per_network: usize,
}

impl Default for Stress {
    fn default() -> Self {
        Self {
            // Late enough that an ordinary rush is not met with haste, early enough that a tenth is left for the honest.
            enter: 90,
            leave: 70,
            calm: Span::seconds(30),
            // Postfix waits ten seconds then; a server that is alive answers in one.
            command_timeout: Span::seconds(10),
            errors: 3,
            junk_commands: 5,
            idle: Span::seconds(15),
            // Big senders open a handful to one MX; whoever sent good mail before keeps its whole share.
            connections_per_address: 5,
            connections_per_network: 20,
        }
    }
}
