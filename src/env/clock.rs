//! Wall-clock time as a value that is handed around; tests turn it by hand.
//! Timers inside a session use tokio's monotonic clock; this one is for dates, retry times and expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::mail::{Span, Timestamp};

/// Where the time of day comes from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Hand(Arc<AtomicI64>),
}

impl Clock {
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until its [`Hand`] moves it.
    #[must_use]
    pub fn by_hand(start: Timestamp) -> (Self, Hand) {
        let cell = Arc::new(AtomicI64::new(start.millis()));
        (Self(Source::Hand(Arc::clone(&cell))), Hand(cell))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Hand(cell) => Timestamp::from_millis(cell.load(Ordering::SeqCst)),
        }
    }
}

/// Turns a clock made by [`Clock::by_hand`].
#[derive(Clone, Debug)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn advance(&self, by: Span) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.millis(), Ordering::SeqCst);
    }
}
