//! What every session reads of the configuration: one immutable snapshot, swapped on reload.
//! A session takes the current one when it starts and again at each MAIL FROM.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::env::tls::server::{Acceptor, Files, Held};
use crate::listen::settings::{BareNewline, Listener};
use crate::listen::{Networks, Role};
use crate::mail::Problem;

use super::accounts::Accounts;
use super::settings::{Auth, Limits, Outgoing};

/// The gateway as a client sees it.
#[derive(Debug)]
pub struct House {
    /// Banner, and the name no client may claim in HELO.
    pub hostname: String,
    pub limits: Limits,
    pub stations: Vec<Arc<Station>>,
    /// Certificates that no station shows, and whose end is watched with the others.
    pub elsewhere: Vec<Held>,
}

/// One `[[listener]]`, ready for use.
#[derive(Debug)]
pub struct Station {
    /// As configured; finds the station of a socket again after a reload.
    pub address: SocketAddr,
    pub role: Role,
    pub tls: Option<Acceptor>,
    pub proxy: Networks,
    pub xclient: Networks,
    /// Clients whose bare CR and LF are mended instead of refused.
    pub normalize: Networks,
    pub submission: Submission,
}

/// How a relay listener knows senders that stand in no network of an agency, and how much may leave.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    pub accounts: Accounts,
    pub auth: Auth,
    pub outgoing: Outgoing,
}

impl House {
    #[must_use]
    pub fn station(&self, address: SocketAddr) -> Option<&Arc<Station>> {
        self.stations.iter().find(|station| station.address == address)
    }
}

impl Station {
    /// Reads certificates and networks; paths are relative to the folder of `file`, the configuration that names them.
    pub fn build(listener: &Listener, file: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        let pairs = listener.tls.iter().chain(&listener.sni);
        let files = Files {
            pairs: pairs.map(|pair| (folder.join(&pair.certificate), folder.join(&pair.key))).collect(),
            // Strangers on the mx side are never asked: some cannot cope with the question.
            clients: (listener.role == Role::Relay && listener.client_certificates)
                .then(|| listener.client_trust.iter().map(|path| folder.join(path)).collect()),
        };
        let tls =
            listener.tls.as_ref().and_then(|_| Acceptor::open(&files).map_err(|found| problems.extend(found)).ok());
        let mut networks = |texts: &[String], name: &str| {
            Networks::parse(texts).unwrap_or_else(|bad| {
                problems.extend(
                    bad.iter()
                        .map(|error| Problem::new(file, format!("{name} of listener {}: {error}", listener.address))),
                );
                Networks::default()
            })
        };
        let proxy = networks(&listener.proxy_networks, "proxy_networks");
        let xclient = networks(&listener.xclient_networks, "xclient_networks");
        let listed = networks(&listener.normalize_networks, "normalize_networks");
        let normalize = if listener.bare_newline == BareNewline::Normalize { listed } else { Networks::default() };
        if problems.is_empty() {
            let submission = Submission::default();
            Ok(Self { address: listener.address, role: listener.role, tls, proxy, xclient, normalize, submission })
        } else {
            Err(problems)
        }
    }

    /// With accounts, and limits on what leaves.
    #[must_use]
    pub fn with(mut self, submission: Submission) -> Self {
        self.submission = submission;
        self
    }
}
