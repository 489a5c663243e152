//! Whether a list in DNS can be believed: RFC 5782 §5 says what every list has, so that one can see whether it lives.
//!
//! A list of addresses has 127.0.0.2 and never 127.0.0.1; a list of domains has TEST and never INVALID. A list that was
//! given up, sold, or asked too much answers for everything, and whoever believes it refuses all mail. The question
//! about what no list has goes beside each look-up (its answer is cached), so such a list counts nothing from its first
//! wrong word on. One that has its test point no longer and never listed anybody here is silent: asking it is a waste.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::dnslist::{is_answer, is_refusal};
use super::settings::{Asks, List};
use crate::mail::{Domain, Span, Timestamp};

/// A list that was of no use is asked again after this.
pub const AGAIN: Span = Span::minutes(10);
/// So many looks in a row without its test point, and it is silent.
const SILENT_AFTER: u32 = 3;

/// What is wrong with a list. Stable words, for events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It lists what no list may have: it lists everybody.
    Everything,
    /// It says that it does not answer this resolver (127.255.255.0/24).
    Refuses,
    /// It has lost its test point, and lists nobody.
    Silent,
}

impl Fault {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "lists_everything",
            Self::Refuses => "refuses_us",
            Self::Silent => "silent",
        }
    }
}

/// What an answer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Broken(Fault),
    Mended,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    fault: Option<(Fault, Timestamp)>,
    silent: u32,
    has_hit: bool,
}

/// What is known of the configured lists.
#[derive(Debug, Default)]
pub struct Health(HashMap<Domain, State>);

/// What no list has (RFC 5782 §5).
#[must_use]
pub fn control_name(list: &List) -> String {
    match list.asks {
        Asks::Address => format!("1.0.0.127.{}", list.zone),
        Asks::Domain => format!("invalid.{}", list.zone),
    }
}

/// What every list has (RFC 5782 §5).
#[must_use]
pub fn test_name(list: &List) -> String {
    match list.asks {
        Asks::Address => format!("2.0.0.127.{}", list.zone),
        Asks::Domain => format!("test.{}", list.zone),
    }
}

impl Health {
    /// Whether it is asked about clients now.
    #[must_use]
    pub fn is_believed(&self, zone: &Domain) -> bool {
        self.0.get(zone).is_none_or(|state| state.fault.is_none())
    }

    /// Whether a look at it is due: one that is broken is looked at now and then.
    #[must_use]
    pub fn is_due(&self, zone: &Domain, now: Timestamp) -> bool {
        self.0.get(zone).and_then(|state| state.fault).is_none_or(|(_, at)| now.since(at) >= AGAIN)
    }

    /// The answer about what no list has; `None` where there was none, which says nothing.
    pub fn control(&mut self, zone: &Domain, answer: Option<&[Ipv4Addr]>, now: Timestamp) -> Option<Change> {
        let answer = answer?;
        let fault = match answer {
            answers if answers.iter().any(|ip| is_refusal(*ip)) => Some(Fault::Refuses),
            // Outside 127/8 too: a domain that was sold, or a resolver that lies.
            [] => None,
            _ => Some(Fault::Everything),
        };
        let state = self.0.entry(zone.clone()).or_default();
        match (fault, state.fault) {
            (Some(fault), before) => {
                state.fault = Some((fault, now));
                before.is_none_or(|(old, _)| old != fault).then_some(Change::Broken(fault))
            }
            (None, Some((Fault::Silent, _)) | None) => None,
            (None, Some(_)) => {
                state.fault = None;
                Some(Change::Mended)
            }
        }
    }

