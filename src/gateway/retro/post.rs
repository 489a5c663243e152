//! Letters that are to be written: gathered for each agency, and so many a day at most. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::mail::{AgencyId, Span, Timestamp};
use crate::report::record::retro::Hit;

/// What waits for one agency's next letter; more of it stands in the record only.
const MOST_WAITING: usize = 1000;
const DAY: Span = Span::days(1);

/// What waits, and when letters went.
#[derive(Debug, Default)]
pub struct Post {
    waiting: BTreeMap<AgencyId, Vec<Hit>>,
    sent: BTreeMap<AgencyId, VecDeque<Timestamp>>,
}

impl Post {
    pub fn add(&mut self, hit: Hit) {
        let Ok(agency) = hit.agency.parse() else { return };
        let waiting = self.waiting.entry(agency).or_default();
        if waiting.len() < MOST_WAITING {
            waiting.push(hit);
        }
    }

    /// Letters that may go now, `a_day` to an agency in 24 hours.
    pub fn due(&mut self, now: Timestamp, a_day: u32) -> Vec<(AgencyId, Vec<Hit>)> {
        let a_day = usize::try_from(a_day).unwrap_or(usize::MAX);
        let mut due = Vec::new();
        self.waiting.retain(|agency, hits| {
            let sent = self.sent.entry(agency.clone()).or_default();
            sent.retain(|at| *at + DAY > now);
            let may = sent.len() < a_day;
            if may {
                sent.push_back(now);
                due.push((agency.clone(), std::mem::take(hits)));
            }
            !may
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::MailId;
    use crate::verdict::Action;

    #[test]
    fn letters_are_few_and_nothing_that_is_found_is_left_out_of_them() {
        let hit = |n: u128, agency: &str| Hit {
            id: MailId::from_u128(n),
            time: String::new(),
            sender: String::new(),
            agency: agency.into(),
            direction: "in".into(),
            recipients: Vec::new(),
            part: String::new(),
            name: String::new(),
            sha256: String::new(),
            because: String::new(),
            then: Action::Deliver,
            state: String::new(),
        };
        let (mut post, start) = (Post::default(), Timestamp::from_seconds(1_795_302_082));
        let mut told = Vec::new();
        for hour in 0..48_u64 {
            post.add(hit(u128::from(hour), "so-a"));
            told.extend(post.due(start + Span::hours(hour), 3));
        }
        let letters = told.len();
        assert!((6..=7).contains(&letters), "three in any 24 hours: {letters}");
        told.extend(post.due(start + Span::hours(80), 3));
        assert_eq!(told.iter().map(|(_, hits)| hits.len()).sum::<usize>(), 48);
        post.add(hit(1, "so-b"));
        assert_eq!(post.due(start + Span::hours(80), 3).len(), 1, "one agency's share is its own");
        assert!(post.due(start + Span::hours(81), 3).is_empty());
    }
}
