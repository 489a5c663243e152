//! Switching the emergency bypass, with a record of who did it and why.

use super::control::Reply;
use crate::env::Clock;
use crate::mail::{Span, Timestamp};
use crate::pipeline::run::bypass::{Bypass, LONGEST, Order};
use crate::report::metrics::Metrics;
use crate::report::record::run::Log;
use crate::report::record::{Act, Entry};

/// The switch and its record.
#[derive(Clone)]
pub(super) struct Emergency {
    pub bypass: Bypass,
    pub clock: Clock,
    pub record: Log,
}

impl Emergency {
    pub fn on(&self, span: Span, by: &str, reason: &str) -> Reply {
        if reason.trim().is_empty() {
            return Reply::failed("the bypass needs a --reason");
        }
        if span.is_zero() || span > LONGEST {
            return Reply::failed(format!("--for must be more than 0 and at most {LONGEST}"));
        }
        let now = self.clock.now();
        let order = Order { by: by.to_owned(), reason: reason.to_owned(), since: now, until: now + span };
        if let Err(error) = self.bypass.on(order.clone()) {
            return Reply::failed(format!("the bypass could not be switched on: {error}"));
        }
        tracing::error!(by, reason, until = %order.until, "the emergency bypass is on: no content rules, no spam rules");
        self.note("bypass.on", by, reason, &order);
        self.status()
    }

    pub fn off(&self, by: &str, reason: &str) -> Reply {
        match self.bypass.off() {
            Ok(None) => Reply::failed("the bypass is off already"),
            Ok(Some(order)) => {
                tracing::warn!(by, reason, "the emergency bypass is off");
                self.note("bypass.off", by, reason, &order);
                self.status()
            }
            Err(error) => Reply::failed(format!(
                "it is off now, but its file could not be removed, so a restart finds it: {error}"
            )),
        }
    }

    pub fn value(&self) -> serde_json::Value {
        match self.bypass.active(self.clock.now()) {
            None => serde_json::json!({ "on": false }),
            Some(order) => serde_json::json!({
                "on": true, "by": order.by, "reason": order.reason,
                "since": order.since.rfc3339(), "until": order.until.rfc3339(),
            }),
        }
    }

    pub fn status(&self) -> Reply {
        Reply::Value { value: self.value() }
    }

    /// Each second: ends what is over, and tells the metric.
    pub fn tick(&self, metrics: &Metrics) {
        let now = self.clock.now();
        if let Some(order) = self.bypass.expire(now) {
            tracing::warn!(by = order.by, "the emergency bypass has ended by itself");
            self.note("bypass.expired", &order.by, &order.reason, &order);
        }
        metrics.bypass(self.bypass.active(now).is_some());
    }

    fn note(&self, what: &str, by: &str, reason: &str, order: &Order) {
        let act = Act {
            what: what.to_owned(),
            about: "gateway".to_owned(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            detail: format!("since {} until {}", order.since, order.until),
        };
        let now: Timestamp = self.clock.now();
        self.record.write(now, Entry::Act(act));
    }
}
