//! Who may wait for an inspector, and who goes first: arithmetic over what waits and how long the work takes.
//! A 50 MiB archive never makes a 5 KiB letter wait, and nobody waits who would be refused in the end anyway.

use std::time::Duration;

/// Messages up to this size have an inspector of their own.
pub const SMALL_BYTES: usize = 256 << 10;
/// Octets of messages that may wait together.
const WAITING_BYTES: usize = 256 << 20;
/// How much the newest measurement counts in the mean.
const NEWEST: f64 = 0.1;

/// Which inspectors may take a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Any inspector.
    Small,
    /// All but the one that is kept for small mail.
    Large,
}

impl Lane {
    #[must_use]
    pub const fn of(size_bytes: usize) -> Self {
        if size_bytes <= SMALL_BYTES { Self::Small } else { Self::Large }
    }
    /// Whether an inspector that is `kept` for small mail, or not, serves this lane.
    #[must_use]
    pub const fn fits(self, kept: bool) -> bool {
        matches!(self, Self::Small) || !kept
    }
}

/// What waits, and what the work costs.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub waiting: usize,
    pub waiting_bytes: usize,
    mean_seconds: f64,
}

impl Load {
    /// Whether one more message of `size_bytes` may wait for one of `workers`, with `left` of its deadline.
    #[must_use]
    pub fn admits(&self, size_bytes: usize, workers: usize, left: Duration) -> bool {
        // An empty queue takes any message that got this far.
        let room = self.waiting == 0 || self.waiting_bytes.saturating_add(size_bytes) <= WAITING_BYTES;
        room && self.expected_wait(workers).as_secs_f64() <= left.as_secs_f64() / 2.0
    }
    #[must_use]
    pub fn expected_wait(&self, workers: usize) -> Duration {
        let ahead = self.waiting as f64 * self.mean_seconds / workers.max(1) as f64;
        Duration::try_from_secs_f64(ahead).unwrap_or(Duration::MAX)
    }
    pub fn enter(&mut self, size_bytes: usize) {
        self.waiting += 1;
        self.waiting_bytes = self.waiting_bytes.saturating_add(size_bytes);
    }
    pub fn leave(&mut self, size_bytes: usize) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(size_bytes);
    }
    /// One message took `spent` of an inspector.
    pub fn measured(&mut self, spent: Duration) {
        let spent = spent.as_secs_f64();
        self.mean_seconds =
            if self.mean_seconds == 0.0 { spent } else { self.mean_seconds + NEWEST * (spent - self.mean_seconds) };
    }
}

/// How long the next try may take: the first leaves time for a second.
#[must_use]
pub fn try_limit(left: Duration, is_last: bool) -> Duration {
    if is_last { left } else { left.mul_f64(0.6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_sessions_waiting_for_two_inspectors_is_normal() {
        let mut load = Load::default();
        load.measured(Duration::from_millis(5));
        for _ in 0..100 {
            assert!(load.admits(4096, 2, Duration::from_secs(20)));
            load.enter(4096);
        }
        assert_eq!(load.expected_wait(2), Duration::from_millis(250));
    }

    #[test]
    fn who_could_not_be_served_in_time_is_not_let_in() {
        let mut load = Load::default();
        load.measured(Duration::from_secs(3));
        (0..8).for_each(|_| load.enter(1));
        assert!(!load.admits(1, 2, Duration::from_secs(20)), "12 s of waiting leave too little of 20 s");
        assert!(load.admits(1, 2, Duration::from_secs(60)));
    }

    #[test]
    fn waiting_messages_have_a_bound_in_octets() {
        let mut load = Load::default();
        assert!(load.admits(usize::MAX, 1, Duration::from_secs(20)), "an empty queue takes what was accepted");
        load.enter(WAITING_BYTES);
        assert!(!load.admits(1, 1, Duration::from_secs(20)));
        load.leave(WAITING_BYTES);
        assert_eq!((load.waiting, load.waiting_bytes), (0, 0));
    }

    #[test]
    fn large_mail_never_takes_the_inspector_kept_for_letters() {
        assert!(Lane::of(SMALL_BYTES).fits(true) && Lane::of(SMALL_BYTES).fits(false));
        assert!(!Lane::of(SMALL_BYTES + 1).fits(true) && Lane::of(SMALL_BYTES + 1).fits(false));
    }
}
