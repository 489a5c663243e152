//! Memory of many strangers that must not grow: a table of a fixed size that forgets by itself.
//!
//! Who comes under ever new names fills any table; then what is over goes, and of the rest the half that is worth least.
//! What is worth least each kind of thing says itself: mostly what was seen longest ago. Somebody who is in the table
//! already never pushes others out.

use std::collections::HashMap;
use std::hash::Hash;

use super::Timestamp;

/// Something that is remembered for a while.
pub trait Fading {
    /// What is lowest is forgotten first.
    type Worth: Ord + Copy;

    fn worth(&self, now: Timestamp) -> Self::Worth;

    /// Whether it says nothing any more, so that it can go without a loss.
    fn is_over(&self, now: Timestamp) -> bool {
        let _ = now;
        false
    }
}

/// Something that is known since a moment, and worth less the longer ago that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen<T> {
    pub what: T,
    pub at: Timestamp,
}

impl<T> Fading for Seen<T> {
    type Worth = Timestamp;

    fn worth(&self, _: Timestamp) -> Timestamp {
        self.at
    }
}

/// The table.
#[derive(Clone, Debug)]
pub struct Memory<K, V> {
    known: HashMap<K, V>,
    most: usize,
}

impl<K: Eq + Hash, V: Fading> Memory<K, V> {
    #[must_use]
    pub fn of_size(most: usize) -> Self {
        Self { known: HashMap::new(), most: most.max(1) }
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key)
    }

    /// What is known of `key`, or what `fresh` says from here on, and who was forgotten for it.
    pub fn meet(&mut self, key: K, now: Timestamp, fresh: impl FnOnce() -> V) -> (&mut V, Vec<(K, V)>) {
        let forgotten = self.make_room(&key, now);
        (self.known.entry(key).or_insert_with(fresh), forgotten)
    }

    /// Remembers this instead of what was known; who was forgotten for it.
    pub fn put(&mut self, key: K, value: V, now: Timestamp) -> Vec<(K, V)> {
        let forgotten = self.make_room(&key, now);
        self.known.insert(key, value);
        forgotten
    }

    /// Takes back what was saved, as long as there is room.
    pub fn restore(&mut self, rows: impl IntoIterator<Item = (K, V)>) {
        for (key, value) in rows {
            if self.known.len() < self.most {
                self.known.insert(key, value);
            }
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.known.remove(key)
    }

    /// Forgets what is not wanted any more; what went.
    pub fn forget(&mut self, mut is_over: impl FnMut(&V) -> bool) -> Vec<(K, V)> {
        self.known.extract_if(|_, value| is_over(value)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.known.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn make_room(&mut self, key: &K, now: Timestamp) -> Vec<(K, V)> {
        if self.known.len() < self.most || self.known.contains_key(key) {
            return Vec::new();
        }
        let mut gone = self.forget(|value| value.is_over(now));
        if self.known.len() >= self.most {
            let mut all: Vec<V::Worth> = self.known.values().map(|value| value.worth(now)).collect();
            let middle = all.len() / 2;
            let (_, median, _) = all.select_nth_unstable(middle);
            // And all that stand level with the last of them: there is room in any case.
            let median = *median;
            gone.extend(self.forget(|value| value.worth(now) <= median));
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Span;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn at(n: u64) -> Timestamp {
        START + Span::seconds(n)
    }
    fn seen(n: u64) -> Seen<u64> {
        Seen { what: n, at: at(n) }
    }

    #[test]
    fn the_newer_half_stays_and_those_who_are_known_push_nobody_out() {
        let mut memory = Memory::of_size(100);
        for n in 0..100 {
            assert!(memory.put(n, seen(n), at(n)).is_empty());
        }
        assert!(memory.put(7, seen(200), at(200)).is_empty(), "it is known already");
        let gone = memory.put(100, seen(100), at(200));
        assert_eq!((gone.len(), memory.len()), (51, 50));
        assert!(gone.iter().all(|(n, _)| *n < 52 && *n != 7));
        assert_eq!(memory.get(&7), Some(&seen(200)));
        let (met, gone) = memory.meet(300, at(300), || seen(300));
        met.what += 1;
        assert_eq!((memory.get(&300).map(|seen| seen.what), gone.len()), (Some(301), 0));
    }

    #[test]
    fn there_is_room_in_any_case() {
        let mut level = Memory::of_size(10);
        for n in 0..1000_u32 {
            level.put(n, Seen { what: (), at: START }, START);
            assert!(level.len() <= 10 && level.get(&n).is_some());
        }
        let mut tiny = Memory::of_size(0);
        tiny.put(1, seen(1), START);
        tiny.put(2, seen(2), START);
        assert_eq!(tiny.len(), 1);
    }

    #[test]
    fn what_is_over_goes_before_what_is_worth_little() {
        #[derive(Clone, Copy)]
        struct Until(Timestamp);
        impl Fading for Until {
            type Worth = Timestamp;
            fn worth(&self, _: Timestamp) -> Timestamp {
                self.0
            }
            fn is_over(&self, now: Timestamp) -> bool {
                self.0 <= now
            }
        }
        let mut memory = Memory::of_size(10);
        (0..10).for_each(|n| drop(memory.put(n, Until(at(n)), START)));
        assert_eq!(memory.put(10, Until(at(99)), at(2)).len(), 3, "three were over, and that is room enough");
        assert_eq!(memory.forget(|until| until.0 < at(5)).len(), 2);
        let mut again = Memory::of_size(3);
        again.restore(memory.iter().map(|(n, until)| (*n, *until)));
        assert_eq!(again.len(), 3);
    }
}
