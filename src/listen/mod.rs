//! 1. Who may connect: addresses, limits, the PROXY header.

pub mod admit;
pub mod network;
pub mod proxy;
pub mod run;
pub mod settings;
pub mod stress;

use std::net::SocketAddr;

pub use network::Networks;
use serde::{Deserialize, Serialize};

use crate::env::tls::server::{ClientCertificate, Negotiated};
use crate::mail::AgencyId;

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

/// What a TLS session negotiated, and who spoke up inside it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: String,
    pub cipher: String,
    pub bits: u32,
    /// The client's certificate, whose key it proved to hold. Boxed: next to nobody shows one, and everybody's session has
    /// room for it.
    #[serde(default)]
    pub client: Option<Box<ClientCertificate>>,
    /// The account that logged in. It stands here because AUTH exists inside TLS only.
    #[serde(default)]
    pub account: Option<Account>,
}

/// Who logged in, and for which agency the account may send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub agency: AgencyId,
}

impl From<Negotiated> for TlsFacts {
    fn from(n: Negotiated) -> Self {
        let client = n.client.map(Box::new);
        Self { version: n.version, cipher: n.cipher, bits: n.bits, client, account: None }
    }
}
