//! How many messages a minute go to one domain. A message that comes too early gets a place in the row of those that
//! wait, so that a long queue is not looked at again and again. Pure: time comes in.

use std::collections::HashMap;

use crate::mail::{Domain, Span, Timestamp};
use crate::spool::JobKey;

/// Places are given this far ahead; who comes later asks again then.
const AHEAD: Span = Span::minutes(10);
/// So much of a silent domain's rate may be used at once.
const BURST: Span = Span::seconds(10);

#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<Domain, Row>);

#[derive(Debug, Default)]
struct Row {
    /// The first moment that nobody has.
    free: Timestamp,
    booked: HashMap<JobKey, Timestamp>,
}

impl Pace {
    /// Whether a message may go now at `rate` messages a minute (0: always); else when it may ask again.
    pub fn enter(&mut self, domain: &Domain, job: JobKey, rate: u32, now: Timestamp) -> Result<(), Timestamp> {
        if rate == 0 {
            return Ok(());
        }
        let step = Span::millis(60_000_u64.checked_div(u64::from(rate)).unwrap_or(60_000).max(1));
        if !self.0.contains_key(domain) {
            self.0.insert(domain.clone(), Row::default());
        }
        let Some(row) = self.0.get_mut(domain) else { return Ok(()) };
        if let Some(place) = row.booked.get(&job).copied() {
            if now < place {
                return Err(place);
            }
            row.booked.remove(&job);
            return Ok(());
        }
        // What a silent time has saved up is bounded; one message may always go after it.
        row.free = row.free.max(now + step - BURST.max(step));
        if row.free <= now {
            row.free = row.free + step;
            return Ok(());
        }
        if now + AHEAD < row.free {
            return Err(row.free);
        }
        let place = row.free;
        row.free = row.free + step;
        row.booked.insert(job, place);
        Err(place)
    }

    /// Forgets places that nobody took and domains that have been silent.
    pub fn sweep(&mut self, now: Timestamp) {
        self.0.retain(|_, row| {
            row.booked.retain(|_, place| now < *place + AHEAD);
            !row.booked.is_empty() || now < row.free + BURST
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_302_082);

    #[test]
    fn a_rate_is_kept_over_an_hour_and_nobody_waits_for_ever() {
        let (mut pace, domain) = (Pace::default(), Domain::parse("x.vn").unwrap());
        // 500 messages at once, 30 a minute: all of them asked again exactly when they were told to.
        let mut waiting: Vec<(Timestamp, JobKey)> = (0..500).map(|n| (START, JobKey(n))).collect();
        let mut went: Vec<Timestamp> = Vec::new();
        let mut asked = 0_u32;
        while !waiting.is_empty() {
            waiting.sort();
            let (now, job) = waiting.remove(0);
            asked += 1;
            match pace.enter(&domain, job, 30, now) {
                Ok(()) => went.push(now),
                Err(when) => {
                    assert!(now < when, "time moves on");
                    waiting.push((when, job));
                }
            }
        }
        for minute in went.windows(36) {
            assert!(minute[35].since(minute[0]) >= Span::seconds(60), "at most the rate and its burst in a minute");
        }
        let took = went[499].since(went[0]).as_seconds();
        assert!((900..1100).contains(&took), "500 messages at 30 a minute took {took} s");
        assert!(asked < 2000, "the row was not looked at again and again: {asked}");
        pace.sweep(START + Span::hours(1));
        assert!(pace.0.is_empty());
    }

    #[test]
    fn no_rate_means_no_wait() {
        let (mut pace, domain) = (Pace::default(), Domain::parse("x.vn").unwrap());
        assert!((0..1000).all(|n| pace.enter(&domain, JobKey(n), 0, START).is_ok()));
    }
}
