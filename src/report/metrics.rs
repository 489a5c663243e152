//! Metric families that belong to no single stage. Every label has a bounded set of values: agencies come from the
//! configuration, actions and stages from enums, and codes or rules beyond a cap are counted as `other`. No label ever
//! holds an address, a subject or a remote host name (THREATS K-12).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Made once by the gateway; every stage registers its families in it.
pub use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::deliver::seal::Note;
use crate::mail::Destination;
use crate::verdict::{Action, Mode};

/// Finding codes are ours and few; what is beyond was made up by a rules file gone wild.
const MOST_CODES: usize = 500;
/// Twice what the largest rule set we plan for holds.
const MOST_RULES: usize = 10_000;
/// From a cut-through on the local net to the deadline of an inspection.
const STAGE_BUCKETS: [f64; 12] = [0.000_5, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0];

/// The families every part of the gateway may count in. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    messages: IntCounterVec,
    stage_seconds: HistogramVec,
    findings: IntCounterVec,
    rule_hits: IntCounterVec,
    reloads: IntCounterVec,
    unsigned: IntCounterVec,
    sts: IntCounterVec,
    receipts_lost: IntCounter,
    receipts_failing: IntGauge,
    bypass: IntGauge,
    retro: IntGauge,
    retro_told: IntCounter,
    retro_runs: IntCounterVec,
    retro_letters: IntCounterVec,
    codes: Arc<Bounded>,
    rules: Arc<Bounded>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The stations of a message whose time is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// From DATA to its last byte.
    Intake,
    Authenticate,
    Inspect,
    Judge,
    /// From the verdict to the next hop's answer.
    CutThrough,
    /// Until the spool has synced it.
    Spool,
    Quarantine,
    /// From the last byte to our answer: what a sender feels.
    Whole,
}

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Authenticate => "authenticate",
            Self::Inspect => "inspect",
            Self::Judge => "judge",
            Self::CutThrough => "cut_through",
            Self::Spool => "spool",
            Self::Quarantine => "quarantine",
            Self::Whole => "whole",
        }
    }
}

/// What came of a wish to load the configuration again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reload {
    Loaded,
    /// Every file is as it was.
    Unchanged,
    /// There are errors: the old policy stays.
    Refused,
}

impl Reload {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// What somebody who came for an MTA-STS policy got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    Served,
    /// Another page, or the name of somebody else's domain.
    Strange,
    /// No handshake, or no request in time.
    Failed,
}

