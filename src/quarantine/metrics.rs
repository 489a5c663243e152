//! Counters of the quarantine.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Kind;
use super::settings::Quarantine;
use crate::mail::{AgencyId, Span};

/// What operators see of held mail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    messages: IntGaugeVec,
    bytes: IntGauge,
    index_up: IntGauge,
    disk: IntGauge,
    quota: IntGauge,
    agencies: IntGaugeVec,
    agency_quota: IntGauge,
    oldest: IntGauge,
    keep: IntGauge,
    turned_away: IntCounter,
    pushed_out: IntCounter,
    releases: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let messages = IntGaugeVec::new(
            Opts::new(
                "luytre_quarantine_messages",
                "Messages in the quarantine, by why they are held; released ones count until they expire.",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(messages.clone()))?;
        let bytes = IntGauge::new("luytre_quarantine_bytes", "Octets of the messages in the quarantine.")?;
        registry.register(Box::new(bytes.clone()))?;
        let index_up = IntGauge::new(
            "luytre_quarantine_index_up",
            "1 when the quarantine's search index answers, 0 when lists are read from the files.",
        )?;
        registry.register(Box::new(index_up.clone()))?;
        let gauge = |name, help| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name, help| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let disk = gauge(
            "luytre_quarantine_disk_bytes",
            "Octets of the quarantine's files; an identical mass mailing is held once.",
        )?;
        let quota = gauge("luytre_quarantine_quota_bytes", "Octets those files may take; 0: no limit.")?;
        let agency_quota =
            gauge("luytre_quarantine_agency_quota_bytes", "Octets that one agency's held mail may take; 0: no limit.")?;
        let agencies = IntGaugeVec::new(
            Opts::new("luytre_quarantine_agency_bytes", "Octets of the files that hold mail of one agency."),
            &["agency"],
        )?;
        registry.register(Box::new(agencies.clone()))?;
        let oldest = gauge(
            "luytre_quarantine_oldest_seconds",
            "For how long the oldest message in the quarantine is held; looked at each hour and at each change.",
        )?;
        let keep = gauge("luytre_quarantine_keep_seconds", "For how long mail is held before it is purged.")?;
        let turned_away =
            counter("luytre_quarantine_refused_total", "Messages put off with 452 because the quarantine was full.")?;
        let pushed_out = counter(
            "luytre_quarantine_pushed_out_total",
            "Held spam removed before its time because the quarantine was full.",
        )?;
        let releases = IntCounterVec::new(
            Opts::new(
                "luytre_quarantine_releases_total",
                "Orders to let a held message go: released, forced (although the second look objected), stopped by it, or \
                 failed.",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(releases.clone()))?;
        for outcome in ["released", "forced", "stopped", "failed"] {
            releases.with_label_values(&[outcome]).reset();
        }
        for kind in Kind::ALL {
            messages.with_label_values(&[kind.word()]).set(0);
        }
        Ok(Self {
            messages,
            bytes,
            index_up,
            disk,
            quota,
            agencies,
            agency_quota,
            oldest,
            keep,
            turned_away,
            pushed_out,
            releases,
        })
    }

    pub(super) fn came(&self, kind: Kind, bytes: u64) {
        self.messages.with_label_values(&[kind.word()]).inc();
        self.bytes.add(i64::try_from(bytes).unwrap_or(0));
    }

    pub(super) fn went(&self, kind: Kind, bytes: u64) {
        self.messages.with_label_values(&[kind.word()]).dec();
        self.bytes.sub(i64::try_from(bytes).unwrap_or(0));
    }

    pub(super) fn set(&self, kind: Kind, count: i64) {
        self.messages.with_label_values(&[kind.word()]).set(count);
    }

    pub(super) fn set_bytes(&self, bytes: i64) {
        self.bytes.set(bytes);
    }

    pub(super) fn disk(&self, bytes: u64, settings: &Quarantine) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.keep.set(whole(settings.keep.as_seconds()));
        self.disk.set(whole(bytes));
        self.quota.set(whole(settings.quota.as_u64()));
        self.agency_quota.set(whole(settings.agency_quota.as_u64()));
    }

    pub(super) fn agency(&self, agency: &AgencyId, bytes: u64) {
        self.agencies.with_label_values(&[agency.as_str()]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn oldest(&self, age: Option<Span>) {
        self.oldest.set(age.map_or(0, |age| i64::try_from(age.as_seconds()).unwrap_or(i64::MAX)));
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.inc();
    }

    pub(super) fn pushed_out(&self) {
        self.pushed_out.inc();
    }

    /// `outcome`: released, forced, stopped or failed.
    pub(super) fn release(&self, outcome: &str) {
        self.releases.with_label_values(&[outcome]).inc();
    }

    pub(super) fn index(&self, up: bool) {
        self.index_up.set(i64::from(up));
    }
}
