//! Held mail that is looked at again without anybody asking: what was held only because no virus engine could look, once
//! they can; and all that was held in the last days, when rules or an engine's signatures are new. What that says of mail
//! that was let go, and of other mail with the same parts, goes to [`super::retro`].
//!
//! Invariants: oldest first and at a bounded rate, so that mail on its way comes first; nothing is let go that anything
//! speaks against now, or that was held for another reason as well; a find is written to the held message before it is
//! told. What is to be done is read from the quarantine itself, so it survives a restart.

mod versions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::control::Reply;
use super::officer::Officer;
use super::recheck::Again;
use super::retro::Retro;
use crate::deliver::Deliver;
use crate::inspect::checks::net::engines::run::Engines;
use crate::inspect::checks::net::engines::settings::Engines as Settings;
use crate::policy::{Live, Policy};
use crate::quarantine::{Entry, Filter, HeldKey, Kind, Order, ShelfError, What};
pub(super) use versions::Versions;

/// Who did it, in records.
const BY: &str = "luytre";
/// The finding of mail that waits for engines.
const WAITING: &str = "engine.unscanned";
/// How often the quarantine is searched: soon after there was reason to, else seldom.
const SOON: Duration = Duration::from_secs(60);
const SELDOM: Duration = Duration::from_secs(3600);
/// Held messages that one search takes up, the oldest; the next one finds the others.
const MOST: usize = 50_000;
/// What a page of a search holds.
const PAGE: usize = 1000;

/// Looks again, one held message after the other.
pub(super) struct Rescan {
    pub retro: Retro,
    pub officer: Officer,
    pub engines: Engines,
    pub deliver: Arc<Deliver>,
    pub live: Arc<Live>,
    pub versions: Versions,
}

/// Why held mail is looked at again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Unscanned,
    Signatures,
}

impl Why {
    const fn word(self) -> &'static str {
        match self {
            Self::Unscanned => "unscanned",
            Self::Signatures => "signatures",
        }
    }
}

/// What came of it: the word in the metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    /// On its way to its recipients.
    Released,
    /// Something new speaks against it.
    Found,
    /// As before.
    Same,
    /// No engine looked, or it could not be read.
    Failed,
    /// Gone, released or changed in the meantime.
    Gone,
}

impl Done {
    const fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Found => "found",
            Self::Same => "same",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// What is still to be looked at.
struct Work {
    unscanned: VecDeque<HeldKey>,
    /// Of the last search: those that could not be looked at.
    failed: usize,
    search_at: Instant,
    /// Messages held unscanned since the start, when it was last searched.
    held: u64,
    was_up: bool,
    recent: VecDeque<HeldKey>,
    /// The versions that `recent` is shown to; none: nothing is under way.
    under_way: Option<Vec<String>>,
    /// Everything of `recent` so far was looked at.
    complete: bool,
    again_at: Instant,
}

impl Rescan {
    /// Goes on until it is dropped.
    pub async fn run(self) {
        let now = Instant::now();
        let mut work = Work {
            unscanned: VecDeque::new(),
            failed: 0,
            search_at: now,
            held: 0,
            was_up: false,
            recent: VecDeque::new(),
            under_way: None,
            complete: true,
            again_at: now,
        };
        loop {
            let settings = self.live.current().engines.clone();
            let pause = 60_000 / u64::from(settings.rescan_rate.clamp(1, 60_000));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if settings.rescan_rate == 0 || self.engines.all_down() {
                work.was_up = false;
                continue;
            }
            self.find_waiting(&mut work).await;
            self.find_recent(&mut work, &settings).await;
            self.step(&mut work).await;
            self.engines.tell_rescans(Why::Unscanned.word(), work.unscanned.len().saturating_add(work.failed));
            self.engines.tell_rescans(Why::Signatures.word(), work.recent.len());
        }
    }

    /// Searches for mail that waits for engines: when they are back, after more was held, and now and then.
    async fn find_waiting(&self, work: &mut Work) {
        let held = self.engines.held();
        if work.was_up && held == work.held && Instant::now() < work.search_at {
            return;
        }
        let policy = self.live.current();
        let found = self.search(false, |entry| waits_for_engines(entry, &policy)).await;
        // A message is on the shelf a moment after its engines failed: the next search finds it.
        let again = held != work.held || !found.is_empty();
        work.search_at = Instant::now() + if again { SOON } else { SELDOM };
        (work.was_up, work.held, work.unscanned, work.failed) = (true, held, found, 0);
    }

    /// Begins to look at what was held lately with rules and signatures that are new; again, where some of it could not be
    /// looked at.
    async fn find_recent(&self, work: &mut Work, settings: &Settings) {
        let mut known = self.engines.versions();
        known.push(format!("policy {}", self.live.current().hash));
        if work.under_way.as_ref() == Some(&known) || !self.versions.is_news(&known) || settings.rescan_held.is_zero() {
            return;
        }
        if work.under_way.is_none() && Instant::now() < work.again_at {
            return;
        }
        let now = self.officer.stores.clock.now();
        let recent =
            |entry: &Entry| now.since(entry.held.held_at) <= settings.rescan_held && entry.held.kind != Kind::Malware;
        work.recent = self.search(true, recent).await;
        tracing::info!(messages = work.recent.len(), "new rules or signatures: held mail is looked at again");
        (work.under_way, work.complete) = (Some(known), true);
    }