impl Asked {
    const ALL: [Self; 3] = [Self::Served, Self::Strange, Self::Failed];
    const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Strange => "strange",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let metrics = Self {
            messages: counters(
                "luytre_messages_total",
                "Messages decided, one a recipient group, by agency, direction (in, out) and action.",
                &["agency", "direction", "action"],
            )?,
            findings: counters("luytre_findings_total", "Findings of checks, by code.", &["code"])?,
            rule_hits: counters(
                "luytre_rule_hits_total",
                "Messages that a rule hit, by rule and its mode (shadow, tag, enforce).",
                &["rule", "mode"],
            )?,
            reloads: counters(
                "luytre_policy_reloads_total",
                "Wishes to load the configuration again, by outcome (loaded, unchanged, refused).",
                &["outcome"],
            )?,
            unsigned: counters(
                "luytre_unsigned_total",
                "Outgoing copies that left without one of the agency's signatures, by reason.",
                &["reason"],
            )?,
            sts: counters(
                "luytre_mta_sts_requests_total",
                "Requests for the agencies' MTA-STS policies, by outcome: served, strange (another page or name), failed.",
                &["outcome"],
            )?,
            stage_seconds: HistogramVec::new(
                HistogramOpts::new("luytre_stage_seconds", "Time a message spent in each stage, in seconds.")
                    .buckets(STAGE_BUCKETS.to_vec()),
                &["stage"],
            )?,
            receipts_lost: IntCounter::new(
                "luytre_receipts_lost_total",
                "Receipts that did not fit into the buffer while they could not be written.",
            )?,
            receipts_failing: IntGauge::new("luytre_receipts_failing", "1 while receipts cannot be written.")?,
            bypass: IntGauge::new(
                "luytre_bypass_active",
                "1 while the emergency bypass is on: mail is relayed after the virus engines only.",
            )?,
            retro: IntGauge::new(
                "luytre_retro_found",
                "Deliveries of the last days that the last look at all of them found bad by what is known then.",
            )?,
            retro_told: IntCounter::new(
                "luytre_retro_deliveries_total",
                "Deliveries that were found to be bad after they were made, each counted once.",
            )?,
            retro_runs: counters(
                "luytre_retro_runs_total",
                "Looks at what was delivered, by cause (change, digest, command) and outcome (done, failed).",
                &["cause", "outcome"],
            )?,
            retro_letters: counters(
                "luytre_retro_letters_total",
                "Letters to agencies' postmasters about what was delivered, by outcome (sent, failed).",
                &["outcome"],
            )?,
            codes: Arc::new(Bounded::new(MOST_CODES)),
            rules: Arc::new(Bounded::new(MOST_RULES)),
        };
        registry.register(Box::new(metrics.stage_seconds.clone()))?;
        registry.register(Box::new(metrics.receipts_lost.clone()))?;
        registry.register(Box::new(metrics.receipts_failing.clone()))?;
        registry.register(Box::new(metrics.bypass.clone()))?;
        registry.register(Box::new(metrics.retro.clone()))?;
        registry.register(Box::new(metrics.retro_told.clone()))?;
        // Present from the start, so that an alert on their increase sees the first one.
        for outcome in [Reload::Loaded, Reload::Unchanged, Reload::Refused] {
            metrics.reloads.with_label_values(&[outcome.as_str()]).inc_by(0);
        }
        for note in Note::ALL {
            metrics.unsigned.with_label_values(&[note.code()]).inc_by(0);
        }
        for asked in Asked::ALL {
            metrics.sts.with_label_values(&[asked.as_str()]).inc_by(0);
        }
        let build =
            IntGaugeVec::new(Opts::new("luytre_build_info", "Always 1; the label names the version."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// One recipient group got its verdict.
    pub fn message(&self, destination: &Destination, action: Action) {
        self.messages
            .with_label_values(&[destination.agency().as_str(), destination.direction(), action.as_str()])
            .inc();
    }

    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stage_seconds.with_label_values(&[stage.as_str()]).observe(took.as_secs_f64());
    }

    pub fn finding(&self, code: &str) {
        self.findings.with_label_values(&[self.codes.label(code)]).inc();
    }

    pub fn rule_hit(&self, rule: &str, mode: Mode) {
        let mode = match mode {
            Mode::Shadow => "shadow",
            Mode::Tag => "tag",
            Mode::Enforce => "enforce",
        };
        self.rule_hits.with_label_values(&[self.rules.label(rule), mode]).inc();
    }

    /// A copy leaves without a signature.
    pub fn unsigned(&self, note: Note) {
        self.unsigned.with_label_values(&[note.code()]).inc();
    }

    /// Somebody came for an MTA-STS policy.
    pub fn sts(&self, asked: Asked) {
        self.sts.with_label_values(&[asked.as_str()]).inc();
    }

    /// What the receipt log says of itself: entries lost since the start, and whether it cannot be written now.
    pub fn receipts(&self, lost: u64, failing: bool) {
        self.receipts_lost.inc_by(lost.saturating_sub(self.receipts_lost.get()));
        self.receipts_failing.set(i64::from(failing));
    }

    /// Whether the emergency bypass is on.
    pub fn bypass(&self, on: bool) {
        self.bypass.set(i64::from(on));
    }

    /// Deliveries that the last look at all of them found bad.
    pub fn retro(&self, found: usize) {
        self.retro.set(i64::try_from(found).unwrap_or(i64::MAX));
    }

    /// Somebody received what is known to be bad now.
    pub fn retro_told(&self) {
        self.retro_told.inc();
    }

    /// A look at what was delivered. `cause`: change, digest or command.
    pub fn retro_run(&self, cause: &str, done: bool) {
        self.retro_runs.with_label_values(&[cause, if done { "done" } else { "failed" }]).inc();
    }

    /// A letter about it. `outcome`: sent or failed.
    pub fn retro_letter(&self, outcome: &str) {
        self.retro_letters.with_label_values(&[outcome]).inc();
    }

    pub fn reload(&self, outcome: Reload) {
        self.reloads.with_label_values(&[outcome.as_str()]).inc();
    }
}

/// The first values seen keep their names; the rest share one.
struct Bounded {
    most: usize,
    seen: Mutex<HashSet<Box<str>>>,
}

impl Bounded {
    fn new(most: usize) -> Self {
        Self { most, seen: Mutex::default() }
    }

    fn label<'a>(&self, value: &'a str) -> &'a str {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(value) {
            return value;
        }
        // A label is written out on every scrape: an over-long one is nobody's code.
        if seen.len() >= self.most || value.len() > 120 {
            return "other";
        }
        seen.insert(value.into());
        value
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut out = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_family_has_a_help_text_and_counts() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let agency = Destination::Agency("so-tttt".parse().unwrap());
        metrics.message(&agency, Action::Tag);
        metrics.stage(Stage::Whole, Duration::from_millis(3));
        metrics.finding("spf.fail");
        metrics.rule_hit("vn.advert", Mode::Shadow);
        metrics.reload(Reload::Refused);
        metrics.unsigned(Note::SmimeExpired);
        for lost in [3, 5] {
            metrics.receipts(lost, true);
        }
        let text = text(&registry);
        for line in [
            "luytre_messages_total{action=\"tag\",agency=\"so-tttt\",direction=\"in\"} 1",
            "luytre_findings_total{code=\"spf.fail\"} 1",
            "luytre_rule_hits_total{mode=\"shadow\",rule=\"vn.advert\"} 1",
            "luytre_policy_reloads_total{outcome=\"refused\"} 1",
            "luytre_policy_reloads_total{outcome=\"loaded\"} 0",
            "luytre_unsigned_total{reason=\"smime_expired\"} 1",
            "luytre_unsigned_total{reason=\"dkim_foreign_domain\"} 0",
            "luytre_receipts_lost_total 5",
            "luytre_receipts_failing 1",
            "luytre_stage_seconds_bucket{stage=\"whole\",le=\"0.005\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        for family in registry.gather() {
            assert!(!family.help().is_empty(), "{} has no HELP", family.name());
        }
    }

    #[test]
    fn labels_stay_bounded_whatever_rules_report() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        for i in 0..2 * MOST_CODES {
            metrics.finding(&format!("made.up.{i}"));
        }
        metrics.finding("made.up.7");
        let families = registry.gather();
        let findings = families.iter().find(|f| f.name() == "luytre_findings_total").unwrap();
        assert_eq!(findings.get_metric().len(), MOST_CODES + 1);
        assert!(text(&registry).contains(&format!("luytre_findings_total{{code=\"other\"}} {MOST_CODES}")));
        assert!(text(&registry).contains("luytre_findings_total{code=\"made.up.7\"} 2"));
    }
}
