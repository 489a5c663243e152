//! What was delivered, looked at again: by itself after a change of rules, lists or signatures; at once when new mail shows
//! what a digest is; and on command. The officer is told who received what: in the record, as an event, by a metric, and
//! by a letter to the agency's postmaster.
//!
//! What receipts hold is asked of the record; octets are there of held mail only, and they go through the inspectors and
//! engines as new mail does, one message at a time: on command here, after a change by [`super::rescan`], which tells. What was told once stands in the record and is not told again.

pub mod post;

use std::collections::{HashMap, HashSet, hash_map};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::recheck::{Again, Recheck};
use super::stages::Stages;
use crate::deliver::Deliver;
use crate::env::{Clock, Dice};
use crate::envelope::relay::Standing;
use crate::guard::Guard;
use crate::guard::event::Event;
use crate::inspect::checks::net::engines::run::Engines;
use crate::mail::{AgencyId, Mailbox, Span, Timestamp};
use crate::policy::{Live, Policy};
use crate::quarantine::{Cursor, Entry as HeldEntry, Filter, HeldKey, Shelf, What};
use crate::report::metrics::Metrics;
use crate::report::record::retro::letter::{self, Letter};
use crate::report::record::retro::{Condemned, HELD, Hit, Known};
use crate::report::record::run::Log;
use crate::report::record::run::past::{self, FOUND, WORSE};
use crate::report::record::run::sightings::Sightings;
use crate::report::record::{Act, Entry};
use crate::session::desk::Target;
use crate::spool::Spool;
use crate::verdict::Action;
use post::Post;

/// Held messages that are looked at in one page: a command waits two minutes for one, and a message may take twenty seconds.
const PAGE: usize = 5;
/// Told in one go; each is a line of the record, whose buffer receipts need too. The rest is told by the next look.
const MOST_TOLD: usize = 500;
/// Keys of what was told that are kept in mind.
const MOST_KEYS: usize = 100_000;
/// A digest that was looked for is not looked for again so soon: what comes after it meets the engine that knows it.
const AGAIN: Span = Span::hours(1);
/// Digests whose search is remembered.
const MOST_DIGESTS: usize = 10_000;
/// Who acts when nobody asked.
const ITSELF: &str = "luytre";

/// Looks back. Cheap to clone.
#[derive(Clone)]
pub(super) struct Retro(Arc<Inner>);

struct Inner {
    live: Arc<Live>,
    recheck: Recheck,
    engines: Engines,
    shelf: Shelf,
    spool: Spool,
    deliver: Arc<Deliver>,
    record: Log,
    sightings: Sightings,
    folder: PathBuf,
    guard: Guard,
    metrics: Metrics,
    clock: Clock,
    dice: Dice,
    memory: Mutex<Memory>,
}

/// What lasts from one look to the next.
#[derive(Default)]
struct Memory {
    /// Keys of what was told; read from the record at first use.
    told: Option<HashSet<String>>,
    post: Post,
}

/// What held mail is by what is known today.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct HeldPage {
    pub hits: Vec<Hit>,
    pub condemned: Condemned,
    pub looked_at: usize,
    /// Could not be looked at now.
    pub unseen: usize,
    pub next: Option<Cursor>,
}

/// Since when rules and signatures are what they are.
#[derive(Default)]
struct Change {
    state: String,
    since: Option<Timestamp>,
}

impl Change {
    /// Whether `state` has stood for `after` and was not looked at with.
    fn is_due(&mut self, state: String, now: Timestamp, after: Span) -> bool {
        if self.state != state {
            (self.state, self.since) = (state, Some(now));
        }
        let due = after > Span::ZERO && self.since.is_some_and(|since| since + after <= now);
        if due {
            self.since = None;
        }
        due
    }
}

impl Retro {
    pub fn of(stages: &Stages) -> Self {
        Self(Arc::new(Inner {
            live: Arc::clone(&stages.live),
            recheck: stages.recheck(),
            engines: stages.engines.clone(),
            shelf: stages.shelf.clone(),
            spool: stages.spool.clone(),
            deliver: Arc::clone(&stages.deliver),
            record: stages.record.clone(),
            sightings: stages.sightings.clone(),
            folder: stages.data.join("receipts"),
            guard: stages.guard.clone(),
            metrics: stages.metrics.clone(),
            clock: stages.clock.clone(),
            dice: stages.dice.clone(),
            memory: Mutex::default(),
        }))
    }