    /// The answer about what every list has.
    pub fn test(&mut self, zone: &Domain, answer: Option<&[Ipv4Addr]>, now: Timestamp) -> Option<Change> {
        let answer = answer?;
        let state = self.0.entry(zone.clone()).or_default();
        if answer.iter().any(|ip| is_answer(*ip)) {
            state.silent = 0;
            let was = state.fault.filter(|(fault, _)| *fault == Fault::Silent);
            return was.map(|_| {
                state.fault = None;
                Change::Mended
            });
        }
        state.silent = state.silent.saturating_add(1);
        match state.fault {
            Some((Fault::Silent, _)) => state.fault = Some((Fault::Silent, now)),
            None if state.silent >= SILENT_AFTER && !state.has_hit => {
                state.fault = Some((Fault::Silent, now));
                return Some(Change::Broken(Fault::Silent));
            }
            _ => {}
        }
        None
    }

    /// It listed somebody: it lives, whatever it says of its test point.
    pub fn hit(&mut self, zone: &Domain) {
        self.0.entry(zone.clone()).or_default().has_hit = true;
    }

    /// Forgets lists that are not configured any more.
    pub fn keep(&mut self, is_configured: impl Fn(&Domain) -> bool) {
        self.0.retain(|zone, _| is_configured(zone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn zone() -> Domain {
        Domain::parse("bl.test").unwrap()
    }
    fn ips(texts: &[&str]) -> Vec<Ipv4Addr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn rfc5782_5_a_list_that_lists_everything_counts_nothing_until_it_is_mended() {
        let mut health = Health::default();
        assert!(health.is_believed(&zone()));
        assert_eq!(health.control(&zone(), Some(&[]), NOW), None);
        for answer in [ips(&["127.0.0.2"]), ips(&["203.0.113.5"])] {
            let mut health = Health::default();
            assert_eq!(health.control(&zone(), Some(&answer), NOW), Some(Change::Broken(Fault::Everything)));
            assert_eq!(health.control(&zone(), Some(&answer), NOW), None, "told once");
            assert!(!health.is_believed(&zone()) && !health.is_due(&zone(), NOW));
            assert!(health.is_due(&zone(), NOW + AGAIN));
            assert_eq!(health.control(&zone(), None, NOW), None, "no answer says nothing");
            assert_eq!(health.control(&zone(), Some(&[]), NOW + AGAIN), Some(Change::Mended));
            assert!(health.is_believed(&zone()));
        }
        let refusal = ips(&["127.255.255.254"]);
        assert_eq!(health.control(&zone(), Some(&refusal), NOW), Some(Change::Broken(Fault::Refuses)));
    }

    #[test]
    fn rfc5782_5_a_list_without_its_test_point_is_silent_unless_it_ever_listed_anybody() {
        let mut health = Health::default();
        for _ in 1..SILENT_AFTER {
            assert_eq!(health.test(&zone(), Some(&[]), NOW), None);
        }
        assert_eq!(health.test(&zone(), None, NOW), None);
        assert_eq!(health.test(&zone(), Some(&[]), NOW), Some(Change::Broken(Fault::Silent)));
        assert_eq!(health.control(&zone(), Some(&[]), NOW), None, "that it does not list everything mends nothing");
        assert!(!health.is_believed(&zone()));
        assert_eq!(health.test(&zone(), Some(&ips(&["127.0.0.2"])), NOW), Some(Change::Mended));
        let mut private = Health::default();
        private.hit(&zone());
        assert!(
            (0..10).all(|_| private.test(&zone(), Some(&[]), NOW).is_none()),
            "an own list need have no test point"
        );
        private.keep(|_| false);
        assert!(private.0.is_empty());
    }

    #[test]
    fn rfc5782_5_the_points_that_are_asked_about() {
        let list = |asks| List { zone: zone(), points: 1.0, asks, answers: Vec::new() };
        assert_eq!(control_name(&list(Asks::Address)), "1.0.0.127.bl.test");
        assert_eq!(test_name(&list(Asks::Address)), "2.0.0.127.bl.test");
        assert_eq!(control_name(&list(Asks::Domain)), "invalid.bl.test");
        assert_eq!(test_name(&list(Asks::Domain)), "test.bl.test");
    }
}
