//! Clean verdicts remembered: by engine, its version, and the digest of the octets. Bounded in number and age; a find,
//! an objection or an error is never remembered, and neither is anything of an engine that does not say its version.

use std::collections::{HashMap, VecDeque};

use crate::mail::{Span, Timestamp};

/// Digest of octets, and of the engine's id and version.
type Key = ([u8; 32], [u8; 32]);

#[derive(Clone, Debug, Default)]
pub struct Memory {
    clean: HashMap<Key, Timestamp>,
    /// In the order they came in.
    order: VecDeque<(Key, Timestamp)>,
}

impl Memory {
    /// Whether the engine, as it is now, called these octets clean not longer than `age` ago.
    #[must_use]
    pub fn knows(&self, octets: [u8; 32], engine: [u8; 32], now: Timestamp, age: Span) -> bool {
        self.clean.get(&(octets, engine)).is_some_and(|at| *at <= now && now < *at + age)
    }

    pub fn learn(&mut self, octets: [u8; 32], engine: [u8; 32], now: Timestamp, most: usize, age: Span) {
        let key = (octets, engine);
        // An entry learned again lives by its new time; the old place in the row is then nobody's.
        self.clean.insert(key, now);
        self.order.push_back((key, now));
        while let Some((key, at)) = self.order.front().copied() {
            let is_old = now >= at + age || at > now;
            if !is_old && self.clean.len() <= most && self.order.len() <= most.saturating_mul(2) {
                break;
            }
            self.order.pop_front();
            if self.clean.get(&key) == Some(&at) {
                self.clean.remove(&key);
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.clean.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clean.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Span = Span::seconds(100);

    #[test]
    fn another_version_or_other_octets_are_not_known() {
        let mut memory = Memory::default();
        let now = Timestamp::EPOCH;
        memory.learn([1; 32], [1; 32], now, 10, AGE);
        assert!(memory.knows([1; 32], [1; 32], now + Span::seconds(99), AGE));
        assert!(!memory.knows([1; 32], [1; 32], now + Span::seconds(100), AGE), "too old");
        assert!(!memory.knows([1; 32], [2; 32], now, AGE), "another version");
        assert!(!memory.knows([2; 32], [1; 32], now, AGE), "other octets");
    }

    #[test]
    fn it_stays_as_large_as_allowed() {
        let mut memory = Memory::default();
        for n in 0..1000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&(n % 50).to_be_bytes());
            memory.learn(digest, [0; 32], Timestamp::from_seconds(i64::from(n / 10)), 20, AGE);
            assert!(memory.len() <= 20 && memory.order.len() <= 40);
        }
        memory.learn([9; 32], [0; 32], Timestamp::from_seconds(10_000), 20, AGE);
        assert_eq!(memory.len(), 1, "the old ones went");
        memory.learn([9; 32], [1; 32], Timestamp::from_seconds(10_000), 0, AGE);
        assert!(memory.is_empty(), "room for none");
    }
}
