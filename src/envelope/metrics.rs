//! Counters of the envelope.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::known::Answer;
use crate::mail::AgencyId;

/// Who knows whether a mailbox exists, as a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Memory,
    Callout,
    Ldap,
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Callout => "callout",
            Self::Ldap => "ldap",
        }
    }
}

const fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Exists => "exists",
        Answer::Unknown => "unknown",
        Answer::Unsure => "unsure",
    }
}

/// What operators see of recipient checks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    checks: IntCounterVec,
    catch_all: IntGaugeVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let checks = IntCounterVec::new(
            Opts::new(
                "luytre_recipient_checks_total",
                "Recipients that were looked up, by who was asked and what came back; unsure: nobody could tell.",
            ),
            &["source", "answer"],
        )?;
        registry.register(Box::new(checks.clone()))?;
        for source in [Source::Memory, Source::Callout, Source::Ldap] {
            for answer in [Answer::Exists, Answer::Unknown, Answer::Unsure] {
                drop(checks.with_label_values(&[source.as_str(), word(answer)]));
            }
        }
        let catch_all = IntGaugeVec::new(
            Opts::new(
                "luytre_recipient_catch_all",
                "1 when an agency's server said yes to a mailbox that nobody has: callout tells nothing there.",
            ),
            &["agency"],
        )?;
        registry.register(Box::new(catch_all.clone()))?;
        Ok(Self { checks, catch_all })
    }

    pub fn catch_all(&self, agency: &AgencyId, is_one: bool) {
        self.catch_all.with_label_values(&[&agency.to_string()]).set(i64::from(is_one));
    }

    pub fn checked(&self, source: Source, answer: Answer) {
        self.checks.with_label_values(&[source.as_str(), word(answer)]).inc();
    }
}
