//! What sessions count. No label carries an address or a name of a client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::desk::Reason;
use super::lockout::Locked;
use super::pace::Pace;
use crate::env::tls::handshake;
use crate::listen::Role;
use crate::listen::stress::{Cause, Turn};
use crate::mail::{AgencyId, Timestamp};

/// The counters of `listen` and `session`.
#[derive(Clone, Debug)]
pub struct Metrics {
    sessions: IntCounterVec,
    open: IntGaugeVec,
    tls: IntCounterVec,
    handshakes: IntCounterVec,
    refusals: IntCounterVec,
    logins: IntCounterVec,
    locks: IntCounterVec,
    sudden: IntCounterVec,
    limited: IntCounterVec,
    certificates: Ends,
    stress: IntGauge,
    stresses: IntCounterVec,
}

/// The certificates in use: names, which are our own, and ends.
pub(super) type Shown = Box<dyn Fn() -> Vec<(String, Timestamp)> + Send + Sync>;

/// The ends of certificates, looked up when they are read: a reload is never told late, and nothing that is gone stays.
#[derive(Clone)]
struct Ends {
    family: IntGaugeVec,
    shown: Arc<OnceLock<Shown>>,
    /// One reader at a time fills the family.
    turn: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl Collector for Ends {
    fn desc(&self) -> Vec<&Desc> {
        self.family.desc()
    }
    fn collect(&self) -> Vec<MetricFamily> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.family.reset();
        for (certificate, end) in first_ends(self.shown.get().map(|shown| shown()).unwrap_or_default()) {
            self.family.with_label_values(&[&certificate]).set(end);
        }
        self.family.collect()
    }
}

/// Where two certificates have one name (two listeners, RSA beside ECDSA), the one that ends first is told.
fn first_ends(all: Vec<(String, Timestamp)>) -> BTreeMap<String, i64> {
    let mut ends = BTreeMap::new();
    for (certificate, until) in all {
        let until = until.seconds();
        ends.entry(certificate).and_modify(|end: &mut i64| *end = until.min(*end)).or_insert(until);
    }
    ends
}

/// What came of an AUTH command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    Right,
    Wrong,
    Locked,
    Malformed,
    Trouble,
}

