//! When to try again, when to warn, when to give up (RFC 5321 §4.5.4.1), and when to ask a dead host again.
//! Pure: time comes in, time goes out. Jitter is a number in 0..1000, drawn by the caller.

use super::settings::Deliver;
use crate::mail::{Span, Timestamp};

/// After this long the sender hears that its message waits (RFC 3461 §4.1 DELAY; THREATS R-06).
pub const DELAY_WARNING: Span = Span::hours(4);
/// A dead host is asked at least this often: a site whose link is up ten minutes an hour must not miss them (R06).
const PROBE_MAX: Span = Span::minutes(5);
const PROBE_FIRST: Span = Span::seconds(5);

/// When to try again after the `tries`-th failure (counted from 1), or `None` to give up and report.
/// Up to a quarter of the wait is taken off by `jitter` (0..1000), so that what failed together does not come together.
#[must_use]
pub fn next_attempt(s: &Deliver, since: Timestamp, now: Timestamp, tries: u32, jitter: u64) -> Option<Timestamp> {
    let wait = s.retry_first.doubled(tries.saturating_sub(1)).min(s.retry_max).max(Span::seconds(1));
    let due = now + shaken(wait, jitter);
    (due <= since + s.give_up).then_some(due)
}

/// Whether the sender should hear now that its message waits.
#[must_use]
pub fn is_warning_due(since: Timestamp, now: Timestamp, warned: bool) -> bool {
    !warned && since + DELAY_WARNING <= now
}

/// When the sender is next to be told something: that its message waits, or that it is given up. A message that merely
/// waits for its turn comes up for that. `None`: that moment has come.
#[must_use]
pub fn news_due(s: &Deliver, since: Timestamp, now: Timestamp, warned: bool) -> Option<Timestamp> {
    let warning = (!warned).then_some(since + DELAY_WARNING);
    [warning, Some(since + s.give_up)].into_iter().flatten().find(|due| now < *due)
}

/// How long to leave a host alone after its `failures`-th failure in a row (counted from 1).
#[must_use]
pub fn probe_after(s: &Deliver, failures: u32, jitter: u64) -> Span {
    let first = PROBE_FIRST.min(s.retry_first).max(Span::millis(1));
    shaken(first.doubled(failures.saturating_sub(1)).min(s.retry_max.min(PROBE_MAX)).max(Span::millis(1)), jitter)
}

fn shaken(wait: Span, jitter: u64) -> Span {
    let off = (wait.as_millis() / 4000).saturating_mul(jitter.min(1000));
    Span::millis(wait.as_millis().saturating_sub(off))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_302_082);

    #[test]
    fn rfc5321_4_5_4_1_keeps_trying_for_days_then_stops() {
        for jitter in [0, 500, 999] {
            let (mut now, mut tries) = (START, 0);
            while let Some(due) = next_attempt(&Deliver::default(), START, now, tries + 1, jitter) {
                assert!(now < due, "every retry moves time forward");
                assert!(due.since(now) <= Span::minutes(30), "and never waits longer than retry_max");
                (now, tries) = (due, tries + 1);
            }
            assert!(START + Span::days(4) <= now);
            assert!(now <= START + Span::days(5));
        }
    }

    #[test]
    fn rfc5321_4_5_4_1_waits_double_up_to_the_cap() {
        let s = Deliver::default();
        let wait = |tries| next_attempt(&s, START, START, tries, 0).unwrap().since(START);
        let minutes: Vec<u64> = (1..=7).map(|t| wait(t).as_seconds() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(wait(u32::MAX), Span::minutes(30), "no overflow after years");
    }

    #[test]
    fn jitter_takes_at_most_a_quarter() {
        let s = Deliver::default();
        for jitter in [0, 1, 500, 999, 1000, u64::MAX] {
            let wait = next_attempt(&s, START, START, 1, jitter).unwrap().since(START);
            assert!((Span::seconds(45)..=Span::minutes(1)).contains(&wait), "{jitter}: {wait}");
        }
    }

    #[test]
    fn threats_r_06_the_delay_is_told_once_after_four_hours() {
        let later = START + Span::hours(4);
        assert!(!is_warning_due(START, later - Span::millis(1), false));
        assert!(is_warning_due(START, later, false));
        assert!(!is_warning_due(START, later, true));
    }

    #[test]
    fn a_message_that_waits_comes_up_for_the_warning_and_for_the_end() {
        let s = Deliver::default();
        let due = |hours: u64, warned| news_due(&s, START, START + Span::hours(hours), warned);
        assert_eq!(due(0, false), Some(START + Span::hours(4)));
        assert_eq!(due(0, true), Some(START + Span::days(5)));
        assert_eq!(due(5, false), Some(START + Span::days(5)), "a warning that is overdue comes with the next attempt");
        assert_eq!(due(120, true), None);
    }

    #[test]
    fn a_dead_host_is_asked_often_enough_to_meet_ten_minutes_an_hour() {
        let s = Deliver::default();
        assert_eq!(probe_after(&s, 1, 0), Span::seconds(5));
        assert!((1..100).all(|n| probe_after(&s, n, 0) <= Span::minutes(5)));
    }
}
