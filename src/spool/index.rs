//! What is in the queue, in memory: where each message lies, when it is due, who has it. Some 150 octets a message
//! whatever its size; descriptions and answers of servers stay on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::frame::State;
use super::segment::{Place, Segment};
use crate::mail::Timestamp;

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub place: Place,
    /// The record with its latest state; `None`: the state in the message's own record holds.
    pub state: Option<Place>,
    pub due: Timestamp,
    pub since: Timestamp,
    /// Recipients still to be served.
    pub left: u32,
    pub hand: Hand,
    pub held: bool,
}

/// In whose hands a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hand {
    /// Nobody's: it comes up when it is due.
    Waiting,
    /// An attempt is under way.
    Claimed,
    /// A connection has it and its answer is awaited; it comes up when due, and only its owner can make it due.
    Doubt,
}

/// A segment that holds records.
#[derive(Debug)]
pub struct Used {
    pub segment: Arc<Segment>,
    /// Messages of the queue that lie in it.
    pub live: usize,
    /// A write or sync of it failed: it takes nothing more, and its file is not used again.
    pub suspect: bool,
}

/// How many messages are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub total: usize,
    pub claimed: usize,
    pub held: usize,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Index {
    entries: BTreeMap<u64, Entry>,
    /// Waiting and not held, by due time.
    due: BTreeSet<(Timestamp, u64)>,
    /// By the number of the file.
    pub segments: BTreeMap<u32, Used>,
    live_bytes: u64,
    claimed: usize,
    held: usize,
}

impl Entry {
    /// A message as its record describes it.
    #[must_use]
    pub const fn new(place: Place, state: &State, hand: Hand) -> Self {
        Self { place, state: None, due: state.due, since: state.since, left: state.left, hand, held: state.held }
    }
    const fn in_due(&self) -> bool {
        !self.held && !matches!(self.hand, Hand::Claimed)
    }
}

impl Index {
    #[must_use]
    pub fn get(&self, key: u64) -> Option<Entry> {
        self.entries.get(&key).copied()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { total: self.entries.len(), claimed: self.claimed, held: self.held }
    }

