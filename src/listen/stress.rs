//! Near its limits the gateway has less patience with strangers, so that those who talk to it properly find a place.
//!
//! What Postfix calls stress-dependent configuration: shorter timers, fewer errors, fewer connections of one newcomer.
//! It begins when the connections or the memory for messages in use reach `enter` percent, and ends when both have
//! stayed below `leave` percent for `calm`: a load that hovers at the limit does not turn it on and off. Arithmetic
//! only; `session::run` looks at each connection and once a second.

use super::settings::Stress as Settings;
use crate::mail::{Span, Timestamp};

/// What runs short. Stable words, also a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    Sessions,
    Memory,
}

impl Cause {
    pub const ALL: [Self; 2] = [Self::Sessions, Self::Memory];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Memory => "memory",
        }
    }
}

/// How much is in use, in percent of what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub sessions: u32,
    pub memory: u32,
}

/// What an observation changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    Begins(Cause),
    /// With what had begun it, and how long it lasted.
    Ends(Cause, Span),
}

/// Whether there is stress now.
#[derive(Debug, Default)]
pub struct Stress {
    since: Option<(Cause, Timestamp)>,
    /// Since when the load is below `leave`.
    calm_since: Option<Timestamp>,
}

impl Stress {
    /// Looks at the load; tells when something begins or ends.
    pub fn look(&mut self, s: &Settings, usage: Usage, now: Timestamp) -> Option<Turn> {
        let Some((cause, begun)) = self.since else {
            let reached = |used: u32| s.enter > 0 && used >= s.enter;
            let cause = match usage {
                usage if reached(usage.sessions) => Cause::Sessions,
                usage if reached(usage.memory) => Cause::Memory,
                _ => return None,
            };
            (self.since, self.calm_since) = (Some((cause, now)), None);
            return Some(Turn::Begins(cause));
        };
        // Switched off by a reload, it ends at once.
        if s.enter > 0 && usage.sessions.max(usage.memory) >= s.leave {
            self.calm_since = None;
            return None;
        }
        let calm_since = *self.calm_since.get_or_insert(now);
        if s.enter > 0 && now.since(calm_since) < s.calm {
            return None;
        }
        *self = Self::default();
        Some(Turn::Ends(cause, now.since(begun)))
    }
}

/// `used` of `all` in percent, rounded down; all of nothing is 100.
#[must_use]
pub fn percent(used: usize, all: usize) -> u32 {
    let share = used.saturating_mul(100).checked_div(all).unwrap_or(100);
    u32::try_from(share).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn usage(sessions: u32, memory: u32) -> Usage {
        Usage { sessions, memory }
    }
    fn at(seconds: u64) -> Timestamp {
        START + Span::seconds(seconds)
    }

    #[test]
    fn it_begins_at_a_mark_and_ends_only_after_calm_below_another() {
        let (mut stress, s) = (Stress::default(), Settings::default());
        let mut look = |sessions, memory, seconds| stress.look(&s, usage(sessions, memory), at(seconds));
        assert_eq!(look(89, 10, 0), None);
        assert_eq!(look(90, 10, 1), Some(Turn::Begins(Cause::Sessions)));
        assert_eq!(look(100, 99, 2), None, "it has begun already");
        assert_eq!(look(71, 0, 3), None, "not yet below the lower mark");
        assert_eq!(look(69, 0, 10), None);
        assert_eq!(look(70, 0, 39), None, "back at it: the calm begins anew");
        assert_eq!(look(60, 0, 40), None);
        assert_eq!(look(60, 0, 69), None);
        assert_eq!(look(60, 0, 70), Some(Turn::Ends(Cause::Sessions, Span::seconds(69))));
        assert_eq!(look(60, 95, 71), Some(Turn::Begins(Cause::Memory)));
    }

    #[test]
    fn a_load_at_the_mark_does_not_flutter() {
        let (mut stress, s) = (Stress::default(), Settings::default());
        let turns = (0..1000_u64).filter_map(|n| stress.look(&s, usage(if n % 2 == 0 { 90 } else { 89 }, 0), at(n)));
        assert_eq!(turns.count(), 1);
    }

    #[test]
    fn zero_switches_it_off_at_once() {
        let off = Settings { enter: 0, ..Settings::default() };
        assert_eq!(Stress::default().look(&off, usage(100, 100), START), None);
        let mut stress = Stress::default();
        assert!(stress.look(&Settings::default(), usage(100, 0), START).is_some());
        assert_eq!(stress.look(&off, usage(100, 0), at(5)), Some(Turn::Ends(Cause::Sessions, Span::seconds(5))));
    }

    #[test]
    fn shares_are_percents() {
        assert_eq!((percent(0, 10), percent(9, 10), percent(10, 10), percent(5, 0)), (0, 90, 100, 100));
        assert_eq!(percent(usize::MAX, 1), u32::try_from(usize::MAX).unwrap_or(u32::MAX));
    }
}
