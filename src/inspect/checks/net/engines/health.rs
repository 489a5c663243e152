//! Whether an engine is asked: arithmetic over its last answers. Down after some failures in a row, at once when its
//! licence lapsed; then probed, first after a second, later less often, and up again with the first good answer.

use super::{About, Trouble};
use crate::mail::{Span, Timestamp};

/// Failures in a row that take an engine out.
const FAILURES: u32 = 3;
const FIRST_PAUSE: Span = Span::seconds(1);
const LONGEST_PAUSE: Span = Span::seconds(30);

/// What is known of an engine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    failures: u32,
    down: Option<Down>,
    pub about: About,
    pub last_good: Option<Timestamp>,
    pub last_trouble: Option<(Timestamp, String)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Down {
    since: Timestamp,
    probe_at: Timestamp,
    pause: Span,
    why: String,
}

/// A change worth telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    WentDown,
    CameUp,
}

impl Health {
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.down.is_none()
    }

    /// Since when it is down, and why.
    #[must_use]
    pub fn down(&self) -> Option<(Timestamp, &str)> {
        self.down.as_ref().map(|down| (down.since, down.why.as_str()))
    }

    /// Half open: time to ask it once whether it lives.
    #[must_use]
    pub fn is_probe_due(&self, now: Timestamp) -> bool {
        self.down.as_ref().is_some_and(|down| down.probe_at <= now)
    }

    /// An answer of any kind.
    pub fn good(&mut self, now: Timestamp) -> Option<Turn> {
        self.failures = 0;
        self.last_good = Some(now);
        self.down.take().map(|_| Turn::CameUp)
    }

    /// No answer. What lies in the octets (their size) says nothing about the engine, and neither does a full house.
    pub fn bad(&mut self, trouble: &Trouble, now: Timestamp) -> Option<Turn> {
        if matches!(trouble, Trouble::TooLarge(_) | Trouble::Busy | Trouble::Down(_)) {
            return None;
        }
        self.last_trouble = Some((now, trouble.to_string()));
        self.failures = self.failures.saturating_add(1);
        if let Some(down) = &mut self.down {
            // An answer to a question asked before it went down makes no pause longer.
            if down.probe_at <= now {
                down.pause = doubled(down.pause);
                down.probe_at = now + down.pause;
                down.why = trouble.to_string();
            }
            return None;
        }
        if self.failures < FAILURES && !matches!(trouble, Trouble::Licence(_)) {
            return None;
        }
        self.down =
            Some(Down { since: now, probe_at: now + FIRST_PAUSE, pause: FIRST_PAUSE, why: trouble.to_string() });
        Some(Turn::WentDown)
    }

    /// Seconds since its signatures were made; `None`: it does not say.
    #[must_use]
    pub fn signature_age(&self, now: Timestamp) -> Option<i64> {
        self.about.signatures_at.map(|made| now.seconds().saturating_sub(made).max(0))
    }
}

fn doubled(pause: Span) -> Span {
    Span::millis(pause.as_millis().saturating_mul(2)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::EPOCH;

    #[test]
    fn three_failures_take_it_out_and_one_answer_brings_it_back() {
        let mut health = Health::default();
        assert_eq!(health.bad(&Trouble::Cut, START), None);
        assert_eq!(health.bad(&Trouble::Timeout, START), None);
        health.good(START);
        assert_eq!(health.bad(&Trouble::Cut, START), None);
        assert_eq!(health.bad(&Trouble::Cut, START), None);
        assert_eq!(health.bad(&Trouble::Cut, START), Some(Turn::WentDown));
        assert!(!health.is_up() && !health.is_probe_due(START));
        assert!(health.is_probe_due(START + Span::seconds(1)));
        assert_eq!(health.good(START + Span::seconds(1)), Some(Turn::CameUp));
        assert!(health.is_up());
    }

    #[test]
    fn probes_come_later_and_later_but_never_stop() {
        let mut health = Health::default();
        let lapsed = Trouble::Licence("expired".to_owned());
        assert_eq!(health.bad(&lapsed, START), Some(Turn::WentDown), "a licence does not come back by itself");
        let (mut now, mut pauses) = (START, Vec::new());
        for _ in 0..8 {
            let asked = now;
            while !health.is_probe_due(now) {
                now = now + Span::seconds(1);
            }
            pauses.push(now.seconds() - asked.seconds());
            assert_eq!(health.bad(&lapsed, now), None);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn large_mail_takes_no_engine_out() {
        let mut health = Health::default();
        for _ in 0..10 {
            assert_eq!(health.bad(&Trouble::TooLarge(String::new()), START), None);
            assert_eq!(health.bad(&Trouble::Busy, START), None);
        }
        assert!(health.is_up());
    }
}
