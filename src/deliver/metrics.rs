//! Counters of delivery. No label holds an address or a remote host name.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::settings::{Profile, TlsMode};
use crate::mail::Span;
use crate::session::metrics::{Side, tls_sessions};

/// Whose a next hop is: the label that takes the place of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// An agency's own server, or the smart host: somebody here looks after it.
    Agency,
    /// Found by MX.
    Internet,
}

impl Peer {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Agency => "agency",
            Self::Internet => "internet",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Metrics {
    attempts: IntCounterVec,
    cut_through: IntCounterVec,
    tls: IntCounterVec,
    /// Our part of the family that counts both sides.
    tls_sessions: IntCounterVec,
    downgrades: IntCounterVec,
    live: IntCounterVec,
    reports: IntCounterVec,
    late_refusals: IntCounterVec,
    hosts_down: IntGaugeVec,
    down_seconds: IntGaugeVec,
    parked: IntGauge,
    clock_jumps: IntCounter,
    connections: IntGauge,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let by_peer = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let family = IntGaugeVec::new(Opts::new(name, help), &["peer"])?;
            for peer in [Peer::Agency, Peer::Internet] {
                family.with_label_values(&[peer.as_str()]).set(0);
            }
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let clock_jumps = IntCounter::new(
            "luytre_clock_jumps_total",
            "Times that the wall clock was set while the gateway ran; nothing expires for that",
        )?;
        registry.register(Box::new(clock_jumps.clone()))?;
        let downgrades = counter(
            "luytre_delivery_downgrades_total",
            "Connections to next hops in clear although TLS was offered or had worked: handshake (it failed), \
             refused (STARTTLS was), missing (STARTTLS is not offered any more), remembered (it failed within the hour)",
            &["peer", "reason"],
        )?;
        // From zero on, or the first one would not count as an increase.
        for peer in ["agency", "internet"] {
            for reason in ["handshake", "refused", "missing", "remembered"] {
                downgrades.with_label_values(&[peer, reason]);
            }
        }
        Ok(Self {
            attempts: counter(
                "luytre_delivery_attempts_total",
                "Attempts to hand a message to a next hop, by profile and what came of it",
                &["profile", "outcome"],
            )?,
            cut_through: counter(
                "luytre_cut_through_total",
                "Messages handed on while the sender waited, by what the sender was told and why",
                &["outcome"],
            )?,
            tls: counter(
                "luytre_delivery_tls_total",
                "Connections to next hops by TLS version (none: in clear) and configured policy",
                &["version", "policy"],
            )?,
            tls_sessions: tls_sessions(registry, Side::Client)?,
            downgrades,
            live: counter(
                "luytre_live_recipients_total",
                "Recipients that the next hop was to be asked about while the sender waited, by its answer; unasked: it \
                 could not be asked, so the sender was not made to wait",
                &["answer"],
            )?,
            reports: counter(
                "luytre_delivery_reports_total",
                "What was done about mail whose sender had to hear of it: bounced, delayed, relayed (success); \
                 or held, for nobody may hear; stray: a report of an agency's server to a stranger, held",
                &["kind"],
            )?,
            late_refusals: counter(
                "luytre_delivery_late_refusals_total",
                "Recipients given up because their server said 'not now' so often that its profile takes it for 'no'",
                &["profile"],
            )?,
            hosts_down: by_peer(
                "luytre_delivery_hosts_down",
                "Next hops that do not answer or asked for a pause, of the agencies and of the Internet",
            )?,
            down_seconds: by_peer(
                "luytre_delivery_host_down_seconds",
                "How long the next hop that has been down longest has not answered; 0 when all answer",
            )?,
            parked: gauge("luytre_delivery_parked", "Queued messages that wait for their host or for their turn")?,
            clock_jumps,
            connections: gauge("luytre_delivery_connections", "Open connections to next hops, in use or idle")?,
        })
    }

    pub(super) fn attempt(&self, profile: Profile, outcome: &str) {
        self.attempts.with_label_values(&[profile.as_str(), outcome]).inc();
    }
    pub(super) fn cut_through(&self, outcome: &str) {
        self.cut_through.with_label_values(&[outcome]).inc();
    }
    pub(super) fn connected(&self, version: Option<&'static str>, policy: TlsMode) {
        let policy = match policy {
            TlsMode::None => "none",
            TlsMode::Opportunistic => "opportunistic",
            TlsMode::Required => "required",
        };
        self.tls.with_label_values(&[version.unwrap_or("none"), policy]).inc();
        if let Some(version) = version {
            self.tls_sessions.with_label_values(&[version]).inc();
        }
    }
    /// `internet`: found by MX, where nobody here can mend it.
    pub(super) fn downgraded(&self, internet: bool, reason: &str) {
        self.downgrades.with_label_values(&[if internet { "internet" } else { "agency" }, reason]).inc();
    }
    pub(super) fn live(&self, answer: &str) {
        self.live.with_label_values(&[answer]).inc();
    }
    pub(super) fn report(&self, kind: &str) {
        self.reports.with_label_values(&[kind]).inc();
    }
    pub(super) fn late_refusal(&self, profile: Profile) {
        self.late_refusals.with_label_values(&[profile.as_str()]).inc();
    }
    pub(super) fn host_down(&self, peer: Peer) {
        self.hosts_down.with_label_values(&[peer.as_str()]).inc();
    }
    pub(super) fn host_up(&self, peer: Peer) {
        self.hosts_down.with_label_values(&[peer.as_str()]).dec();
    }
    pub(super) fn down_for(&self, peer: Peer, longest: Span) {
        let seconds = i64::try_from(longest.as_seconds()).unwrap_or(i64::MAX);
        self.down_seconds.with_label_values(&[peer.as_str()]).set(seconds);
    }
    pub(super) fn parked(&self, messages: usize) {
        self.parked.set(i64::try_from(messages).unwrap_or(i64::MAX));
    }
    pub(super) fn clock_jumped(&self) {
        self.clock_jumps.inc();
    }
    pub(super) fn connection_opened(&self) {
        self.connections.inc();
    }
    pub(super) fn connection_closed(&self) {
        self.connections.dec();
    }
}
