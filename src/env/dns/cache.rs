//! Answers kept in memory: how long each is good, how long it may stand in when no server answers, one question at a
//! time for the same name and type. RFC 2308 (negative answers), RFC 8767 (serving stale data).

use std::time::Duration;

use moka::future::Cache as Store;
use tokio::time::Instant;

use super::answer::{Answer, Question};
use super::resolver::Fetched;

/// Answers with a shorter TTL are kept this long all the same, so that one message sees one state of the world.
const FLOOR: Duration = Duration::from_secs(5);
const CEILING: Duration = Duration::from_secs(24 * 3600);
/// RFC 2308 §5: one to three hours is a sensible bound for negative answers.
const NEGATIVE_CEILING: Duration = Duration::from_secs(3600);
/// RFC 2308 §7: failures may be remembered, at most five minutes; this is enough to spare a dead server.
const FAILURE: Duration = Duration::from_secs(5);
/// How long past its time an answer may stand in for a server that does not answer.
const STALE: Duration = Duration::from_secs(24 * 3600);
const NEGATIVE_STALE: Duration = Duration::from_secs(3600);
/// RFC 8767 §5: a stale answer is given for 30 seconds before the servers are tried again.
const STALE_AGAIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Entry {
    answer: Answer,
    fresh_until: Instant,
    /// May stand in until then.
    stale_until: Instant,
}

#[derive(Debug)]
pub struct Cache {
    store: Store<Question, Entry>,
}

impl Cache {
    pub fn new(bytes: u64) -> Self {
        let weigh = |question: &Question, entry: &Entry| {
            u32::try_from(question.name.len() + entry.answer.weight() + 160).unwrap_or(u32::MAX)
        };
        let store = Store::builder().weigher(weigh).max_capacity(bytes).time_to_live(CEILING + STALE).build();
        Self { store }
    }

    pub fn clear(&self) {
        self.store.invalidate_all();
    }

    /// The answer when it is known and still good.
    pub async fn fresh(&self, question: &Question) -> Option<Answer> {
        let entry = self.store.get(question).await?;
        (Instant::now() < entry.fresh_until).then_some(entry.answer)
    }

    /// The answer from the cache or from `fetch`; of identical questions at one time only one is fetched.
    pub async fn get_or(&self, question: Question, fetch: impl AsyncFnOnce(&Question) -> Fetched) -> Answer {
        let old = self.store.get(&question).await;
        let refill = async {
            let fetched = fetch(&question).await;
            keep(fetched, old, Instant::now())
        };
        let outdated = |entry: &Entry| entry.fresh_until <= Instant::now();
        self.store.entry_by_ref(&question).or_insert_with_if(refill, outdated).await.into_value().answer
    }
}

/// What the cache holds after `fetched` came in and `old` was there before.
fn keep(fetched: Fetched, old: Option<Entry>, now: Instant) -> Entry {
    let (ttl, stale) = match &fetched.answer {
        Answer::Records(_) => (fetched.ttl.clamp(FLOOR, CEILING), STALE),
        Answer::NoSuchName | Answer::NoRecords => (fetched.ttl.clamp(FLOOR, NEGATIVE_CEILING), NEGATIVE_STALE),
        Answer::Failed(_) => {
            return match old {
                Some(old) if !matches!(old.answer, Answer::Failed(_)) && now < old.stale_until => {
                    Entry { fresh_until: now + STALE_AGAIN, ..old }
                }
                _ => Entry { answer: fetched.answer, fresh_until: now + FAILURE, stale_until: now },
            };
        }
    };
    Entry { answer: fetched.answer, fresh_until: now + ttl, stale_until: now + ttl + stale }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(answer: Answer, seconds: u64) -> Fetched {
        Fetched { answer, ttl: Duration::from_secs(seconds), reached: true }
    }
    fn failed() -> Fetched {
        fetched(Answer::Failed("SERVFAIL".into()), 0)
    }

    #[tokio::test]
    async fn rfc2308_5_lifetimes_stay_between_floor_and_ceiling() {
        let now = Instant::now();
        assert_eq!(keep(fetched(Answer::NoSuchName, 0), None, now).fresh_until, now + FLOOR);
        assert_eq!(keep(fetched(Answer::NoSuchName, 1 << 30), None, now).fresh_until, now + NEGATIVE_CEILING);
        assert_eq!(keep(fetched(Answer::NoRecords, 60), None, now).fresh_until, now + Duration::from_secs(60));
        assert_eq!(keep(failed(), None, now).fresh_until, now + FAILURE);
    }

    #[tokio::test]
    async fn rfc8767_an_answer_that_ran_out_stands_in_for_a_bounded_time() {
        let now = Instant::now();
        let known = keep(fetched(Answer::NoSuchName, 60), None, now);
        let later = now + Duration::from_secs(600);
        let stand_in = keep(failed(), Some(known.clone()), later);
        assert_eq!((stand_in.answer, stand_in.fresh_until), (Answer::NoSuchName, later + STALE_AGAIN));
        let too_late = now + Duration::from_secs(61) + NEGATIVE_STALE;
        assert!(matches!(keep(failed(), Some(known), too_late).answer, Answer::Failed(_)));
        let twice = keep(failed(), Some(keep(failed(), None, now)), now);
        assert!(matches!(twice.answer, Answer::Failed(_)), "a failure never stands in for an answer");
    }
}
