//! The durable queue at work: due jobs are claimed, each destination has a lane of limited width, a dead host is
//! asked by one message while the others wait, and every attempt is recorded before the job moves on.
//!
//! Lanes give fairness: a destination with 100,000 waiting messages holds as many of our hands as its lane is wide.
//! A lane opens slowly: one message, and one more with each success (THREATS R-06: no herd on return).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Deliver;
use super::attempt::{Load, Sent};
use super::conn::Patience;
use super::giveup::Failure;
use super::host::Entry;
use crate::deliver::client::Wire;
use crate::deliver::route::{Hop, Policy, Way};
use crate::deliver::schedule;
use crate::mail::{Domain, Parcel, Reply, Span, Timestamp};
use crate::spool::{Attempt, Fate, Job, JobKey};

/// Jobs under way at the same time, over all destinations.
const HANDS: usize = 512;
/// Jobs claimed at once.
const BATCH: usize = 256;
/// A job whose lane is full or shut waits here at most this long if nobody calls it before.
const PARKED: Span = Span::minutes(5);
/// Even when nothing is said to be due, look this often: clocks jump.
const LOOK: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_secs(10);
/// When stopping, attempts under way may end for so long.
const FAREWELL: Duration = Duration::from_secs(30);

/// What one attempt said about one recipient.
#[derive(Debug)]
pub(super) enum Said {
    Taken,
    Refused(Reply),
    /// In one sentence.
    Later(String),
}

impl From<Result<(), Reply>> for Said {
    fn from(fate: Result<(), Reply>) -> Self {
        match fate {
            Ok(()) => Self::Taken,
            Err(reply) if reply.is_permanent() => Self::Refused(reply),
            Err(reply) => Self::Later(reply.to_string()),
        }
    }
}

/// The hosts of a job do not answer, and were not asked again: not before this moment.
#[derive(Debug)]
pub(super) struct Shut {
    until: Instant,
    pub reason: String,
}

/// What shares one limit: an agency's first hop, or a domain of the Internet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum LaneKey {
    Hop(Hop),
    Domain(Domain),
}

#[derive(Debug)]
struct Lane {
    running: usize,
    width: usize,
    /// Jobs put back because the lane was full or its host shut, oldest first.
    parked: BTreeSet<JobKey>,
}

/// All lanes in use.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<LaneKey, Lane>);

impl Lanes {
    fn lane(&mut self, key: &LaneKey) -> &mut Lane {
        self.0.entry(key.clone()).or_insert_with(|| Lane { running: 0, width: 1, parked: BTreeSet::new() })
    }

    /// Whether `job` may run now; if not it is parked.
    fn enter(&mut self, key: &LaneKey, job: JobKey) -> bool {
        let lane = self.lane(key);
        let free = lane.running < lane.width;
        if free {
            lane.running = lane.running.saturating_add(1);
            lane.parked.remove(&job);
        } else {
            lane.parked.insert(job);
        }
        free
    }

    /// Parks a job whose host is shut; true for the first: the one that asks next.
    fn park(&mut self, key: &LaneKey, job: JobKey) -> bool {
        let lane = self.lane(key);
        let first = lane.parked.is_empty();
        lane.parked.insert(job);
        first
    }

    /// An attempt ended; the jobs that may come now.
    fn leave(&mut self, key: &LaneKey, went: Went, widest: usize) -> Vec<JobKey> {
        let lane = self.lane(key);
        lane.running = lane.running.saturating_sub(1);
        lane.width = match went {
            Went::Well => lane.width.saturating_add(1).min(widest.max(1)),
            Went::Badly => 1,
        };
        let calls = if went == Went::Well { self.call(key) } else { Vec::new() };
        if self.0.get(key).is_some_and(|lane| lane.running == 0 && lane.parked.is_empty() && lane.width == 1) {
            self.0.remove(key);
        }
        calls
    }

