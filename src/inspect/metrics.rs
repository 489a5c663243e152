//! Counters of the inspectors. No label holds anything that a stranger chooses.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::parked::Parked;

/// `luytre_inspector_*`, `luytre_yara_*`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// By reason: `crash`, `panic`, `deadline`, `nonsense`, `start`, `aged`.
    pub restarts: IntCounterVec,
    /// By state: `ready`, `busy`.
    pub processes: IntGaugeVec,
    /// From the request to a free inspector, seconds.
    pub wait: Histogram,
    /// One look at a message by an inspector, seconds.
    pub work: Histogram,
    /// Searches for a slow YARA rule, by outcome: `parked`, `together`, `innocent`, `unclear`.
    pub searches: IntCounterVec,
    parked: IntGaugeVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = vec![0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 10.0, 20.0];
        let histogram =
            |name: &str, help: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(seconds.clone()));
        let metrics = Self {
            restarts: IntCounterVec::new(
                Opts::new("luytre_inspector_restarts_total", "Inspector processes replaced, by reason"),
                &["reason"],
            )?,
            processes: IntGaugeVec::new(
                Opts::new("luytre_inspectors", "Inspector processes, by state (ready, busy)"),
                &["state"],
            )?,
            wait: histogram("luytre_inspector_wait_seconds", "Time a message waited for a free inspector")?,
            work: histogram("luytre_inspector_seconds", "Time an inspector took to look at a message")?,
            searches: IntCounterVec::new(
                Opts::new(
                    "luytre_yara_searches_total",
                    "Searches for a YARA rule that took too long, by outcome (parked, together, innocent, unclear)",
                ),
                &["outcome"],
            )?,
            parked: IntGaugeVec::new(
                Opts::new("luytre_yara_rule_parked", "YARA rules that are not run because they took too long: 1 each"),
                &["rule"],
            )?,
        };
        registry.register(Box::new(metrics.restarts.clone()))?;
        registry.register(Box::new(metrics.processes.clone()))?;
        registry.register(Box::new(metrics.wait.clone()))?;
        registry.register(Box::new(metrics.work.clone()))?;
        registry.register(Box::new(metrics.searches.clone()))?;
        registry.register(Box::new(metrics.parked.clone()))?;
        Ok(metrics)
    }

    /// The rules that the policy in force leaves out. Their names are the officer's own.
    pub fn parked(&self, rules: &[Parked]) {
        self.parked.reset();
        for entry in rules {
            self.parked.with_label_values(&[entry.rule.as_str()]).set(1);
        }
    }
}
