//! The TOML as written: one struct a section, every default in a `Default` impl.
//! The stages' own sections are the structs of their `settings.rs`; what is here belongs to no stage.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::deliver::settings::{Deliver, DkimKey, NextHop, SmimeKey};
use crate::envelope::alias::{Alias, DomainAlias};
use crate::envelope::settings::{ClientCertificate, Recipients};
use crate::guard::settings::{Events, Guard};
use crate::inspect::checks::net::engines::settings::{Engine, Engines};
use crate::inspect::settings::{DnsSettings, Inspect, Protect, Rules, Smime};
use crate::listen::Role;
use crate::listen::settings::{BareNewline, Listener};
use crate::mail::{AgencyId, Domain, Language, Mailbox, Network};
use crate::quarantine::settings::Quarantine;
use crate::report::settings::{Http, Receipts, Retro};
use crate::session::settings::{Auth, Limits, Outgoing};
use crate::verdict::attachment::settings::{Attachments, Rule};
use crate::verdict::settings::{Ambiguous, Dmarc, Severe, Verdict};

/// `luytre.toml`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// Banner, HELO, Received, Authentication-Results; empty: the machine's own name.
    pub hostname: String,
    /// spool/ quarantine/ receipts/ luytre.db and the control socket.
    pub data_dir: PathBuf,
    pub language: Language,
    /// Whom the gateway becomes once its ports are bound; empty: whoever started it.
    pub user: String,
    /// Empty: the user's own group.
    pub group: String,
    pub listener: Vec<Listener>,
    pub dns: DnsSettings,
    pub inspect: Inspect,
    pub verdict: Verdict,
    pub attachments: Attachments,
    pub dmarc: Dmarc,
    pub rules: Rules,
    pub smime: Smime,
    pub protect: Protect,
    pub limits: Limits,
    pub guard: Guard,
    pub events: Events,
    pub auth: Auth,
    pub outgoing: Outgoing,
    pub deliver: Deliver,
    pub quarantine: Quarantine,
    pub receipts: Receipts,
    pub retro: Retro,
    pub http: Http,
    pub log: Log,
    pub engines: Engines,
    pub engine: Vec<Engine>,
    pub agency: Vec<Agency>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            hostname: String::new(),
            data_dir: "/var/lib/luytre".into(),
            language: Language::Vi,
            user: String::new(),
            group: String::new(),
            listener: vec![first_listener()],
            dns: DnsSettings::default(),
            inspect: Inspect::default(),
            verdict: Verdict::default(),
            attachments: Attachments::default(),
            dmarc: Dmarc::default(),
            rules: Rules::default(),
            smime: Smime::default(),
            protect: Protect::default(),
            limits: Limits::default(),
            guard: Guard::default(),
            events: Events::default(),
            auth: Auth::default(),
            outgoing: Outgoing::default(),
            deliver: Deliver::default(),
            quarantine: Quarantine::default(),
            receipts: Receipts::default(),
            retro: Retro::default(),
            http: Http::default(),
            log: Log::default(),
            engines: Engines::default(),
            engine: Vec::new(),
            agency: Vec::new(),
        }
    }
}

/// Where no `[[listener]]` is written: mail for the agencies on port 25 of every address (RFC 5321 §4.5.4.2).
fn first_listener() -> Listener {
    Listener {
        address: SocketAddr::from(([0, 0, 0, 0], 25)),
        role: Role::Mx,
        tls: None,
        sni: Vec::new(),
        client_certificates: false,
        client_trust: Vec::new(),
        proxy_networks: Vec::new(),
        xclient_networks: Vec::new(),
        bare_newline: BareNewline::Reject,
        normalize_networks: Vec::new(),
    }
}

/// `[log]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// Lines for people, or an object a line for a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `[[agency]]`, or one file under `agencies/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agency {
    pub id: AgencyId,
    /// As people know it.
    #[serde(default)]
    pub name: String,
    pub domains: Vec<Domain>,
    #[serde(default)]
    pub recipients: Recipients,
    /// Users that stand for others of the agencies.
    #[serde(default)]
    pub aliases: Vec<Alias>,
    /// Domains that are written differently; both are the agency's.
    #[serde(default)]
    pub domain_aliases: Vec<DomainAlias>,
    /// Who gets a copy of every letter from and to the agency.
    #[serde(default)]
    pub always_bcc: Vec<Mailbox>,
    /// May relay outward: private ranges, or public ones no wider than /28 that the agency alone uses.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Addresses it shares with others (a cloud service's): they never relay without AUTH or a certificate.
    #[serde(default)]
    pub shared_addresses: Vec<Network>,
    /// Client certificates that speak for it on relay listeners.
    #[serde(default)]
    pub certificates: Vec<ClientCertificate>,
    /// The agency's own servers, tried in order.
    #[serde(default)]
    pub next_hops: Vec<NextHop>,
    /// What differs from `[verdict]`.
    #[serde(default)]
    pub verdict: AgencyVerdict,
    /// Rules that stand before those of `[attachments]`.
    #[serde(default)]
    pub attachment: Vec<Rule>,
    #[serde(default)]
    pub dkim: Vec<DkimKey>,
    #[serde(default)]
    pub smime: Option<SmimeKey>,
}

/// A file that writes its agencies as the main file does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agencies {
    pub agency: Vec<Agency>,
}

/// `[agency.verdict]`: the keys of `[verdict]`, each optional; what is not written is as there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgencyVerdict {
    pub tag: Option<f64>,
    pub quarantine: Option<f64>,
    pub reject: Option<f64>,
    pub malware: Option<Severe>,
    pub unscannable: Option<Severe>,
    pub ambiguous: Option<Ambiguous>,
    pub observe: Option<bool>,
    pub weights: BTreeMap<String, f64>,
}

impl AgencyVerdict {
    /// The whole verdict settings of the agency.
    #[must_use]
    pub fn over(&self, base: &Verdict) -> Verdict {
        let mut weights = base.weights.clone();
        weights.extend(self.weights.iter().map(|(code, weight)| (code.clone(), *weight)));
        Verdict {
            tag: self.tag.unwrap_or(base.tag),
            quarantine: self.quarantine.unwrap_or(base.quarantine),
            reject: self.reject.unwrap_or(base.reject),
            malware: self.malware.unwrap_or(base.malware),
            unscannable: self.unscannable.unwrap_or(base.unscannable),
            ambiguous: self.ambiguous.unwrap_or(base.ambiguous),
            observe: self.observe.unwrap_or(base.observe),
            weights,
        }
    }
}
