//! Counters of the spool.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::env::Clock;
use crate::mail::Timestamp;

/// What operators see of the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    messages: IntGaugeVec,
    oldest: Arc<Oldest>,
    commit_records: Histogram,
    commit_seconds: Histogram,
    errors: IntCounter,
    damaged: IntCounter,
    healthy: IntGauge,
    free: IntGauge,
    wanted: IntGauge,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let messages = IntGaugeVec::new(
            Opts::new(
                "luytre_queue_messages",
                "Messages in the durable queue: waiting for their next attempt, being delivered, or held by an operator.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(messages.clone()))?;
        let oldest = Arc::new(Oldest::new()?);
        registry.register(Box::new(Shared(Arc::clone(&oldest))))?;
        let commit_records = Histogram::with_opts(
            HistogramOpts::new("luytre_spool_commit_records", "Records that one write and sync of the spool covered.")
                .buckets(vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]),
        )?;
        registry.register(Box::new(commit_records.clone()))?;
        let commit_seconds = Histogram::with_opts(
            HistogramOpts::new("luytre_spool_commit_seconds", "Time of one write and sync of the spool.")
                .buckets(vec![0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]),
        )?;
        registry.register(Box::new(commit_seconds.clone()))?;
        let errors = IntCounter::new(
            "luytre_spool_errors_total",
            "Records that the spool could not write because the disk failed or was full.",
        )?;
        registry.register(Box::new(errors.clone()))?;
        let damaged = IntCounter::new(
            "luytre_spool_damaged_total",
            "Damaged records found in the spool; their bytes are in the folder damaged/.",
        )?;
        registry.register(Box::new(damaged.clone()))?;
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let healthy = gauge(
            "luytre_spool_healthy",
            "1 while the spool takes mail; 0 when its disk failed again and again and only a restart helps.",
        )?;
        healthy.set(1);
        let free = gauge(
            "luytre_disk_free_bytes",
            "Octets free where mail is kept; 0 when too few files can be made there (limits.disk_free_files).",
        )?;
        let wanted = gauge(
            "luytre_disk_wanted_bytes",
            "Octets that must be free where mail is kept (limits.disk_free); below it new mail gets 452.",
        )?;
        Ok(Self { messages, oldest, commit_records, commit_seconds, errors, damaged, healthy, free, wanted })
    }

    pub(super) fn attach(&self, clock: &Clock) {
        // A second spool on the same metrics keeps the first clock; they tell the same time.
        let _ = self.oldest.clock.set(clock.clone());
    }

    pub(super) fn queue(&self, waiting: usize, active: usize, held: usize, oldest: Option<Timestamp>) {
        for (state, count) in [("waiting", waiting), ("active", active), ("held", held)] {
            self.messages.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.oldest.since.store(oldest.map_or(i64::MAX, Timestamp::millis), Ordering::Relaxed);
    }

    pub(super) fn committed(&self, records: usize, seconds: f64) {
        self.commit_records.observe(records as f64);
        self.commit_seconds.observe(seconds);
    }

    pub(super) fn failed(&self, records: usize) {
        self.errors.inc_by(records as u64);
    }

    pub(super) fn health(&self, healthy: bool) {
        self.healthy.set(i64::from(healthy));
    }

    /// How much room there is where mail is kept, and how much there must be; octets.
    pub fn room(&self, free: u64, wanted: u64) {
        self.free.set(i64::try_from(free).unwrap_or(i64::MAX));
        self.wanted.set(i64::try_from(wanted).unwrap_or(i64::MAX));
    }

    pub(super) fn damaged(&self, records: u64) {
        self.damaged.inc_by(records);
    }
}

/// The age of the oldest message, worked out when it is asked for: it grows while nothing happens.
#[derive(Debug)]
struct Oldest {
    gauge: Gauge,
    /// Milliseconds since 1970; `i64::MAX` when the queue is empty.
    since: AtomicI64,
    clock: OnceLock<Clock>,
}

impl Oldest {
    fn new() -> Result<Self, prometheus::Error> {
        let gauge = Gauge::new(
            "luytre_queue_oldest_seconds",
            "Age of the oldest message in the durable queue; 0 when it is empty.",
        )?;
        Ok(Self { gauge, since: AtomicI64::new(i64::MAX), clock: OnceLock::new() })
    }
}

struct Shared(Arc<Oldest>);

impl Collector for Shared {
    fn desc(&self) -> Vec<&Desc> {
        self.0.gauge.desc()
    }
    fn collect(&self) -> Vec<MetricFamily> {
        let since = Timestamp::from_millis(self.0.since.load(Ordering::Relaxed));
        let age = self.0.clock.get().map_or(0, |clock| clock.now().since(since).as_millis());
        self.0.gauge.set(age as f64 / 1000.0);
        self.0.gauge.collect()
    }
}