    /// Looks at one message: first at those that somebody waits for.
    async fn step(&self, work: &mut Work) {
        let waiting = work.unscanned.pop_front().map(|key| (Why::Unscanned, key));
        let next = waiting.or_else(|| work.recent.pop_front().map(|key| (Why::Signatures, key)));
        if let Some((why, key)) = next {
            let done = self.look(why, key).await;
            self.engines.count_rescan(why.word(), done.word());
            if done == Done::Failed {
                // That nobody looked was counted again just now: no reason to search at once for this very message.
                work.held = self.engines.held();
                work.search_at = work.search_at.min(Instant::now() + SOON);
            }
            match why {
                Why::Unscanned => work.failed = work.failed.saturating_add(usize::from(done == Done::Failed)),
                Why::Signatures => work.complete &= done != Done::Failed,
            }
        }
        if work.recent.is_empty()
            && let Some(shown) = work.under_way.take()
        {
            if work.complete {
                self.versions.remember(shown);
            } else {
                work.again_at = Instant::now() + SELDOM;
            }
        }
    }

    async fn look(&self, why: Why, key: HeldKey) -> Done {
        let (entry, keep) = match self.officer.stores.shelf.show(key).await {
            Ok((entry, _)) if why == Why::Unscanned && entry.released.is_some() => return Done::Gone,
            Ok(found) => found,
            Err(ShelfError::Unknown(_)) => return Done::Gone,
            Err(error) => {
                tracing::warn!(%key, %error, "a held message could not be looked at again");
                return Done::Failed;
            }
        };
        let policy = self.live.current();
        if why == Why::Unscanned && !waits_for_engines(&entry, &policy) {
            return Done::Gone;
        }
        let again = match self.officer.recheck.again(&entry, &keep, &entry.held.meta.recipients).await {
            Ok(again) => again,
            Err(error) => {
                tracing::warn!(%key, error, "a held message could not be looked at again");
                return Done::Failed;
            }
        };
        drop(keep);
        if why == Why::Signatures
            && let Err(error) = self.retro.learn(&entry, &again).await
        {
            tracing::warn!(%key, error, "what is known now of a held message could not be told");
            return Done::Failed;
        }
        match why {
            // Gone, and told of; nothing here holds it any more.
            _ if entry.released.is_some() => Done::Same,
            _ if !again.malware.is_empty() => self.found(&entry, why, again.malware).await,
            _ if again.unseen => Done::Failed,
            Why::Unscanned if again.acting.is_empty() => self.release(&entry, &again, &policy).await,
            Why::Unscanned => self.found(&entry, why, again.acting).await,
            Why::Signatures => Done::Same,
        }
    }

    async fn release(&self, entry: &Entry, again: &Again, policy: &Policy) -> Done {
        let tag = policy.compiled.verdict.for_agency(entry.held.meta.destination.agency()).tag;
        let order = Order {
            by: BY.to_owned(),
            reason: "held because no virus engine could look; now they have, and nothing speaks against it".to_owned(),
            to: Vec::new(),
            forced: false,
            hostname: policy.hostname.to_string(),
            tagged: again.tagged || entry.held.score >= tag,
        };
        match self.officer.let_go(entry, &order, "").await {
            Reply::Done { .. } => {
                self.deliver.wake();
                Done::Released
            }
            _ => Done::Failed,
        }
    }

    /// Writes to the held message what was found, then tells it.
    async fn found(&self, entry: &Entry, why: Why, mut codes: Vec<String>) -> Done {
        codes.retain(|code| !entry.held.because.contains(code));
        if codes.is_empty() {
            return Done::Same;
        }
        let reason = match why {
            Why::Unscanned => "looked at again when virus engines could".to_owned(),
            Why::Signatures => format!(
                "looked at again with the rules and signatures of today: {}",
                self.engines.versions().join("; ")
            ),
        };
        if let Err(error) = self.officer.stores.shelf.found(entry, codes.clone(), BY, &reason).await {
            tracing::error!(key = %entry.key, %error, "what was found in a held message could not be written to it");
            return Done::Failed;
        }
        let found = codes.join(", ");
        tracing::error!(key = %entry.key, found, reason, "a held message turns out to be worse than was known");
        self.officer.note("quarantine.found", entry.key, BY, &reason, &found);
        self.officer.outcome(entry.held.meta.id, "found", format!("still held; {reason}: {found}"));
        Done::Found
    }

    /// Keys of what is still held, or with `released` of all that is there, and fits, the oldest first.
    async fn search(&self, released: bool, fits: impl Fn(&Entry) -> bool) -> VecDeque<HeldKey> {
        let (mut found, mut filter) = (VecDeque::new(), Filter { released, limit: PAGE, ..Filter::default() });
        loop {
            let page = match self.officer.stores.shelf.list(&filter).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "the quarantine cannot be searched for mail to be looked at again");
                    return found;
                }
            };
            for entry in page.entries.iter().filter(|entry| fits(entry)) {
                found.push_front(entry.key);
                if found.len() > MOST {
                    found.pop_back();
                }
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return found,
            }
        }
    }
}

/// Whether a message is held for no other reason than that no engine looked at it. What was found later is a reason.
fn waits_for_engines(entry: &Entry, policy: &Policy) -> bool {
    let held = &entry.held;
    let agency = held.meta.destination.agency();
    let verdict = &policy.compiled.verdict;
    let others = || held.because.iter().filter(|code| *code != WAITING);
    held.because.iter().any(|code| code == WAITING)
        && held.score < verdict.for_agency(agency).quarantine
        // Parts that a rule wanted to take out are still in it.
        && others().all(|code| !code.starts_with("attachment.") && !verdict.acts_alone(agency, code))
        && !entry.deeds.iter().any(|deed| deed.what == What::Found)
}
