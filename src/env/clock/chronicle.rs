//! The time of day beside the monotonic time: how old a message really is when somebody sets the clock (THREATS R-10).
//!
//! A dead battery, a virtual machine that slept, a wrong time server: the wall clock may jump by years. Nothing may
//! expire for that. So an age counts on both clocks and the lesser counts, and after a jump of more than a
//! day nothing expires until the new time has stood for an hour. A process that just started cannot know how the clock
//! stood before; what is older than the process gets that hour, too. Pure: readings come in.

use crate::mail::{Span, Timestamp};

/// A difference up to this between two looks is a clock that is being slewed, not one that was set.
const SLEW: Span = Span::seconds(10);
/// A jump beyond this is doubted.
const DOUBTED: Span = Span::days(1);
/// For how long.
const CONFIRMED: Span = Span::hours(1);
/// Jumps ahead that are remembered one by one.
const REMEMBERED: usize = 64;

/// What a look at both clocks showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Steady,
    /// The time of day was set so far ahead.
    Ahead(Span),
    /// It was set back.
    Back(Span),
}

/// Both clocks since the process began.
#[derive(Clone, Debug)]
pub struct Chronicle {
    begun: Timestamp,
    begun_at: Span,
    wall: Timestamp,
    uptime: Span,
    /// Jumps ahead, oldest first: the time of day before it, and how far.
    ahead: Vec<(Timestamp, Span)>,
    /// Milliseconds that the wall clock has gained (or lost) by jumps that nobody confirmed yet.
    gained: i64,
    /// When (monotonic) the last jump happened that is still doubted.
    doubted: Option<Span>,
}

impl Chronicle {
    #[must_use]
    pub const fn new(wall: Timestamp, uptime: Span) -> Self {
        Self { begun: wall, begun_at: uptime, wall, uptime, ahead: Vec::new(), gained: 0, doubted: None }
    }

    /// Takes a reading of both clocks. Call it often: between two looks a jump cannot be told from a slew.
    pub fn look(&mut self, wall: Timestamp, uptime: Span) -> Step {
        let passed = i64::try_from(uptime.minus(self.uptime).as_millis()).unwrap_or(i64::MAX);
        let gained = wall.millis().saturating_sub(self.wall.millis()).saturating_sub(passed);
        let jump = Span::millis(gained.unsigned_abs());
        let before = self.wall;
        (self.wall, self.uptime) = (wall, uptime);
        let step = match gained {
            _ if jump <= SLEW => Step::Steady,
            1.. => Step::Ahead(jump),
            _ => Step::Back(jump),
        };
        match step {
            Step::Steady => {}
            Step::Ahead(by) => self.remember(before, by),
            Step::Back(by) => self.take_back(by),
        }
        if step != Step::Steady {
            self.gained = self.gained.saturating_add(gained);
            // Set right again: nothing is left to doubt.
            self.doubted = (self.gained.unsigned_abs() > DOUBTED.as_millis()).then_some(uptime);
        } else if self.doubted.is_some_and(|at| is_past(at, uptime)) {
            (self.gained, self.doubted) = (0, None);
        }
        step
    }

    /// Whether something that began at `since` may expire, as far as the clocks are to be believed.
    #[must_use]
    pub fn is_settled(&self, since: Timestamp) -> bool {
        self.doubted.is_none() && (self.begun <= since || is_past(self.begun_at, self.uptime))
    }

    /// How old something of `since` is at the last look: the lesser of its ages on both clocks.
    #[must_use]
    pub fn age(&self, since: Timestamp) -> Span {
        let lived = self.ahead.iter().filter(|(before, _)| since <= *before).map(|(_, by)| *by);
        self.wall.since(since).minus(lived.fold(Span::ZERO, Span::plus))
    }

    fn remember(&mut self, before: Timestamp, by: Span) {
        if self.ahead.len() >= REMEMBERED {
            // The two oldest become one: what lies between them is taken for younger than it is.
            let (_, oldest) = self.ahead.remove(0);
            if let Some((_, next)) = self.ahead.first_mut() {
                *next = next.plus(oldest);
            }
        }
        self.ahead.push((before, by));
    }

