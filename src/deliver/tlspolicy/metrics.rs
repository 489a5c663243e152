//! Counters of outgoing mail by MX and of its TLS policies. No label holds a remote host name.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::Protection;

#[derive(Clone, Debug)]
pub struct Metrics {
    sessions: IntCounterVec,
    barred: IntCounterVec,
    fetches: IntCounterVec,
    policies: IntGauge,
    validating: IntGauge,
    paced: IntCounter,
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
        let paced = IntCounter::new(
            "luytre_delivery_paced_total",
            "Messages put back because their destination's rate was reached",
        )?;
        registry.register(Box::new(paced.clone()))?;
        Ok(Self {
            sessions: counter(
                "luytre_delivery_policy_sessions_total",
                "Connections to servers found by MX, by the policy they stood under and whether TLS kept it",
                &["policy", "outcome"],
            )?,
            barred: counter(
                "luytre_delivery_policy_barred_total",
                "Servers found by MX that a message must not go to, by why",
                &["reason"],
            )?,
            fetches: counter(
                "luytre_mta_sts_fetches_total",
                "MTA-STS policies asked for by HTTPS, by what came of it",
                &["outcome"],
            )?,
            policies: gauge("luytre_mta_sts_policies", "MTA-STS policies kept")?,
            validating: gauge(
                "luytre_dnssec_validating",
                "1 when DNS answers for outgoing mail are validated by DNSSEC",
            )?,
            paced,
        })
    }

    pub(in crate::deliver) fn session(&self, protection: &Protection, outcome: &str) {
        self.sessions.with_label_values(&[protection.as_str(), outcome]).inc();
    }
    pub(in crate::deliver) fn barred(&self, reason: &str) {
        self.barred.with_label_values(&[reason]).inc();
    }
    pub(in crate::deliver) fn fetched(&self, outcome: &str) {
        self.fetches.with_label_values(&[outcome]).inc();
    }
    pub(in crate::deliver) fn policies(&self, count: usize) {
        self.policies.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    pub(in crate::deliver) fn validating(&self, gauge: i64) {
        self.validating.set(gauge);
    }
    pub(in crate::deliver) fn paced(&self) {
        self.paced.inc();
    }
}
