//! 1. Who may connect: addresses, limits, the PROXY header.

pub mod admit;
pub mod network;
pub mod proxy;
pub mod run;
pub mod settings;

use std::net::SocketAddr;

pub use network::Networks;
use serde::{Deserialize, Serialize};

use crate::env::tls::server::Negotiated;

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The Internet to the agencies.
    #[default]
    Mx,
    /// The agencies' own servers outward.
    Relay,
}

/// What is known of a connected client. Facts only; the permit that admits it lives in `listen::run`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientFacts {
    /// The client's address and port (from the PROXY header where one was trusted).
    pub address: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    pub role: Role,
    pub tls: Option<TlsFacts>,
}

/// What a TLS session negotiated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: String,
    pub cipher: String,
    pub bits: u32,
    /// SHA-256 of the client certificate that was verified, if any.
    pub client_certificate: Option<String>,
}

impl From<Negotiated> for TlsFacts {
    fn from(n: Negotiated) -> Self {
        Self { version: n.version, cipher: n.cipher, bits: n.bits, client_certificate: None }
    }
}