    /// Octets in the log that are still needed.
    #[must_use]
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// When the oldest message was taken.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|(_, entry)| entry.since)
    }

    /// Keys by age, those after `after`.
    pub fn keys(&self, after: Option<u64>) -> impl Iterator<Item = u64> + '_ {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.entries.range((from, std::ops::Bound::Unbounded)).map(|(key, _)| *key)
    }

    /// Messages that lie in this segment file.
    #[must_use]
    pub fn keys_in(&self, segment: u32) -> Vec<u64> {
        self.entries.iter().filter(|(_, e)| e.place.segment == segment).map(|(key, _)| *key).collect()
    }

    /// A new message, or the new place of a known one (then only the place changes).
    pub fn insert(&mut self, key: u64, entry: Entry) {
        if let Some(known) = self.entries.get_mut(&key) {
            let old = std::mem::replace(&mut known.place, entry.place);
            known.state = None;
            self.weigh(old, -1);
        } else {
            self.entries.insert(key, entry);
            self.file(key, &entry);
        }
        self.weigh(entry.place, 1);
    }

    /// Takes a message out: it is done.
    pub fn remove(&mut self, key: u64) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.unfile(key, &entry);
        self.weigh(entry.place, -1);
        Some(entry)
    }

    /// A new delivery state; the message waits again.
    pub fn set_state(&mut self, key: u64, place: Option<Place>, state: &State) {
        self.change(key, |entry| {
            entry.state = place.or(entry.state);
            (entry.due, entry.left, entry.hand) = (state.due, state.left, Hand::Waiting);
        });
    }

    /// Where the latest state lies, when only that has changed.
    pub fn set_state_place(&mut self, key: u64, place: Place) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = Some(place);
        }
    }

    pub fn set_held(&mut self, key: u64, held: bool) {
        self.change(key, |entry| entry.held = held);
    }

    /// Gives a message back, due at `due`.
    pub fn put_back(&mut self, key: u64, due: Timestamp) {
        self.change(key, |entry| (entry.due, entry.hand) = (due, Hand::Waiting));
    }

    /// Makes one message due at `now`, unless it is held or in other hands than `hand` allows.
    pub fn retry(&mut self, key: u64, now: Timestamp, hand: Hand) -> bool {
        let can = self.entries.get(&key).is_some_and(|e| !e.held && (e.hand == Hand::Waiting || e.hand == hand));
        if can {
            self.change(key, |entry| (entry.due, entry.hand) = (entry.due.min(now), Hand::Waiting));
        }
        can
    }

    /// Takes up to `limit` messages that are due, the longest due first.
    pub fn claim(&mut self, now: Timestamp, limit: usize) -> Vec<u64> {
        let mut keys = Vec::new();
        while keys.len() < limit {
            let Some((due, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) else { break };
            self.change(key, |entry| entry.hand = Hand::Claimed);
            self.due.remove(&(due, key));
            keys.push(key);
        }
        keys
    }

    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    #[must_use]
    pub fn last_due(&self) -> Option<Timestamp> {
        self.due.last().map(|(due, _)| *due)
    }

    fn change(&mut self, key: u64, how: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.entries.get(&key).copied() else { return };
        self.unfile(key, &entry);
        how(&mut entry);
        self.file(key, &entry);
        self.entries.insert(key, entry);
    }

    fn file(&mut self, key: u64, entry: &Entry) {
        if entry.in_due() {
            self.due.insert((entry.due, key));
        }
        self.claimed += usize::from(entry.hand != Hand::Waiting);
        self.held += usize::from(entry.held);
    }

    fn unfile(&mut self, key: u64, entry: &Entry) {
        if entry.in_due() {
            self.due.remove(&(entry.due, key));
        }
        self.claimed -= usize::from(entry.hand != Hand::Waiting);
        self.held -= usize::from(entry.held);
    }

    fn weigh(&mut self, place: Place, by: isize) {
        if let Some(used) = self.segments.get_mut(&place.segment) {
            used.live = used.live.saturating_add_signed(by);
        }
        self.live_bytes = if by < 0 {
            self.live_bytes.saturating_sub(place.span())
        } else {
            self.live_bytes.saturating_add(place.span())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn index(dues: &[i64]) -> Index {
        let mut index = Index::default();
        for (key, due) in (0_u64..).zip(dues) {
            let state = State { due: at(*due), since: at(0), left: 1, ..State::default() };
            index.insert(key, Entry::new(Place::new(0, key * 64, 64), &state, Hand::Waiting));
        }
        index
    }

    #[test]
    fn the_longest_due_come_first_and_nobody_gets_them_twice() {
        let mut index = index(&[30, 10, 20, 99]);
        assert_eq!(index.claim(at(50), 2), [1, 2]);
        assert_eq!(index.claim(at(50), 2), [0]);
        assert_eq!(index.claim(at(50), 2), [0_u64; 0]);
        assert_eq!(index.next_due(), Some(at(99)));
        index.put_back(2, at(60));
        assert_eq!(index.next_due(), Some(at(60)));
        assert_eq!(index.counts(), Counts { total: 4, claimed: 2, held: 0 });
    }

    #[test]
    fn held_mail_never_comes_up_and_retry_does_not_wake_it() {
        let mut index = index(&[10]);
        index.set_held(0, true);
        assert!(!index.retry(0, at(50), Hand::Doubt));
        assert_eq!(index.claim(at(50), 9), [0_u64; 0]);
        index.set_held(0, false);
        assert_eq!(index.claim(at(50), 9), [0]);
        index.set_held(0, true);
        index.put_back(0, at(10));
        assert_eq!(index.claim(at(50), 9), [0_u64; 0], "a hold set during an attempt holds after it");
    }

    #[test]
    fn mail_in_doubt_comes_up_when_due_but_not_by_an_operators_retry() {
        let mut index = index(&[]);
        let state = State { due: at(600), ..State::default() };
        index.insert(7, Entry::new(Place::default(), &state, Hand::Doubt));
        assert!(!index.retry(7, at(10), Hand::Waiting));
        assert_eq!(index.claim(at(10), 9), [0_u64; 0]);
        assert!(index.retry(7, at(10), Hand::Doubt), "its owner has lost the connection");
        assert_eq!(index.claim(at(10), 9), [7]);
    }

    #[test]
    fn an_entry_and_its_due_time_stay_small() {
        // B-tree nodes are at worst half full: twice the payload, both trees together.
        let octets = 2 * (size_of::<Entry>() + 8 + size_of::<(Timestamp, u64)>());
        assert!(octets <= 200, "{octets}");
    }
}
