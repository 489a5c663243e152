//! Counters of the engines. Labels are the ids that the operator gave and words of ours.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// `luytre_engine_*`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// 1: it answers.
    pub up: IntGaugeVec,
    /// Seconds since its signatures were made; no series where it does not say.
    pub signature_age: IntGaugeVec,
    /// By outcome: `clean`, `remembered`, `infected`, `objects`, or why not: `timeout`, `licence`, …
    pub scans: IntCounterVec,
    /// One question, seconds.
    pub seconds: HistogramVec,
    /// Messages in which it found something.
    pub catches: IntCounterVec,
    /// Messages that it called clean and another engine did not.
    pub misses: IntCounterVec,
    /// 1 while no engine answers.
    pub all_down: IntGauge,
    /// From the question to the last answer, a message, seconds.
    pub wait: Histogram,
    /// Clean verdicts remembered.
    pub remembered: IntGauge,
    /// Held messages looked at again: why (`unscanned`, `signatures`) and what came of it.
    pub rescans: IntCounterVec,
    /// Held messages still to be looked at again, by why.
    pub rescans_waiting: IntGaugeVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = || vec![0.0005, 0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 10.0, 20.0];
        let gauges = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["engine"]);
        let counters = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            up: gauges("luytre_engine_up", "Whether the virus engine answers (1) or not (0)")?,
            signature_age: gauges(
                "luytre_engine_signature_age_seconds",
                "Age of the engine's signatures, where it says when they were made",
            )?,
            scans: counters(
                "luytre_engine_scans_total",
                "Questions to a virus engine, by what came of them",
                &["engine", "outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("luytre_engine_seconds", "Time a virus engine took for one question")
                    .buckets(buckets()),
                &["engine"],
            )?,
            catches: counters(
                "luytre_engine_catches_total",
                "Messages in which this engine found malware",
                &["engine"],
            )?,
            misses: counters(
                "luytre_engine_misses_total",
                "Messages that this engine called clean while another found malware in them",
                &["engine"],
            )?,
            all_down: IntGauge::new("luytre_engines_down", "1 while no virus engine answers and one is configured")?,
            wait: Histogram::with_opts(
                HistogramOpts::new("luytre_engines_wait_seconds", "Time a message waited for the virus engines")
                    .buckets(buckets()),
            )?,
            remembered: IntGauge::new("luytre_engines_remembered", "Clean verdicts of engines that are remembered")?,
            rescans: counters(
                "luytre_engine_rescans_total",
                "Held messages shown to the virus engines again, because none had looked (unscanned) or one has new signatures \
                 (signatures): released, found (more than was known), same, failed, gone",
                &["why", "outcome"],
            )?,
            rescans_waiting: IntGaugeVec::new(
                Opts::new(
                    "luytre_engine_rescans_waiting",
                    "Held messages still to be shown to the virus engines again",
                ),
                &["why"],
            )?,
        };
        registry.register(Box::new(metrics.up.clone()))?;
        registry.register(Box::new(metrics.signature_age.clone()))?;
        registry.register(Box::new(metrics.scans.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.catches.clone()))?;
        registry.register(Box::new(metrics.misses.clone()))?;
        registry.register(Box::new(metrics.all_down.clone()))?;
        registry.register(Box::new(metrics.wait.clone()))?;
        registry.register(Box::new(metrics.remembered.clone()))?;
        registry.register(Box::new(metrics.rescans.clone()))?;
        registry.register(Box::new(metrics.rescans_waiting.clone()))?;
        Ok(metrics)
    }
}
