//! Whether the name servers answer at all: the last 32 questions that went out, one bit each.
//! Only silence counts against them: a SERVFAIL for a stranger's broken zone says nothing about our servers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Below this many questions nothing is said.
const ENOUGH: u32 = 8;
const WINDOW: u32 = 32;

/// High half: how many were asked (at most [`WINDOW`]). Low half: one bit each, 1 for silence, the latest lowest.
#[derive(Debug, Default)]
pub struct Health(AtomicU64);

impl Health {
    /// Notes a question that a server answered (`reached`), or that ended in silence.
    pub fn note(&self, reached: bool) {
        let next = |state: u64| {
            let count = ((state >> 32) + 1).min(u64::from(WINDOW));
            let bits = ((state << 1) | u64::from(!reached)) & 0xFFFF_FFFF;
            Some((count << 32) | bits)
        };
        // The closure always gives a value, so this never fails.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// More than half of the recent questions ended in silence.
    pub fn is_degraded(&self) -> bool {
        let state = self.0.load(Ordering::Relaxed);
        let (count, silent) = ((state >> 32) as u32, (state & 0xFFFF_FFFF).count_ones());
        count >= ENOUGH && silent * 2 > count
    }
}
