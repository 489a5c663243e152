//! What the operator decided: the file as written, and the checked, compiled, immutable snapshot of it.
//!
//! `tree` and `read` turn TOML into the structs of `file` and report every fault with its place; `relations` checks
//! what no single value can tell; `build` makes the [`Policy`]; `run` loads, watches and swaps it. A transaction pins
//! one snapshot at MAIL FROM, so a reload never changes the rules under a message.

pub mod agencies;
mod attachments;
pub mod build;
mod compile;
mod engines;
pub mod fault;
pub mod file;
pub mod files;
mod guard;
pub mod keys;
mod outgoing;
pub mod place;
pub mod read;
mod recipients;
pub mod relations;
pub mod run;
mod sts;
pub mod submission;
pub mod tree;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::deliver::settings::{Deliver, DkimKey, NextHop, SmimeKey};
use crate::envelope::alias::{Alias, DomainAlias};
use crate::envelope::settings::{ClientCertificate, Recipients};
use crate::guard::settings::{Events, Guard};
use crate::inspect::checks::net::engines::settings::{Engine, Engines};
use crate::inspect::settings::{DnsSettings, Inspect, Protect, Rules, Smime};
use crate::listen::settings::Listener;
use crate::mail::{AgencyId, Domain, Language, Mailbox, Network, Problem, Timestamp};
use crate::quarantine::settings::Quarantine;
use crate::report::settings::{Http, Receipts, Retro};
use crate::session::settings::{Auth, Limits, Outgoing};
use crate::verdict::attachment::settings::{Attachments, Rule};
use crate::verdict::settings::{Dmarc, Verdict};

pub use build::build;
pub use compile::Compiled;
pub use run::{Live, load};

/// One checked configuration with everything compiled from it. Immutable.
#[derive(Debug)]
pub struct Policy {
    pub settings: Settings,
    pub compiled: Compiled,
}

impl std::ops::Deref for Policy {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// One checked configuration; every path is resolved.
#[derive(Debug)]
pub struct Settings {
    /// 1 for the first of a process, one more with each reload that succeeded.
    pub generation: u64,
    /// SHA-256, hexadecimal, over every file it was made of; receipts name it.
    pub hash: String,
    /// The configuration file.
    pub file: PathBuf,
    /// Its folder: relative paths start here.
    pub base_dir: PathBuf,
    pub hostname: Domain,
    pub data_dir: PathBuf,
    pub language: Language,
    pub user: String,
    pub group: String,
    pub listeners: Vec<Listener>,
    pub limits: Limits,
    pub guard: Guard,
    pub events: Events,
    pub auth: Auth,
    pub outgoing: Outgoing,
    pub dns: DnsSettings,
    pub inspect: Inspect,
    pub rules: Rules,
    pub smime: Smime,
    pub protect: Protect,
    pub verdict: Verdict,
    pub attachments: Attachments,
    pub dmarc: Dmarc,
    pub deliver: Deliver,
    pub quarantine: Quarantine,
    pub receipts: Receipts,
    pub retro: Retro,
    pub http: Http,
    pub log: file::Log,
    /// Virus engines, each checked, and what holds for all of them.
    pub engine: Vec<Engine>,
    pub engines: Engines,
    pub agencies: Vec<Agency>,
    /// What is odd but no error.
    pub warnings: Vec<Problem>,
    /// Files and folders whose change is a change of this policy.
    pub watched: Vec<PathBuf>,
    /// When the reading of them began.
    pub read_at: Timestamp,
}

impl Settings {
    #[must_use]
    pub fn agency(&self, id: &AgencyId) -> Option<&Agency> {
        self.agencies.iter().find(|a| a.id == *id)
    }
}

/// One agency, checked; paths resolved, verdict settings complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Agency {
    pub id: AgencyId,
    pub name: String,
    pub domains: Vec<Domain>,
    pub recipients: Recipients,
    pub aliases: Vec<Alias>,
    pub domain_aliases: Vec<DomainAlias>,
    pub always_bcc: Vec<Mailbox>,
    pub networks: Vec<Network>,
    pub shared_addresses: Vec<Network>,
    pub certificates: Vec<ClientCertificate>,
    pub next_hops: Vec<NextHop>,
    pub verdict: Verdict,
    pub attachment: Vec<Rule>,
    pub dkim: Vec<DkimKey>,
    pub smime: Option<SmimeKey>,
}