impl Login {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Locked => "locked",
            Self::Malformed => "malformed",
            Self::Trouble => "trouble",
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// QUIT.
    Quit,
    /// The client went away without it.
    Gone,
    /// We ended it, with a reply that says why.
    Ended,
    /// Not let in at all.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// A bug of ours.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Gone => "gone",
            Self::Ended => "ended",
            Self::Refused => "refused",
            Self::Tls => "tls_failed",
            Self::Failed => "failed",
        }
    }
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::Mx => "mx",
        Role::Relay => "relay",
    }
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let open = IntGaugeVec::new(Opts::new("luytre_sessions_open", "SMTP sessions that are open now."), &["role"])?;
        registry.register(Box::new(open.clone()))?;
        let certificates = IntGaugeVec::new(
            Opts::new(
                "luytre_certificate_expires_seconds",
                "When a certificate of a listener ends, in seconds since 1970.",
            ),
            &["certificate"],
        )?;
        let certificates = Ends { family: certificates, shown: Arc::default(), turn: Arc::default() };
        registry.register(Box::new(certificates.clone()))?;
        let stress = IntGauge::new(
            "luytre_stress",
            "1 while connections or memory run short and strangers get less patience, else 0.",
        )?;
        registry.register(Box::new(stress.clone()))?;
        let stresses =
            counter("luytre_stress_total", "How often connections or memory began to run short.", &["cause"])?;
        Cause::ALL.iter().for_each(|cause| drop(stresses.with_label_values(&[cause.as_str()])));
        let handshakes = counter(
            "luytre_tls_handshakes_failed_total",
            "TLS handshakes with clients that failed, by cause.",
            &["cause"],
        )?;
        handshake::Cause::ALL.iter().for_each(|cause| drop(handshakes.with_label_values(&[cause.as_str()])));
        Ok(Self {
            sessions: counter(
                "luytre_sessions_total",
                "SMTP sessions that have ended, and how.",
                &["role", "outcome"],
            )?,
            open,
            tls: tls_sessions(registry, Side::Server)?,
            handshakes,
            refusals: counter(
                "luytre_refusals_total",
                "Commands and messages refused before inspection, and why.",
                &["reason"],
            )?,
            logins: counter(
                "luytre_auth_total",
                "AUTH commands on relay listeners, by what came of them.",
                &["outcome"],
            )?,
            locks: counter(
                "luytre_auth_locks_total",
                "Accounts and addresses that were locked after too many wrong passwords.",
                &["kind"],
            )?,
            sudden: counter(
                "luytre_outgoing_sudden_total",
                "Senders of an agency that in one hour sent many times what they usually do.",
                &["agency"],
            )?,
            limited: counter(
                "luytre_outgoing_limited_total",
                "Recipients put off because a sender or its domain was over its limit of the hour.",
                &["agency", "by"],
            )?,
            certificates,
            stress,
            stresses,
        })
    }

    pub(super) fn began(&self, role: Role) {
        self.open.with_label_values(&[word(role)]).inc();
    }
    pub(super) fn ended(&self, role: Role, outcome: Outcome) {
        self.open.with_label_values(&[word(role)]).dec();
        self.sessions.with_label_values(&[word(role), outcome.as_str()]).inc();
    }
    pub(super) fn turned_away(&self, role: Role, reason: Reason) {
        self.sessions.with_label_values(&[word(role), Outcome::Refused.as_str()]).inc();
        self.refused(reason);
    }
    pub(super) fn secured(&self, version: &str) {
        self.tls.with_label_values(&[version]).inc();
    }
    pub(super) fn handshake_failed(&self, cause: handshake::Cause) {
        self.handshakes.with_label_values(&[cause.as_str()]).inc();
    }
    pub(super) fn login(&self, outcome: Login) {
        self.logins.with_label_values(&[outcome.as_str()]).inc();
    }
    pub(super) fn locked(&self, locked: Locked) {
        let kind = match locked {
            Locked::Account => "account",
            Locked::Address => "address",
        };
        self.locks.with_label_values(&[kind]).inc();
    }
    pub(super) fn sudden(&self, agency: &AgencyId) {
        self.sudden.with_label_values(&[&agency.to_string()]).inc();
    }
    pub(super) fn limited(&self, agency: &AgencyId, pace: Pace) {
        let by = if pace == Pace::OverDomain { "domain" } else { "sender" };
        self.limited.with_label_values(&[&agency.to_string(), by]).inc();
    }
    /// Where the certificates in use are found whenever somebody reads the metrics. The first word counts.
    pub(super) fn certificates(&self, shown: Shown) {
        let _ = self.certificates.shown.set(shown);
    }
    pub(super) fn stressed(&self, turn: Turn) {
        if let Turn::Begins(cause) = turn {
            self.stresses.with_label_values(&[cause.as_str()]).inc();
        }
        self.stress.set(i64::from(matches!(turn, Turn::Begins(_))));
    }
    pub(super) fn refused(&self, reason: Reason) {
        self.refusals.with_label_values(&[reason.as_str()]).inc();
    }
}

/// Who began a TLS session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A client came to us.
    Server,
    /// We went to a next hop.
    Client,
}

/// One side's part of `luytre_tls_sessions_total`. Each side registers its own, with `side` constant in it, so that one
/// registry takes both (names and help agree); the label that is left is the version.
pub fn tls_sessions(registry: &Registry, side: Side) -> Result<IntCounterVec, prometheus::Error> {
    let word = match side {
        Side::Server => "server",
        Side::Client => "client",
    };
    let opts =
        Opts::new("luytre_tls_sessions_total", "TLS sessions by side (server: to us, client: from us) and version.");
    let family = IntCounterVec::new(opts.const_label("side", word), &["version"])?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_tls_fit_in_one_registry() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let ours = tls_sessions(&registry, Side::Client).unwrap();
        ours.with_label_values(&["TLSv1.2"]).inc();
        metrics.secured("TLSv1.3");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in ["{side=\"server\",version=\"TLSv1.3\"} 1", "{side=\"client\",version=\"TLSv1.2\"} 1"] {
            assert!(text.contains(&format!("luytre_tls_sessions_total{line}")), "{text}");
        }
    }

    #[test]
    fn of_two_certificates_for_one_name_the_first_to_end_is_told() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let end = |seconds| ("mx.agency.test".to_owned(), Timestamp::from_seconds(seconds));
        metrics.certificates(Box::new(move || vec![end(2_000_000_000), end(1_900_000_000), end(2_100_000_000)]));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let line = "luytre_certificate_expires_seconds{certificate=\"mx.agency.test\"} 1900000000";
        assert!(text.contains(line), "{text}");
    }
}
