//! What is remembered of mailboxes that somebody else knows: a directory, or the agency's own server.
//!
//! A yes holds longer than a no: a new colleague should not wait a day, and a name that was guessed wrong should not be
//! asked for again at once. What has run out still stands in while nobody answers.

use std::hash::{BuildHasher, RandomState};

use crate::mail::memory::{self, Fading};
use crate::mail::{Span, Timestamp};

/// Mailboxes remembered at a time.
const MOST: usize = 200_000;
/// How long each answer is good.
const YES: Span = Span::hours(24);
const NO: Span = Span::hours(2);
/// How long it may stand in when nobody answers.
const STALE: Span = Span::days(14);

/// Whether a mailbox exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Exists,
    Unknown,
    /// Nobody could tell; the letter is taken, and its delivery will say.
    Unsure,
}

/// What is remembered of one mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Need not be asked again.
    Fresh(Answer),
    /// To be asked again; this stands in when there is no answer.
    Old(Answer),
    Nothing,
}

/// What was heard of one mailbox.
#[derive(Clone, Copy, Debug)]
struct Heard {
    exists: bool,
    at: Timestamp,
}

impl Fading for Heard {
    /// The guesses go first: they are what fills the table.
    type Worth = (bool, Timestamp);

    fn worth(&self, _: Timestamp) -> (bool, Timestamp) {
        (self.exists, self.at)
    }
}

/// The table. Addresses are kept as keyed hashes: it is no list of anybody's staff.
#[derive(Debug)]
pub struct Known {
    hasher: RandomState,
    table: memory::Memory<u64, Heard>,
}

impl Default for Known {
    fn default() -> Self {
        Self::of_size(MOST)
    }
}

impl Known {
    #[must_use]
    pub fn of_size(most: usize) -> Self {
        Self { hasher: RandomState::new(), table: memory::Memory::of_size(most) }
    }

    /// `mailbox` as [`crate::mail::Mailbox::folded`] writes it, behind the agency's id.
    #[must_use]
    pub fn recall(&self, mailbox: &str, now: Timestamp) -> Memory {
        let Some(Heard { exists, at }) = self.table.get(&self.hasher.hash_one(mailbox)).copied() else {
            return Memory::Nothing;
        };
        let (age, answer) = (now.since(at), if exists { Answer::Exists } else { Answer::Unknown });
        match age {
            age if age <= if exists { YES } else { NO } => Memory::Fresh(answer),
            age if age <= STALE => Memory::Old(answer),
            _ => Memory::Nothing,
        }
    }

    /// Remembers an answer; not knowing is nothing to remember.
    pub fn learn(&mut self, mailbox: &str, answer: Answer, now: Timestamp) {
        if answer == Answer::Unsure {
            return;
        }
        let heard = Heard { exists: answer == Answer::Exists, at: now };
        self.table.put(self.hasher.hash_one(mailbox), heard, now);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_holds_a_day_a_no_two_hours_and_both_stand_in_for_two_weeks() {
        let (mut known, start) = (Known::default(), Timestamp::from_seconds(1_800_000_000));
        known.learn("so/an@a.test", Answer::Exists, start);
        known.learn("so/x@a.test", Answer::Unknown, start);
        known.learn("so/y@a.test", Answer::Unsure, start);
        let after = |hours| start + Span::hours(hours);
        assert_eq!(known.recall("so/an@a.test", after(24)), Memory::Fresh(Answer::Exists));
        assert_eq!(known.recall("so/an@a.test", after(25)), Memory::Old(Answer::Exists));
        assert_eq!(known.recall("so/x@a.test", after(2)), Memory::Fresh(Answer::Unknown));
        assert_eq!(known.recall("so/x@a.test", after(3)), Memory::Old(Answer::Unknown));
        assert_eq!(known.recall("so/an@a.test", after(24 * 15)), Memory::Nothing);
        assert_eq!(known.recall("so/y@a.test", start), Memory::Nothing);
        assert_eq!(known.recall("other/an@a.test", start), Memory::Nothing);
    }

    #[test]
    fn threats_harvesting_does_not_push_out_those_who_exist() {
        let (mut known, start) = (Known::of_size(100), Timestamp::from_seconds(1_800_000_000));
        known.learn("so/an@a.test", Answer::Exists, start);
        for n in 0..1000 {
            known.learn(&format!("so/guess{n}@a.test"), Answer::Unknown, start);
            assert!(known.len() <= 100);
        }
        assert_eq!(known.recall("so/an@a.test", start), Memory::Fresh(Answer::Exists));
    }
}
