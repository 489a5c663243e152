//! What is in the queue, in memory: where each message lies, when it is due, who has it. Some 150 octets a message
//! whatever its size; descriptions and answers of servers stay on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::frame::State;
use super::segment::{Place, Segment};
use super::sieve::{Mark, Sieve};
use crate::mail::Timestamp;

/// Messages that one look through the queue passes while it holds the index.
const STEP: usize = 10_000;

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
    /// Whose it is.
    pub mark: Mark,
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
    /// Waiting and not held, by due time, each agency's by themselves: one with a mountain of mail that is due must not
    /// stand before all others (DOMAIN R24).
    due: BTreeMap<Mark, BTreeSet<(Timestamp, u64)>>,
    /// Whose turn it was last.
    turn: Mark,
    /// By the number of the file.
    pub segments: BTreeMap<u32, Used>,
    live_bytes: u64,
    claimed: usize,
    held: usize,
}

impl Entry {
    /// A message as its record describes it.
    #[must_use]
    pub const fn new(place: Place, state: &State, hand: Hand, mark: Mark) -> Self {
        Self { place, state: None, due: state.due, since: state.since, left: state.left, hand, held: state.held, mark }
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

    /// Up to `limit` keys by age, those after `after` that pass; and behind which to go on, `None` at the end. Looks at a
    /// bounded number of messages, so that others wait for less than a millisecond.
    pub fn sifted(&self, after: Option<u64>, limit: usize, sieve: &Sieve) -> (Vec<u64>, Option<u64>) {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let (mut keys, mut looked_at) = (Vec::new(), 0_usize);
        for (key, entry) in self.entries.range((from, std::ops::Bound::Unbounded)) {
            if sieve.passes(entry.mark, entry.since, entry.held) {
                keys.push(*key);
            }
            looked_at = looked_at.saturating_add(1);
            if keys.len() >= limit || looked_at >= STEP {
                return (keys, Some(*key));
            }
        }
        (keys, None)
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

    /// Takes up to `limit` messages that are due: the agencies in turns, of each the longest due first.
    pub fn claim(&mut self, now: Timestamp, limit: usize) -> Vec<u64> {
        let mut keys = Vec::new();
        let (before, behind): (Vec<Mark>, Vec<Mark>) = self.due.keys().copied().partition(|mark| *mark <= self.turn);
        let mut turns: Vec<Mark> = behind.into_iter().chain(before).collect();
        while !turns.is_empty() && keys.len() < limit {
            turns.retain(|mark| {
                let first = self.due.get(mark).and_then(|set| set.first()).filter(|(due, _)| *due <= now);
                let Some((_, key)) = first.copied().filter(|_| keys.len() < limit) else { return false };
                self.change(key, |entry| entry.hand = Hand::Claimed);
                self.turn = *mark;
                keys.push(key);
                true
            });
        }
        keys
    }

    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.values().filter_map(|set| set.first()).map(|(due, _)| *due).min()
    }

    #[must_use]
    pub fn last_due(&self) -> Option<Timestamp> {
        self.due.values().filter_map(|set| set.last()).map(|(due, _)| *due).max()
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
            self.due.entry(entry.mark).or_default().insert((entry.due, key));
        }
        self.claimed += usize::from(entry.hand != Hand::Waiting);
        self.held += usize::from(entry.held);
    }

    fn unfile(&mut self, key: u64, entry: &Entry) {
        if entry.in_due()
            && let Some(set) = self.due.get_mut(&entry.mark)
        {
            set.remove(&(entry.due, key));
            if set.is_empty() {
                self.due.remove(&entry.mark);
            }
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
            index.insert(key, Entry::new(Place::new(0, key * 64, 64), &state, Hand::Waiting, Mark::default()));
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
    fn r24_agencies_come_in_turns_however_much_of_one_is_due() {
        let mut index = index(&[10; 1000]);
        for (key, mark, due) in [(1001, 7, 20), (1002, 7, 15), (1003, 9, 40), (1004, 9, 99)] {
            let state = State { due: at(due), ..State::default() };
            index.insert(key, Entry::new(Place::default(), &state, Hand::Waiting, Mark(mark)));
        }
        assert_eq!(index.claim(at(50), 5), [1002, 1003, 0, 1001, 1], "each in its turn, of each the longest due");
        assert_eq!(index.claim(at(50), 2), [2, 3]);
        assert_eq!((index.next_due(), index.last_due()), (Some(at(10)), Some(at(99))));
        index.put_back(1002, at(30));
        assert_eq!(index.claim(at(50), 2), [1002, 4], "who was asleep comes next");
        assert_eq!(index.claim(at(50), usize::MAX).len(), 995);
        assert_eq!(index.next_due(), Some(at(99)));
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
        index.insert(7, Entry::new(Place::default(), &state, Hand::Doubt, Mark::default()));
        assert!(!index.retry(7, at(10), Hand::Waiting));
        assert_eq!(index.claim(at(10), 9), [0_u64; 0]);
        assert!(index.retry(7, at(10), Hand::Doubt), "its owner has lost the connection");
        assert_eq!(index.claim(at(10), 9), [7]);
    }

    #[test]
    fn a_look_through_the_queue_is_bounded_and_leaves_out_nothing_that_is_meant() {
        let agency: crate::mail::AgencyId = "so-yte".parse().unwrap();
        let mut index = index(&vec![10; 3 * STEP]);
        let mine =
            Entry::new(Place::default(), &State { since: at(5), ..State::default() }, Hand::Waiting, Mark::of(&agency));
        index.remove(STEP as u64 + 1);
        index.insert(STEP as u64 + 1, mine);
        let all = |sieve: &Sieve, limit: usize| {
            let (mut found, mut after, mut calls) = (Vec::new(), None, 0);
            loop {
                let (keys, next) = index.sifted(after, limit, sieve);
                assert!(keys.len() <= limit);
                found.extend(keys);
                calls += 1;
                match next {
                    Some(_) => after = next,
                    None => return (found, calls),
                }
            }
        };
        assert_eq!(all(&Sieve::default(), usize::MAX).0.len(), 3 * STEP);
        let (found, calls) = all(&Sieve { before: Some(at(0)), ..Sieve::default() }, 100);
        assert_eq!((found.len(), calls), (0, 4), "each call looks at so many and no more");
        // Without a mark a message may be anybody's: its description tells.
        let sieve = Sieve { agency: Some(agency.clone()), ..Sieve::default() };
        assert_eq!(all(&sieve, 100).0.len(), 3 * STEP);
        let other = Sieve { agency: Some("so-tttt".parse().unwrap()), ..Sieve::default() };
        assert_eq!(all(&other, 100).0.len(), 3 * STEP - 1);
        assert!(all(&Sieve { held: Some(true), ..Sieve::default() }, 100).0.is_empty());
    }

    #[test]
    fn an_entry_and_its_due_time_stay_small() {
        // B-tree nodes are at worst half full: twice the payload, both trees together.
        let octets = 2 * (size_of::<Entry>() + 8 + size_of::<(Timestamp, u64)>());
        assert!(octets <= 200, "{octets}");
    }
}