    /// As many parked jobs as there is room for.
    fn call(&mut self, key: &LaneKey) -> Vec<JobKey> {
        let Some(lane) = self.0.get_mut(key) else { return Vec::new() };
        let room = lane.width.saturating_sub(lane.running);
        let called: Vec<JobKey> = lane.parked.iter().copied().take(room).collect();
        for job in &called {
            lane.parked.remove(job);
        }
        called
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Went {
    Well,
    Badly,
}

impl Deliver {
    /// Works the spool off until `shutdown` says true; attempts under way then have half a minute.
    pub async fn run_queue(
        self: &Arc<Self>,
        policy: watch::Receiver<Arc<Policy>>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut running = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        while !*shutdown.borrow() {
            while running.try_join_next().is_some() {}
            let now = self.parts.clock.now();
            let room = HANDS.saturating_sub(running.len()).min(BATCH);
            let claimed = self.begin(room, now, &policy.borrow().clone(), &mut running);
            if claimed > 0 && claimed == room {
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.parts.spool.next_due().map_or(LOOK, |due| due.since(now).as_std()).min(LOOK);
            // A due job for which there is no room must not make this loop spin.
            let pause = if room == 0 { LOOK } else { due.max(Duration::from_millis(5)) };
            tokio::select! {
                () = self.parts.spool.changed(), if room > 0 => {}
                () = self.stirred.notified(), if room > 0 => {}
                // With room left nobody needs to hear of each end: a lane that gets free calls its next job itself.
                Some(_) = running.join_next(), if room == 0 => {}
                () = tokio::time::sleep(pause) => {}
                _ = sweep.tick() => {
                    let this = Arc::clone(self);
                    running.spawn(async move { this.sweep().await });
                }
                // Nobody left to say "stop" means that the house is gone.
                told = shutdown.changed() => if told.is_err() { break },
            }
        }
        let _ = timeout(FAREWELL, async { while running.join_next().await.is_some() {} }).await;
    }

    /// Works off what is due at this moment, and returns how many jobs that were.
    pub async fn run_due(self: &Arc<Self>, policy: &Arc<Policy>) -> usize {
        let (mut running, mut count) = (JoinSet::new(), 0_usize);
        loop {
            count = count.saturating_add(self.begin(BATCH, self.parts.clock.now(), policy, &mut running));
            if running.join_next().await.is_none() {
                return count;
            }
        }
    }

    /// Claims up to `limit` due jobs and starts those whose lanes have room; returns how many were claimed.
    fn begin(self: &Arc<Self>, limit: usize, now: Timestamp, policy: &Arc<Policy>, running: &mut JoinSet<()>) -> usize {
        let jobs = self.parts.spool.claim_due(now, limit);
        let claimed = jobs.len();
        for job in jobs {
            let lane = lane_of(&job, policy);
            if let Err(when) = self.in_pace(&lane, job.key, now, policy) {
                self.parts.spool.put_back(job.key, when);
                continue;
            }
            let mut lanes = self.lanes();
            let entered = lanes.enter(&lane, job.key);
            if !entered {
                // Under the lanes' lock: whoever calls the parked job must find it put back, or it sleeps till PARKED ends.
                self.parts.spool.put_back(job.key, now + self.spread(PARKED));
            }
            drop(lanes);
            if entered {
                let (this, policy) = (Arc::clone(self), Arc::clone(policy));
                running.spawn(async move { this.work(job, lane, &policy).await });
            }
        }
        claimed
    }

    /// Whether the rate of a job's domain lets it go now; else when it may ask again.
    fn in_pace(&self, lane: &LaneKey, job: JobKey, now: Timestamp, policy: &Policy) -> Result<(), Timestamp> {
        let LaneKey::Domain(domain) = lane else { return Ok(()) };
        let rate = policy.settings.internet.limits(domain.as_str()).rate;
        let entered = self.pace.lock().unwrap_or_else(PoisonError::into_inner).enter(domain, job, rate, now);
        entered.inspect_err(|_| self.parts.internet.metrics.paced())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Between one and two times `span`.
    fn spread(&self, span: Span) -> Span {
        Span::millis(span.as_millis().saturating_add(self.parts.dice.below(span.as_millis())))
    }

    /// A host answers again: the first of its waiting jobs may go, the others follow one another.
    pub(super) fn host_is_back(&self, hop: &Hop) {
        let called = self.lanes().call(&LaneKey::Hop(hop.clone()));
        self.call(called);
    }

    fn call(&self, jobs: Vec<JobKey>) {
        if jobs.is_empty() {
            return;
        }
        let now = self.parts.clock.now();
        for job in jobs {
            self.parts.spool.retry(Some(job), now);
        }
        self.stirred.notify_one();
    }

    async fn work(&self, job: Job, lane: LaneKey, policy: &Policy) {
        let went = self.attempt(&job, &lane, policy).await;
        let called = self.lanes().leave(&lane, went, widest(&lane, policy));
        self.call(called);
    }

    async fn attempt(&self, job: &Job, lane: &LaneKey, policy: &Policy) -> Went {
        let now = self.parts.clock.now();
        let parcel = match self.parts.spool.read(job.key).await {
            Ok(parcel) => parcel,
            Err(error) => {
                tracing::error!(id = %job.meta.id, %error, "a queued message cannot be read");
                self.parts.spool.put_back(job.key, now + Span::hours(1));
                return Went::Badly;
            }
        };
        let to: Vec<usize> = job.pending.iter().map(|p| p.recipient).collect();
        let said = match Wire::check(&parcel) {
            Err(error) => {
                tracing::error!(id = %job.meta.id, %error, "a message that must not leave");
                later(&to, &error.to_string())
            }
            Ok(wire) => {
                let load = Load { parcel: &parcel, to: &to, wire: &wire, account: None };
                match policy.way(&parcel.meta.destination) {
                    Way::Hops(hops) => match self.by_hops(&hops, load, job.tries, policy).await {
                        Ok(said) => said,
                        Err(shut) if self.is_waiting(job, now, policy) => {
                            self.park(job.key, lane, shut.until, now);
                            return Went::Badly;
                        }
                        Err(shut) => later(&to, &shut.reason),
                    },
                    Way::ByMx => self.by_mx(load, job.tries, policy).await,
                    Way::Nowhere => later(&to, "no next hop is configured for this agency"),
                }
            }
        };
        let went = if said.iter().any(|(_, s)| !matches!(s, Said::Later(_))) { Went::Well } else { Went::Badly };
        self.conclude(job.key, &parcel, said, job.tries, job.warned, policy).await;
        went
    }

    /// Whether nothing is to be told about a job but that it waits.
    fn is_waiting(&self, job: &Job, now: Timestamp, policy: &Policy) -> bool {
        now < job.meta.received_at + policy.settings.give_up
            && !schedule::is_warning_due(job.meta.received_at, now, job.warned)
    }

    /// Puts a job back until its host may be asked; the first of a lane asks, the others wait to be called.
    fn park(&self, job: JobKey, lane: &LaneKey, until: Instant, now: Timestamp) {
        // Held until the job is put back: see `begin`.
        let mut lanes = self.lanes();
        let first = lanes.park(lane, job);
        let quiet = until.saturating_duration_since(Instant::now());
        let asked = now + Span::millis(u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)) + Span::millis(1);
        let due = if first { asked } else { asked + self.spread(PARKED) };
        self.parts.spool.put_back(job, due);
    }

    /// The hops in order; the first that answers decides. `Err` when all of them are left alone just now.
    pub(super) async fn by_hops(
        &self,
        hops: &[Arc<Hop>],
        load: Load<'_>,
        tries: u32,
        policy: &Policy,
    ) -> Result<Vec<(usize, Said)>, Shut> {
        let (mut shut, mut trouble, mut unfit): (Option<Shut>, Option<String>, Option<Reply>) = (None, None, None);
        for hop in hops {
            let host = self.host(hop, policy);
            let _pass = match host.enter() {
                Entry::Open(pass) => pass,
                Entry::Shut(until, reason) => {
                    if shut.as_ref().is_none_or(|s| until < s.until) {
                        shut = Some(Shut { until, reason });
                    }
                    continue;
                }
            };
            match self.try_hop(hop, &host, load, Patience::ByStage, policy).await {
                Ok(Sent::Answered(answers)) => {
                    let taken = answers.fates.iter().filter(|fate| fate.is_ok()).count();
                    let reply = answers.answer.as_ref().map(Reply::code);
                    tracing::info!(id = %load.parcel.meta.id, hop = %hop.host, reply, taken, of = load.to.len(), "sent");
                    let impatient = hop.traits().patience.is_some_and(|limit| limit <= tries);
                    let said = answers.fates.into_iter().map(|fate| match fate {
                        // A server that says "not now" for ever means "no" (DOMAIN §2.2).
                        Err(reply) if impatient && reply.is_temporary() => Said::Refused(reply),
                        fate => Said::from(fate),
                    });
                    return Ok(load.to.iter().copied().zip(said).collect());
                }
                // RFC 8689 §4.2.1: another exchanger may keep what the message requires.
                Ok(Sent::Unfit(reply)) if hop.internet && reply.enhanced() == "5.7.30" => unfit = Some(reply),
                Ok(Sent::Unfit(reply)) => {
                    return Ok(load.to.iter().map(|i| (*i, Said::Refused(reply.clone()))).collect());
                }
                Ok(Sent::Doubt(_)) => {
                    trouble = Some("no answer after the final dot".to_owned());
                    break;
                }
                Err(error) => trouble = Some(error.to_string()),
            }
        }
        if let (Some(reply), None, None) = (unfit, &trouble, &shut) {
            return Ok(load.to.iter().map(|i| (*i, Said::Refused(reply.clone()))).collect());
        }
        match (trouble, shut) {
            (None, Some(shut)) => Err(shut),
            (why, _) => {
                let why = why.unwrap_or_else(|| "no next hop".to_owned());
                Ok(later(load.to, &why))
            }
        }
    }

    /// Records what an attempt came to: first reports and held copies are made safe, then the job moves on.
    pub(super) async fn conclude(
        &self,
        key: JobKey,
        parcel: &Parcel,
        said: Vec<(usize, Said)>,
        tries: u32,
        warned: bool,
        policy: &Policy,
    ) {
        let (now, since) = (self.parts.clock.now(), parcel.meta.received_at);
        let next = schedule::next_attempt(&policy.settings, since, now, tries.saturating_add(1), self.jitter());
        let (mut fates, mut failures, mut waiting) = (Vec::with_capacity(said.len()), Vec::new(), Vec::new());
        for (i, said) in said {
            match said {
                Said::Taken => fates.push((i, Fate::Done)),
                Said::Refused(reply) => failures.push(Failure::refused(i, &reply)),
                Said::Later(why) if next.is_none() => failures.push(Failure::expired(i, why)),
                Said::Later(why) => waiting.push(Failure::delayed(i, why)),
            }
        }
        let warned = warned
            || (schedule::is_warning_due(since, now, warned)
                && !waiting.is_empty()
                && self.warn(parcel, &waiting, policy).await);
        fates.extend(waiting.into_iter().map(|f| (f.recipient, Fate::Later(f.said))));
        let mut next_attempt = next.unwrap_or(now);
        match self.give_up(parcel, &failures, policy).await {
            Ok(()) => fates.extend(failures.into_iter().map(|f| (f.recipient, Fate::Failed(f.said)))),
            Err(error) => {
                // Not reported, so not over: the recipient stays until its report is safe.
                tracing::error!(id = %parcel.meta.id, %error, "a failed delivery could not be reported");
                next_attempt = now + self.spread(Span::minutes(5));
                fates.extend(failures.into_iter().map(|f| (f.recipient, Fate::Later(f.said))));
            }
        }
        let attempt = Attempt { at: now, fates, next_attempt, warned };
        if let Err(error) = self.parts.spool.record(key, attempt).await {
            tracing::error!(id = %parcel.meta.id, %error, "an attempt could not be recorded: it may be made twice");
            self.parts.spool.put_back(key, now + self.spread(Span::minutes(1)));
        }
    }
}

pub(super) fn later(to: &[usize], why: &str) -> Vec<(usize, Said)> {
    to.iter().map(|i| (*i, Said::Later(why.to_owned()))).collect()
}

/// How many messages may be under way in a lane.
fn widest(lane: &LaneKey, policy: &Policy) -> usize {
    match lane {
        LaneKey::Hop(_) => policy.settings.concurrency,
        LaneKey::Domain(domain) => policy.settings.internet.limits(domain.as_str()).concurrency,
    }
}

/// The lane of a job: its agency's first hop, or the domain of its first recipient.
fn lane_of(job: &Job, policy: &Policy) -> LaneKey {
    if let Way::Hops(hops) = policy.way(&job.meta.destination)
        && let Some(hop) = hops.first()
    {
        return LaneKey::Hop(Hop::clone(hop));
    }
    let domain = job.pending.first().map(|p| p.mailbox.domain().clone());
    let agency = || Domain::parse("unknown.invalid").expect("the name is well formed");
    LaneKey::Domain(domain.unwrap_or_else(agency))
}

#[cfg(test)]
mod tests;
