//! Wall-clock time as a value that is handed around, and beside it a monotonic one; tests turn both by hand.
//! Timers inside a session use tokio's monotonic clock; the wall clock is for dates, retry times and expiry, and since
//! somebody may set it, a [`Chronicle`] compares the two (THREATS R-10).

mod chronicle;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use chronicle::{Chronicle, Step};

use crate::mail::{Span, Timestamp};

/// Where the time of day comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// Since when `uptime` counts.
    System(Instant),
    Hand(Arc<Hands>),
}

#[derive(Debug)]
struct Hands {
    wall: AtomicI64,
    uptime: AtomicU64,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands still until its [`Hand`] moves it.
    #[must_use]
    pub fn by_hand(start: Timestamp) -> (Self, Hand) {
        let hands = Arc::new(Hands { wall: AtomicI64::new(start.millis()), uptime: AtomicU64::new(0) });
        (Self(Source::Hand(Arc::clone(&hands))), Hand(hands))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(_) => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Hand(hands) => Timestamp::from_millis(hands.wall.load(Ordering::SeqCst)),
        }
    }

    /// Monotonic time since this clock was made: it only grows, whatever somebody does to the time of day.
    #[must_use]
    pub fn uptime(&self) -> Span {
        match &self.0 {
            Source::System(start) => Span::millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)),
            Source::Hand(hands) => Span::millis(hands.uptime.load(Ordering::SeqCst)),
        }
    }
}

/// CPU time that this process has had so far, all threads together.
#[must_use]
pub fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Turns a clock made by [`Clock::by_hand`].
#[derive(Clone, Debug)]
pub struct Hand(Arc<Hands>);

impl Hand {
    /// Time passes.
    pub fn advance(&self, by: Span) {
        self.0.wall.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.0.uptime.fetch_add(by.as_millis(), Ordering::SeqCst);
    }
    /// Somebody sets the time of day; no time passes.
    pub fn set(&self, to: Timestamp) {
        self.0.wall.store(to.millis(), Ordering::SeqCst);
    }
}