    /// A clock that is set back undoes its latest jumps ahead.
    fn take_back(&mut self, by: Span) {
        let mut left = by;
        while !left.is_zero()
            && let Some((before, ahead)) = self.ahead.pop()
        {
            let rest = ahead.minus(left);
            left = left.minus(ahead);
            if SLEW < rest {
                self.ahead.push((before, rest));
            }
        }
    }
}

fn is_past(at: Span, uptime: Span) -> bool {
    CONFIRMED <= uptime.minus(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_302_082);

    /// A chronicle that has run for two quiet hours, with its clocks.
    struct Site(Chronicle, Timestamp, Span);

    impl Site {
        fn new() -> Self {
            let mut site = Self(Chronicle::new(START, Span::ZERO), START, Span::ZERO);
            site.passes(Span::hours(2));
            site
        }
        fn passes(&mut self, by: Span) -> Step {
            (self.1, self.2) = (self.1 + by, self.2.plus(by));
            self.0.look(self.1, self.2)
        }
        fn set(&mut self, to: Timestamp) -> Step {
            self.1 = to;
            self.0.look(self.1, self.2)
        }
    }

    #[test]
    fn threats_r_10_a_jump_ahead_makes_nothing_older() {
        let mut site = Site::new();
        let taken = site.1;
        site.passes(Span::minutes(10));
        assert_eq!(site.set(site.1 + Span::days(6)), Step::Ahead(Span::days(6)));
        assert!(!site.0.is_settled(taken), "a jump of more than a day is doubted");
        assert_eq!(site.0.age(taken), Span::minutes(10));
        site.passes(Span::minutes(59));
        assert!(!site.0.is_settled(taken));
        site.passes(Span::minutes(1));
        assert!(site.0.is_settled(taken), "confirmed after an hour");
        assert_eq!(site.0.age(taken), Span::minutes(70), "and still the monotonic age counts");
        let later = site.1;
        site.passes(Span::days(5));
        assert_eq!(site.0.age(later), Span::days(5), "what came after the jump counts by itself");
    }

    #[test]
    fn threats_r_10_a_clock_set_right_again_leaves_no_doubt() {
        let mut site = Site::new();
        let taken = site.1;
        site.set(START + Span::days(3000));
        site.passes(Span::minutes(5));
        assert!(matches!(site.set(taken + Span::minutes(5)), Step::Back(_)));
        assert!(site.0.is_settled(taken));
        assert_eq!(site.0.age(taken), Span::minutes(5));
    }

    #[test]
    fn threats_r_10_a_clock_set_back_makes_nothing_expire() {
        let mut site = Site::new();
        let taken = site.1;
        assert_eq!(site.set(Timestamp::EPOCH), Step::Back(Span::millis(taken.millis().unsigned_abs())));
        assert_eq!(site.0.age(taken), Span::ZERO, "by the wall clock it has not even come");
        assert!(!site.0.is_settled(taken));
    }

    #[test]
    fn threats_r_10_what_is_older_than_the_process_waits_for_an_hour() {
        let mut site = Site(Chronicle::new(START, Span::ZERO), START, Span::ZERO);
        let (old, fresh) = (START - Span::days(9), START);
        assert!(!site.0.is_settled(old) && site.0.is_settled(fresh));
        site.passes(Span::hours(1));
        assert!(site.0.is_settled(old));
    }

    #[test]
    fn small_differences_are_no_jumps_and_many_jumps_are_bounded() {
        let mut site = Site::new();
        assert_eq!(site.set(site.1 + Span::seconds(9)), Step::Steady);
        let taken = site.1;
        for _ in 0..1000 {
            site.set(site.1 + Span::hours(1));
            site.passes(Span::seconds(1));
        }
        assert!(site.0.ahead.len() <= REMEMBERED);
        assert_eq!(site.0.age(taken), Span::seconds(1000));
    }
}
