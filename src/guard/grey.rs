//! Greylisting, only for those who look suspicious: come back later (RFC 6647).
//!
//! A pair is the client's network and the sender's domain; the recipient is left out (RFC 6647 §5), so a letter to ten
//! people waits once. Who came back is remembered, and so is who sent mail that was inspected and found clean: it will
//! not have to wait on the day it looks suspicious. A network known for several domains need not wait again. The table here is what decides; `run::store` keeps a copy that survives a restart.

use std::collections::HashMap;
use std::net::IpAddr;

use super::network_of;
use crate::listen::admit::key;
use crate::mail::{Span, Timestamp};

/// Pairs remembered at a time.
const MOST: usize = 100_000;
/// Who has not come back by then begins anew (RFC 6647 §5: a day at least).
const PATIENCE: Span = Span::days(2);
/// A network that came back for so many domains is a mail server.
const WELL_KNOWN: usize = 3;
/// A good sender is noted anew after this, not with every message.
const NOTED: Span = Span::hours(12);

/// A client's network (or the client itself) and a sender's domain; empty for the null sender.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pair {
    pub network: IpAddr,
    pub domain: String,
}

impl Pair {
    #[must_use]
    pub fn new(client: IpAddr, domain: &str) -> Self {
        Self { network: network_of(client), domain: domain.to_ascii_lowercase() }
    }

    /// This client alone: that its mail was clean says nothing of its neighbours.
    #[must_use]
    pub fn exact(client: IpAddr, domain: &str) -> Self {
        Self { network: key(client), domain: domain.to_ascii_lowercase() }
    }
}

/// What is known of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    pub first: Timestamp,
    pub last: Timestamp,
    /// It came back after the wait, or sent good mail.
    pub passed: bool,
}

/// The decision about one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Pass,
    /// Too early by so much.
    Wait(Span),
}

/// How long to wait, and how long who came back is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    pub wait: Span,
    pub keep: Span,
}

/// Since when a pair must have been seen to be remembered still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Horizon {
    /// Those who came back.
    pub passed: Timestamp,
    /// Those who have not.
    pub waiting: Timestamp,
}

impl Terms {
    #[must_use]
    pub fn horizon(self, now: Timestamp) -> Horizon {
        Horizon { passed: now - self.keep, waiting: now - PATIENCE.max(self.wait.doubled(1)) }
    }
}

/// All pairs.
#[derive(Debug)]
pub struct Greylist {
    known: HashMap<Pair, Known>,
    /// How many domains of a network came back.
    passed: HashMap<IpAddr, usize>,
    most: usize,
}

impl Default for Greylist {
    fn default() -> Self {
        Self::of_size(MOST)
    }
}

impl Greylist {
    #[must_use]
    pub fn of_size(most: usize) -> Self {
        Self { known: HashMap::new(), passed: HashMap::new(), most }
    }

    /// Takes back what was kept.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = (Pair, Known)>, terms: Terms, now: Timestamp) {
        for (pair, known) in rows {
            if self.known.len() < self.most && !is_over(&known, terms, now) {
                self.put(pair, known);
            }
        }
    }

    /// Whether this attempt passes; the table is changed by it.
    pub fn attempt(&mut self, pair: &Pair, terms: Terms, now: Timestamp) -> Answer {
        if terms.wait.is_zero() {
            return Answer::Pass;
        }
        let known = self.known.get(pair).copied().filter(|known| !is_over(known, terms, now));
        let Some(mut known) = known else {
            if self.passed.get(&pair.network).copied().unwrap_or(0) >= WELL_KNOWN {
                return Answer::Pass;
            }
            self.make_room(terms, now);
            self.put(pair.clone(), Known { first: now, last: now, passed: false });
            return Answer::Wait(terms.wait);
        };
        let waited = now.since(known.first);
        known.last = now;
        known.passed |= waited >= terms.wait;
        self.put(pair.clone(), known);
        if known.passed {
            Answer::Pass
        } else {
            Answer::Wait(Span::millis(terms.wait.as_millis().saturating_sub(waited.as_millis())))
        }
    }

    /// Whether mail of this pair was clean before.
    #[must_use]
    pub fn is_good(&self, pair: &Pair, terms: Terms, now: Timestamp) -> bool {
        self.known.get(pair).is_some_and(|known| known.passed && !is_over(known, terms, now))
    }

    /// Mail of this pair was clean. What changed by it, if it was not known.
    pub fn learn(&mut self, pair: &Pair, terms: Terms, now: Timestamp) -> Option<Known> {
        let before = self.known.get(pair).copied().filter(|known| !is_over(known, terms, now));
        if terms.wait.is_zero() || before.is_some_and(|known| known.passed && now.since(known.last) < NOTED) {
            return None;
        }
        if !self.known.contains_key(pair) {
            self.make_room(terms, now);
        }
        let known = Known { first: before.map_or(now, |known| known.first), last: now, passed: true };
        self.put(pair.clone(), known);
        Some(known)
    }

    #[must_use]
    pub fn get(&self, pair: &Pair) -> Option<Known> {
        self.known.get(pair).copied()
    }

    /// Forgets what is over.
    pub fn expire(&mut self, terms: Terms, now: Timestamp) {
        let over = self.known.iter().filter(|(_, known)| is_over(known, terms, now));
        let gone: Vec<Pair> = over.map(|(pair, _)| pair.clone()).collect();
        gone.iter().for_each(|pair| self.remove(pair));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn put(&mut self, pair: Pair, known: Known) {
        let network = pair.network;
        let before = self.known.insert(pair, known).is_some_and(|before| before.passed);
        if known.passed && !before {
            let count = self.passed.entry(network).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    fn remove(&mut self, pair: &Pair) {
        let Some(known) = self.known.remove(pair) else { return };
        if known.passed
            && let Some(count) = self.passed.get_mut(&pair.network)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.passed.remove(&pair.network);
            }
        }
    }

    /// Full: what is over goes, then those who never came back, then the older half. They wait once more.
    fn make_room(&mut self, terms: Terms, now: Timestamp) {
        if self.known.len() < self.most {
            return;
        }
        self.expire(terms, now);
        for only_waiting in [true, false] {
            if self.known.len() < self.most {
                return;
            }
            let matches = |known: &Known| !(only_waiting && known.passed);
            let mut seen: Vec<Timestamp> = self.known.values().filter(|k| matches(k)).map(|k| k.last).collect();
            if seen.is_empty() {
                continue;
            }
            let middle = seen.len() / 2;
            let (_, median, _) = seen.select_nth_unstable(middle);
            let median = *median;
            let old = self.known.iter().filter(|(_, k)| matches(k) && k.last <= median);
            let gone: Vec<Pair> = old.map(|(pair, _)| pair.clone()).collect();
            gone.iter().for_each(|pair| self.remove(pair));
        }
    }
}

fn is_over(known: &Known, terms: Terms, now: Timestamp) -> bool {
    let horizon = terms.horizon(now);
    known.last < if known.passed { horizon.passed } else { horizon.waiting }
}
