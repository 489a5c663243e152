//! What sessions count. No label carries an address or a name of a client.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::desk::Reason;
use crate::listen::Role;

/// The counters of `listen` and `session`.
#[derive(Clone, Debug)]
pub struct Metrics {
    sessions: IntCounterVec,
    open: IntGaugeVec,
    tls: IntCounterVec,
    refusals: IntCounterVec,
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
        Ok(Self {
            sessions: counter(
                "luytre_sessions_total",
                "SMTP sessions that have ended, and how.",
                &["role", "outcome"],
            )?,
            open,
            tls: tls_sessions(registry)?,
            refusals: counter(
                "luytre_refusals_total",
                "Commands and messages refused before inspection, and why.",
                &["reason"],
            )?,
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
    pub(super) fn refused(&self, reason: Reason) {
        self.refusals.with_label_values(&[reason.as_str()]).inc();
    }
}

/// `luytre_tls_sessions_total` of our side. The sending side registers its own part of the family: `side` is constant
/// in each, so that one registry takes both (names and help must agree).
fn tls_sessions(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let opts =
        Opts::new("luytre_tls_sessions_total", "TLS sessions by side (server: to us, client: from us) and version.");
    let family = IntCounterVec::new(opts.const_label("side", "server"), &["version"])?;
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
        let help = "TLS sessions by side (server: to us, client: from us) and version.";
        let opts = Opts::new("luytre_tls_sessions_total", help).const_label("side", "client");
        registry.register(Box::new(IntCounterVec::new(opts, &["version"]).unwrap())).unwrap();
        metrics.secured("TLSv1.3");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("luytre_tls_sessions_total{side=\"server\",version=\"TLSv1.3\"} 1"), "{text}");
    }
}
