//! Counters of the inspectors. No label holds anything that a stranger chooses.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

/// `luytre_inspector_*`.
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
        };
        registry.register(Box::new(metrics.restarts.clone()))?;
        registry.register(Box::new(metrics.processes.clone()))?;
        registry.register(Box::new(metrics.wait.clone()))?;
        registry.register(Box::new(metrics.work.clone()))?;
        Ok(metrics)
    }
}
