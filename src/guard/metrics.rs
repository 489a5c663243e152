//! Counters of the guard. No label holds an address or a name of a stranger.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::ban::Offence;

/// What the guard did with somebody, as a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Did {
    Trusted,
    Clear,
    Suspect,
    Refused,
    Greylisted,
    Returned,
    Slowed,
    Rate,
    Banned,
    Trap,
    DnsDegraded,
}

impl Did {
    const ALL: [Self; 11] = [
        Self::Trusted,
        Self::Clear,
        Self::Suspect,
        Self::Refused,
        Self::Greylisted,
        Self::Returned,
        Self::Slowed,
        Self::Rate,
        Self::Banned,
        Self::Trap,
        Self::DnsDegraded,
    ];
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Clear => "clear",
            Self::Suspect => "suspect",
            Self::Refused => "refused",
            Self::Greylisted => "greylisted",
            Self::Returned => "returned",
            Self::Slowed => "slowed",
            Self::Rate => "rate",
            Self::Banned => "banned",
            Self::Trap => "trap",
            Self::DnsDegraded => "dns_degraded",
        }
    }
}

/// What operators see of the guard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    did: IntCounterVec,
    bans: IntCounterVec,
    banned: IntGauge,
    greylist: IntGauge,
    greylist_kept: IntGauge,
    lists: IntGaugeVec,
    kept: IntGauge,
    events: IntCounter,
    events_lost: IntCounter,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let did = IntCounterVec::new(
            Opts::new("luytre_guard_total", "What the defence before DATA did with clients, by its answer."),
            &["answer"],
        )?;
        registry.register(Box::new(did.clone()))?;
        let bans = IntCounterVec::new(
            Opts::new("luytre_guard_bans_total", "Addresses that were banned, by what they did."),
            &["offence"],
        )?;
        registry.register(Box::new(bans.clone()))?;
        let lists = IntGaugeVec::new(
            Opts::new("luytre_guard_list_up", "1 when a configured DNS list works, 0 when it counts nothing."),
            &["list"],
        )?;
        registry.register(Box::new(lists.clone()))?;
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        Did::ALL.iter().for_each(|answer| drop(did.with_label_values(&[answer.as_str()])));
        Offence::ALL.iter().for_each(|offence| drop(bans.with_label_values(&[offence.as_str()])));
        Ok(Self {
            did,
            bans,
            lists,
            kept: gauge(
                "luytre_guard_kept",
                "1 when bans and rates are written down, 0 when they would not survive a restart.",
            )?,
            banned: gauge("luytre_guard_banned", "Addresses that are banned now.")?,
            greylist: gauge("luytre_greylist_pairs", "Pairs of network and sender domain that greylisting remembers.")?,
            greylist_kept: gauge(
                "luytre_greylist_kept",
                "1 when the greylist's copy on disk is written, 0 when it would not survive a restart.",
            )?,
            events: counter("luytre_events_total", "Refusals and bans written as events.")?,
            events_lost: counter(
                "luytre_events_lost_total",
                "Events that could not be written: too many at once, a full day's file, or no collector.",
            )?,
        })
    }

    pub(super) fn did(&self, what: Did) {
        self.did.with_label_values(&[what.as_str()]).inc();
    }
    pub(super) fn ban(&self, offence: Offence) {
        self.bans.with_label_values(&[offence.as_str()]).inc();
    }
    pub(super) fn sizes(&self, banned: usize, greylist: usize) {
        self.banned.set(i64::try_from(banned).unwrap_or(i64::MAX));
        self.greylist.set(i64::try_from(greylist).unwrap_or(i64::MAX));
    }
    pub(super) fn greylist_is_kept(&self, kept: bool) {
        self.greylist_kept.set(i64::from(kept));
    }
    pub(super) fn is_kept(&self, kept: bool) {
        self.kept.set(i64::from(kept));
    }
    /// All configured lists; others are forgotten. The names are the operator's own.
    pub(super) fn lists<'a>(&self, all: impl Iterator<Item = (&'a str, bool)>) {
        self.lists.reset();
        all.for_each(|(list, works)| self.list(list, works));
    }
    pub(super) fn list(&self, list: &str, works: bool) {
        self.lists.with_label_values(&[list]).set(i64::from(works));
    }
    pub(super) fn event(&self) {
        self.events.inc();
    }
    pub(super) fn event_lost(&self) {
        self.events_lost.inc();
    }
}
