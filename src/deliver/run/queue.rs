//! The durable queue at work: due jobs are claimed, each destination has a lane of limited width, a dead host is
//! asked by one message while the others wait, and every attempt is recorded before the job moves on.
//!
//! Lanes give fairness: a destination with 100,000 waiting messages holds as many of our hands as its lane is wide.
//! A lane opens slowly: one message, and one more with each success (THREATS R-06: no herd on return).

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Deliver;
use super::attempt::{Load, Sent, is_the_hosts};
use super::conn::Patience;
use super::giveup::Failure;
use super::host::Entry;
use super::lanes::{Bench, LaneKey, Lanes, Turn, Went};
use crate::deliver::client::Wire;
use crate::deliver::route::{Hop, Policy, Way};
use crate::deliver::schedule;
use crate::env::clock::Step;
use crate::mail::{Domain, Parcel, Reply, Span, Timestamp};
use crate::spool::{Attempt, Fate, Job, JobKey, Spool};

/// Jobs under way at the same time, over all destinations.
const HANDS: usize = 512;
/// Jobs claimed at once.
const BATCH: usize = 256;
/// A job whose lane is full or shut comes up again after this long (to twice that) if nobody calls it before.
const PARKED: Span = Span::minutes(15);
/// No step of ours puts a job off for longer than the longest retry and this.
const FARTHEST: Span = Span::hours(1);
/// Even when nothing is said to be due, look this often: clocks jump.
const LOOK: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_secs(10);
/// When stopping, attempts under way may end for so long.
const FAREWELL: Duration = Duration::from_secs(30);

/// What one attempt said about one recipient.
#[derive(Debug)]
pub(super) enum Said {
    Taken,
    /// Taken by a server that reports nothing to senders: what they wanted to hear of its success is ours to say.
    Relayed,
    Refused(Reply),
    /// In one sentence.
    Later(String),
}

impl Said {
    /// The server that took it reports nothing itself.
    pub fn relay(&mut self) {
        if matches!(self, Self::Taken) {
            *self = Self::Relayed;
        }
    }
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

/// What came of asking the hosts of a job.
#[derive(Debug)]
pub(super) enum Asked {
    Said(Vec<(usize, Said)>),
    Shut(Shut),
}

/// None of the hosts answers.
#[derive(Debug)]
pub(super) struct Shut {
    /// How long they are left alone.
    wait: Span,
    pub reason: String,
    /// Whether one of them was asked just now.
    asked: bool,
}

/// The spool as lanes use it.
pub(super) struct Beds<'a> {
    spool: &'a Spool,
    now: Timestamp,
    /// When a job that is put back comes up by itself.
    until: Timestamp,
}

