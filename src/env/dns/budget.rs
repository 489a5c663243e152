//! What one message may spend on DNS: a number of questions and a moment after which none is waited for.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use super::DnsError;
use crate::mail::Span;

#[derive(Debug)]
pub struct Budget {
    queries: u32,
    spent: AtomicU32,
    deadline: Instant,
}

impl Budget {
    pub fn new(queries: u32, time: Span) -> Self {
        Self { queries, spent: AtomicU32::new(0), deadline: Instant::now() + time.as_std() }
    }

    /// Takes one question out of the budget, or refuses when it is spent.
    pub fn charge(&self) -> Result<(), DnsError> {
        let take = |spent| (spent < self.queries).then_some(spent + 1);
        match self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(DnsError::Budget),
        }
    }

    pub fn spent(&self) -> u32 {
        self.spent.load(Ordering::Relaxed)
    }

    pub const fn deadline(&self) -> Instant {
        self.deadline
    }
}