    /// As long as the gateway runs. A start counts as a change: signatures may have come while it was down.
    pub async fn watch(self, mut sightings: mpsc::Receiver<Condemned>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut change, mut searched) = (Change::default(), HashMap::new());
        // At most one, and it ends with this future.
        let mut looks = JoinSet::new();
        loop {
            tokio::select! {
                seen = sightings.recv() => {
                    let Some(mut seen) = seen else { return };
                    while let Ok(more) = sightings.try_recv() {
                        seen.extend(more);
                    }
                    let now = self.0.clock.now();
                    self.counted("digest", self.search(fresh(seen, &mut searched, now)).await);
                }
                _ = second.tick() => {
                    let policy = self.0.live.current();
                    self.send_letters(&policy).await;
                    while looks.try_join_next().is_some() {}
                    let is_free = looks.is_empty();
                    if is_free && change.is_due(self.state(&policy), self.0.clock.now(), policy.retro.after) {
                        let retro = self.clone();
                        looks.spawn(async move { retro.counted("change", retro.everything(&policy).await) });
                    }
                }
            }
        }
    }

    fn counted(&self, cause: &str, looked: Result<(), String>) {
        self.0.metrics.retro_run(cause, looked.is_ok());
        if let Err(error) = looked {
            tracing::error!(cause, error, "what was delivered could not be looked at again");
        }
    }

    /// Rules, lists and signatures, in one word.
    fn state(&self, policy: &Policy) -> String {
        let versions =
            self.0.engines.standings().into_iter().map(|engine| format!(" {}={}", engine.id, engine.version));
        policy.hash.clone() + &versions.collect::<String>()
    }

    /// All that receipts hold.
    async fn everything(&self, policy: &Arc<Policy>) -> Result<(), String> {
        let (folder, since, policy) = (self.0.folder.clone(), self.since(policy), Arc::clone(policy));
        self.flush().await?;
        let hits = blocking(move || {
            let list = past::read_lists(&policy.retro.hashes, &policy.rules.hashes)?;
            let known = Known { list, condemned: Condemned::new() };
            past::deliveries(&folder, &since, &policy.compiled.verdict, known).map_err(|error| error.to_string())
        });
        let hits = hits.await?;
        self.0.metrics.retro(hits.len());
        self.tell(hits, ITSELF).await
    }

    /// Who received these octets.
    async fn search(&self, condemned: Condemned) -> Result<(), String> {
        if condemned.is_empty() {
            return Ok(());
        }
        let (folder, since) = (self.0.folder.clone(), self.since(&self.0.live.current()));
        self.flush().await?;
        let hits = blocking(move || past::with_digests(&folder, &since, condemned).map_err(|error| error.to_string()));
        self.tell(hits.await?, ITSELF).await
    }

    fn since(&self, policy: &Policy) -> String {
        (self.0.clock.now() - policy.retro.look_back).rfc3339()
    }

    async fn flush(&self) -> Result<(), String> {
        let record = self.0.record.clone();
        blocking(move || {
            record.flush();
            Ok(())
        })
        .await
    }

    /// Some held messages, looked at as they would be today; released ones too, as long as they are there.
    pub async fn held(&self, after: Option<Cursor>) -> Result<HeldPage, String> {
        let filter = Filter { released: true, after, limit: PAGE, ..Filter::default() };
        let list = self.0.shelf.list(&filter).await.map_err(|error| error.to_string())?;
        let mut page = HeldPage { next: list.next, ..HeldPage::default() };
        // Copies of a mailing have one body, and it is looked at once.
        let mut seen: HashMap<HeldKey, Result<Vec<String>, String>> = HashMap::new();
        for entry in list.entries {
            let found = match seen.entry(entry.key.first()) {
                hash_map::Entry::Occupied(known) => known.into_mut(),
                hash_map::Entry::Vacant(free) => free.insert(self.look(&entry, &mut page.condemned).await),
            };
            match found {
                Ok(objections) => page.hits.extend(news(&entry, objections)),
                Err(_) => page.unseen = page.unseen.saturating_add(1),
            }
            page.looked_at = page.looked_at.saturating_add(1);
        }
        Ok(page)
    }

    async fn look(&self, entry: &HeldEntry, bad: &mut Condemned) -> Result<Vec<String>, String> {
        let (_, keep) = self.0.shelf.show(entry.key).await.map_err(|error| error.to_string())?;
        let again = self.0.recheck.again(entry, &keep, &entry.held.meta.recipients).await?;
        bad.extend(again.condemned());
        Ok(again.objections)
    }

    /// A held message was looked at without being asked: tells what of it is news, and has its digests looked for in what
    /// was delivered.
    pub async fn learn(&self, entry: &HeldEntry, again: &Again) -> Result<(), String> {
        self.0.sightings.tell_of(again.condemned());
        self.tell(news(entry, &again.objections), ITSELF).await
    }

    /// Tells what was not told before.
    pub async fn tell(&self, hits: Vec<Hit>, by: &str) -> Result<(), String> {
        let mut memory = self.0.memory.lock().await;
        let memory = &mut *memory;
        let told = match &mut memory.told {
            Some(told) => told,
            told => {
                let (folder, since) = (self.0.folder.clone(), self.since(&self.0.live.current()));
                told.insert(blocking(move || past::told(&folder, &since).map_err(|error| error.to_string())).await?)
            }
        };
        let news: Vec<Hit> = hits.into_iter().filter(|hit| !told.contains(&hit.key())).collect();
        if told.len().saturating_add(news.len()) > MOST_KEYS {
            told.clear();
        }
        let (now, more) = (self.0.clock.now(), news.len().saturating_sub(MOST_TOLD));
        for hit in news.into_iter().take(MOST_TOLD) {
            // Twice in one look: two parts with the same octets.
            if told.insert(hit.key()) {
                self.write_down(&hit, by, now);
                memory.post.add(hit);
            }
        }
        if more > 0 {
            tracing::warn!(more, "more deliveries are bad by what is known today than are told at once");
        }
        Ok(())
    }

    fn write_down(&self, hit: &Hit, by: &str, now: Timestamp) {
        let what = if hit.is_delivery() { FOUND } else { WORSE };
        let act = Act {
            what: what.to_owned(),
            about: hit.line(),
            by: by.to_owned(),
            reason: String::new(),
            detail: hit.key(),
        };
        self.0.record.write(now, Entry::Act(act));
        if hit.is_delivery() {
            self.0.metrics.retro_told();
            tracing::warn!(id = %hit.id, agency = hit.agency, because = hit.because, "delivered mail is known to be bad now");
            let (id, to) = (hit.id.to_string(), hit.recipients.join(" "));
            self.0.guard.tell(Event::late(id, &hit.sender, &to, &hit.because, now));
        } else {
            tracing::warn!(id = %hit.id, because = hit.because, "held mail is known to be worse now");
        }
    }

    async fn send_letters(&self, policy: &Policy) {
        let now = self.0.clock.now();
        let due = self.0.memory.lock().await.post.due(now, policy.retro.reports_a_day);
        if due.is_empty() {
            return;
        }
        for (agency, hits) in due.into_iter().filter(|_| !policy.retro.report_to.is_empty()) {
            let outcome = match self.send(&agency, &hits, policy, now).await {
                Ok(()) => "sent",
                Err(why) => {
                    tracing::error!(%agency, why, "the agency's postmaster could not be told of delivered mail");
                    "failed"
                }
            };
            self.0.metrics.retro_letter(outcome);
        }
        self.0.deliver.wake();
    }

    async fn send(&self, agency: &AgencyId, hits: &[Hit], policy: &Policy, now: Timestamp) -> Result<(), String> {
        let domain = policy.agency(agency).and_then(|agency| agency.domains.first());
        let domain = domain.ok_or("it is not in the configuration")?;
        let text = format!("{}@{domain}", policy.retro.report_to);
        let mailbox = Mailbox::parse(&text).map_err(|error| format!("{text}: {error}"))?;
        let found = policy.compiled.envelope.check_recipient(&Standing::Inward, &Target::Mailbox(mailbox));
        let (to, destination) = found.map_err(|reply| format!("{text}: {reply}"))?;
        let (id, hostname) = (self.0.dice.mail_id(now), policy.hostname.as_str());
        let parcel = letter::build(&Letter { id, now, hostname, to: &to, destination, hits });
        self.0.spool.accept(&parcel, now).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Digests that were not looked for lately.
fn fresh(seen: Condemned, searched: &mut HashMap<String, Timestamp>, now: Timestamp) -> Condemned {
    if searched.len() >= MOST_DIGESTS {
        searched.retain(|_, at| *at + AGAIN > now);
    }
    if searched.len() >= MOST_DIGESTS {
        searched.clear();
    }
    let is_fresh = |digest: &String, searched: &HashMap<String, Timestamp>| {
        searched.get(digest).is_none_or(|at| *at + AGAIN <= now)
    };
    let fresh: Condemned = seen.into_iter().filter(|(digest, _)| is_fresh(digest, searched)).collect();
    searched.extend(fresh.keys().map(|digest| (digest.clone(), now)));
    fresh
}

/// What is known now of a held message and was not when it was held: of a released one everything that would hold it
/// today, of others malware.
fn news(entry: &HeldEntry, objections: &[String]) -> Vec<Hit> {
    let held = &entry.held;
    let unknown = |code: &&String| !held.codes.contains(code) && !held.because.contains(code);
    let codes: Vec<&String> = objections.iter().filter(unknown).collect();
    let malware: Vec<&String> = codes.iter().copied().filter(|code| code.starts_with("malware.")).collect();
    let hit = |state: &str, codes: &[&String], recipients: Vec<String>| Hit {
        id: held.meta.id,
        time: held.held_at.rfc3339(),
        sender: held.meta.sender.to_string(),
        agency: held.meta.destination.agency().to_string(),
        direction: held.meta.destination.direction().to_owned(),
        recipients,
        part: String::new(),
        name: entry.key.to_string(),
        sha256: held.sha256.clone(),
        because: codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(", "),
        then: Action::Quarantine,
        state: state.to_owned(),
    };
    let own = || held.meta.recipients.iter().map(|recipient| recipient.mailbox.to_string()).collect();
    let mut hits = Vec::new();
    if codes.is_empty() {
        return hits;
    }
    if entry.released.is_some() {
        hits.push(hit("released", &codes, own()));
    }
    let forwarded = entry.deeds.iter().filter(|deed| deed.what == What::Forwarded);
    hits.extend(forwarded.map(|deed| hit("forwarded", &codes, deed.to.clone())));
    if hits.is_empty() && !malware.is_empty() {
        hits.push(hit(HELD, &malware, own()));
    }
    hits
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_302_082);

    #[test]
    fn it_looks_once_after_things_have_come_to_rest() {
        let (mut change, five) = (Change::default(), Span::minutes(5));
        let mut due = |state: &str, minutes| change.is_due(state.to_owned(), NOW + Span::minutes(minutes), five);
        let told = [due("a", 0), due("a", 4), due("b", 5), due("b", 9), due("b", 10), due("b", 60), due("c", 61)];
        assert_eq!(told, [false, false, false, false, true, false, false]);
        assert!(due("c", 66));
        assert!(!Change::default().is_due("a".into(), NOW, Span::ZERO), "only on command");
    }

    #[test]
    fn a_flood_of_one_digest_is_one_search_an_hour_and_memory_is_bounded() {
        let seen = |n: usize| Condemned::from([(format!("{n:064x}"), "malware.x".to_owned())]);
        let mut searched = HashMap::new();
        assert_eq!(fresh(seen(1), &mut searched, NOW).len(), 1);
        assert_eq!(fresh(seen(1), &mut searched, NOW + Span::minutes(59)).len(), 0);
        assert_eq!(fresh(seen(1), &mut searched, NOW + Span::minutes(60)).len(), 1);
        for n in 0..3 * MOST_DIGESTS {
            fresh(seen(n), &mut searched, NOW + Span::minutes(61));
        }
        assert!(searched.len() <= MOST_DIGESTS);
    }
}