impl Bench for Beds<'_> {
    fn rest(&self, job: JobKey) {
        self.spool.put_back(job, self.until);
    }
    fn call(&self, job: JobKey, wait: Span) -> bool {
        self.spool.hurry(&[job], self.now + wait) > 0
    }
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
        let mut known = policy.borrow().clone();
        self.mind_far_dues(&known);
        while !*shutdown.borrow() {
            while running.try_join_next().is_some() {}
            let now = self.look();
            let current = policy.borrow().clone();
            if !Arc::ptr_eq(&known, &current) {
                self.lanes().clear(&self.beds(now, None));
                known = current;
            }
            let room = HANDS.saturating_sub(running.len()).min(BATCH);
            let claimed = self.begin(room, now, &known, &mut running);
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
                    let (this, policy) = (Arc::clone(self), Arc::clone(&known));
                    running.spawn(async move { this.sweep(&policy).await });
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
            let claimed = self.begin(BATCH, self.look(), policy, &mut running);
            count = count.saturating_add(claimed);
            if running.join_next().await.is_none() && claimed == 0 {
                return count;
            }
        }
    }

    /// Claims up to `limit` due jobs and starts those whose turn it is; returns how many were claimed.
    fn begin(self: &Arc<Self>, limit: usize, now: Timestamp, policy: &Arc<Policy>, running: &mut JoinSet<()>) -> usize {
        let mut jobs = self.parts.spool.claim_due(now, limit);
        let claimed = jobs.len();
        // Oldest first, whatever time each was given.
        jobs.sort_unstable_by_key(|job| job.key);
        for job in jobs {
            let turn = turn_of(&job, policy);
            let admitted = self.lanes().admit(&turn, &self.beds(now, Some((&job, policy))));
            if admitted && self.is_in_pace(&turn, now, policy) {
                let (this, policy) = (Arc::clone(self), Arc::clone(policy));
                running.spawn(async move { this.work(job, turn, &policy).await });
            }
        }
        claimed
    }

    /// Whether the rate of a job's domain lets it go now. If not it rests until its place comes.
    fn is_in_pace(&self, turn: &Turn, now: Timestamp, policy: &Policy) -> bool {
        let LaneKey::Domain(domain) = &turn.lane else { return true };
        let rate = policy.settings.internet.limits(domain.as_str()).rate;
        let entered = self.pace.lock().unwrap_or_else(PoisonError::into_inner).enter(domain, turn.job, rate, now);
        let Err(when) = entered else { return true };
        self.parts.internet.metrics.paced();
        self.parts.spool.put_back(turn.job, when);
        self.lanes().leave(turn, Went::PutOff, widest(&turn.lane, policy), &self.beds(now, None));
        false
    }

    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spool as lanes use it now; a job that rests comes up in time for what its sender is to be told.
    pub(super) fn beds(&self, now: Timestamp, job: Option<(&Job, &Policy)>) -> Beds<'_> {
        let told = job.and_then(|(job, policy)| {
            let since = self.began(job.meta.received_at, now);
            schedule::news_due(&policy.settings, since, now, job.warned)
        });
        let until = now + self.spread(PARKED);
        Beds { spool: &self.parts.spool, now, until: told.map_or(until, |told| told.min(until)) }
    }

    /// Between one and two times `span`.
    fn spread(&self, span: Span) -> Span {
        Span::millis(span.as_millis().saturating_add(self.parts.dice.below(span.as_millis())))
    }

    /// Reads both clocks; retry times stand on the wall clock, so when that was set back all of them are looked at anew.
    fn look(&self) -> Timestamp {
        let (now, uptime) = (self.parts.clock.now(), self.parts.clock.uptime());
        match self.chronicle().look(now, uptime) {
            Step::Steady => {}
            Step::Ahead(by) => {
                tracing::warn!(%by, "the clock was set ahead; nothing expires for that");
                self.parts.metrics.clock_jumped();
            }
            Step::Back(by) => {
                tracing::warn!(%by, "the clock was set back; what waits is tried now");
                self.parts.metrics.clock_jumped();
                self.parts.spool.retry(None, now);
            }
        }
        now
    }

    /// At a start: retry times that no step of ours sets are of a time when the clock was ahead.
    fn mind_far_dues(&self, policy: &Policy) {
        let now = self.parts.clock.now();
        let farthest = now + policy.settings.retry_max + FARTHEST;
        if self.parts.spool.last_due().is_some_and(|due| farthest < due) {
            tracing::warn!("retry times lie far ahead, as if the clock had been set back; what waits is tried now");
            self.parts.spool.retry(None, now);
        }
    }

    /// Since when a message is to be counted as ours: as its age on both clocks says, and never so that it would expire
    /// while the time of day is in doubt (THREATS R-10).
    fn began(&self, received_at: Timestamp, now: Timestamp) -> Timestamp {
        let chronicle = self.chronicle();
        if chronicle.is_settled(received_at) { now - chronicle.age(received_at) } else { now }
    }

    /// A host answers again: the first of its waiting jobs may go, the others follow one another.
    pub(super) fn host_is_back(&self, hop: &Hop) {
        let now = self.parts.clock.now();
        self.lanes().call(&LaneKey::Hop(hop.clone()), &self.beds(now, None));
    }

    async fn work(&self, job: Job, turn: Turn, policy: &Policy) {
        let mut leaving = Leaving { deliver: self, turn: &turn, went: None, widest: widest(&turn.lane, policy) };
        leaving.went = Some(self.attempt(&job, &turn, policy).await);
    }

    async fn attempt(&self, job: &Job, turn: &Turn, policy: &Policy) -> Went {
        let now = self.parts.clock.now();
        let parcel = match self.parts.spool.read(job.key).await {
            Ok(parcel) => parcel,
            Err(error) => {
                tracing::error!(id = %job.meta.id, %error, "a queued message cannot be read");
                self.parts.spool.put_back(job.key, now + Span::hours(1));
                return Went::PutOff;
            }
        };
        let to: Vec<usize> = job.pending.iter().map(|p| p.recipient).collect();
        let asked = match Wire::check(&parcel) {
            Err(error) => {
                tracing::error!(id = %job.meta.id, %error, "a message that must not leave");
                Asked::Said(later(&to, &error.to_string()))
            }
            Ok(wire) => {
                let load = Load { parcel: &parcel, to: &to, wire: &wire, account: None };
                match policy.way(&parcel.meta.destination) {
                    Way::Hops(hops) => self.by_hops(&hops, load, job.tries, policy).await,
                    Way::ByMx => self.by_mx(load, job.tries, policy).await,
                    Way::Nowhere => Asked::Said(later(&to, "no next hop is configured for this agency")),
                }
            }
        };
        let (said, went) = match asked {
            Asked::Said(said) => {
                let any = said.iter().any(|(_, s)| !matches!(s, Said::Later(_)));
                (said, if any { Went::Well } else { Went::PutOff })
            }
            Asked::Shut(shut) => {
                // Nothing new is to be written down, or told to the sender: it waits with the others.
                let known = !shut.asked || job.pending.iter().all(|p| p.last == shut.reason);
                if known && self.is_waiting(job, now, policy) {
                    self.lanes().park(turn, shut.wait, &self.beds(now, Some((job, policy))));
                    return Went::Shut(shut.wait);
                }
                (later(&to, &shut.reason), Went::Shut(shut.wait))
            }
        };
        self.conclude(job.key, &parcel, said, job.tries, job.warned, policy).await;
        went
    }

    /// Whether nothing is to be told about a job but that it waits.
    fn is_waiting(&self, job: &Job, now: Timestamp, policy: &Policy) -> bool {
        let since = self.began(job.meta.received_at, now);
        now < since + policy.settings.give_up && !schedule::is_warning_due(since, now, job.warned)
    }

    /// The hops in order; the first that answers decides.
    pub(super) async fn by_hops(&self, hops: &[Arc<Hop>], load: Load<'_>, tries: u32, policy: &Policy) -> Asked {
        let (mut shut, mut trouble, mut unfit): (Option<Shut>, Option<String>, Option<Reply>) = (None, None, None);
        let mut note = |wait: Span, reason: String, asked: bool| {
            let asked = asked || shut.as_ref().is_some_and(|s| s.asked);
            match &mut shut {
                Some(sooner) if sooner.wait <= wait => sooner.asked = asked,
                other => *other = Some(Shut { wait, reason, asked }),
            }
        };
        for hop in hops {
            let host = self.host(hop, policy);
            let _pass = match host.enter() {
                Entry::Open(pass) => pass,
                Entry::Shut(wait, reason) => {
                    note(wait, reason, false);
                    continue;
                }
            };
            match self.try_hop(hop, &host, load, Patience::ByStage, policy).await {
                Ok(Sent::Answered(answers)) => {
                    let taken = answers.fates.iter().filter(|fate| fate.is_ok()).count();
                    let reply = answers.answer.as_ref().map(Reply::code);
                    tracing::info!(id = %load.parcel.meta.id, hop = %hop.host, reply, taken, of = load.to.len(), "sent");
                    let silent = !self.reports_itself(hop, &host);
                    let impatient = hop.traits().patience.is_some_and(|limit| limit <= tries);
                    let said = answers.fates.into_iter().map(|fate| match fate {
                        // A server that says "not now" for ever means "no" (DOMAIN §2.2).
                        Err(reply) if impatient && reply.is_temporary() => {
                            self.parts.metrics.late_refusal(hop.profile);
                            Said::Refused(reply)
                        }
                        Ok(()) if silent => Said::Relayed,
                        fate => Said::from(fate),
                    });
                    return Asked::Said(load.to.iter().copied().zip(said).collect());
                }
                // RFC 8689 §4.2.1: another exchanger may keep what the message requires.
                Ok(Sent::Unfit(reply)) if hop.internet && reply.enhanced() == "5.7.30" => unfit = Some(reply),
                Ok(Sent::Unfit(reply)) => {
                    let said = load.to.iter().map(|i| (*i, Said::Refused(reply.clone())));
                    return Asked::Said(said.collect());
                }
                Ok(Sent::Doubt(_)) => {
                    trouble = Some("no answer after the final dot".to_owned());
                    break;
                }
                // The line broke in the middle of this message: that says nothing about the next. Of a host that was
                // asked as one that did not answer it would be "again at once", for ever.
                Err(error) => match host.shut().filter(|_| is_the_hosts(&error)) {
                    Some((wait, reason)) => note(wait, reason, true),
                    None => trouble = Some(error.to_string()),
                },
            }
        }
        if let (Some(reply), None, None) = (unfit, &trouble, &shut) {
            return Asked::Said(load.to.iter().map(|i| (*i, Said::Refused(reply.clone()))).collect());
        }
        match (trouble, shut) {
            (None, Some(shut)) => Asked::Shut(shut),
            (why, _) => Asked::Said(later(load.to, &why.unwrap_or_else(|| "no next hop".to_owned()))),
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
        let now = self.look();
        let since = self.began(parcel.meta.received_at, now);
        let next = schedule::next_attempt(&policy.settings, since, now, tries.saturating_add(1), self.jitter());
        let (mut fates, mut failures, mut waiting) = (Vec::with_capacity(said.len()), Vec::new(), Vec::new());
        let mut relayed = Vec::new();
        for (i, said) in said {
            match said {
                Said::Taken => fates.push((i, Fate::Done)),
                Said::Relayed => {
                    relayed.push(i);
                    fates.push((i, Fate::Done));
                }
                Said::Refused(reply) => failures.push(Failure::refused(i, &reply)),
                Said::Later(why) if next.is_none() => failures.push(Failure::expired(i, why)),
                Said::Later(why) => waiting.push(Failure::delayed(i, why)),
            }
        }
        self.tell_success(parcel, &relayed, policy).await;
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
pub(super) fn turn_of(job: &Job, policy: &Policy) -> Turn {
    let (destination, key) = (&job.meta.destination, job.key);
    let lane = match policy.way(destination) {
        Way::Hops(hops) => hops.first().map(|hop| LaneKey::Hop(Hop::clone(hop))),
        Way::ByMx | Way::Nowhere => job.pending.first().map(|p| LaneKey::Domain(p.mailbox.domain().clone())),
    };
    let nowhere = || LaneKey::Domain(Domain::parse("unknown.invalid").expect("the name is well formed"));
    Turn { lane: lane.unwrap_or_else(nowhere), agency: destination.agency().clone(), job: key }
}

/// Leaves the lane when the attempt ends, however it ends: an attempt that dies must not keep a place for ever.
struct Leaving<'a> {
    deliver: &'a Deliver,
    turn: &'a Turn,
    widest: usize,
    went: Option<Went>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let now = self.deliver.parts.clock.now();
        let went = self.went.unwrap_or_else(|| {
            self.deliver.parts.spool.put_back(self.turn.job, now + Span::hours(1));
            Went::PutOff
        });
        self.deliver.lanes().leave(self.turn, went, self.widest, &self.deliver.beds(now, None));
    }
}
