//! Append, group commit, reclaim; the only maker of Spooled.
//!
//! One thread, the committer, owns the log. Callers put records into its inbox and wait; it takes whatever waits, writes
//! it with one write and one sync, and answers all. It never waits for more to come: a caller who is alone is served
//! at once, and while a sync is under way the next batch gathers by itself. When the inbox is empty it
//! syncs what was answered without a sync, and frees old segments.

mod committer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::fault::Faults;
use super::frame::{Kind, State};
use super::index::{Hand, Index};
use super::item::Item;
use super::jobs::{after, load, load_job, meta};
use super::metrics::Metrics;
use super::nursery::Nursery;
use super::recover::{self, Purpose, Recovery};
use super::segment::Part;
use super::{Attempt, Job, JobKey, SpoolError, Spooled, settings};
use crate::env::Clock;
use crate::env::disk::{Disk, Lock};
use crate::mail::{Parcel, Timestamp};

use committer::Committer;

/// Records up to this size of young messages are read in place: they are in the page cache.
const READ_IN_PLACE: u64 = 256 << 10;

/// The spool of one gateway. Cheap to clone; one committer thread syncs for all callers.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Owner>);

/// Stops the threads when the last handle goes.
#[derive(Debug)]
struct Owner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: Arc<Mutex<Index>>,
    nursery: Arc<Nursery>,
    inbox: Mutex<Inbox>,
    filled: Condvar,
    changed: Notify,
    broken: AtomicBool,
    settings: settings::Spool,
    clock: Clock,
    metrics: Metrics,
    /// Given back when the committer ends.
    lock: Mutex<Option<Lock>>,
    /// A thread is making spare segments.
    making: AtomicBool,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: Vec<Waiting>,
    /// Damaged messages that readers came upon.
    damaged: Vec<(u64, String)>,
    closing: bool,
    closed: Vec<oneshot::Sender<()>>,
    ended: bool,
    /// The committer waits and must be called; a busy one looks by itself, and calling it would cost a system call.
    asleep: bool,
}

#[derive(Debug)]
struct Waiting {
    item: Item,
    answer: oneshot::Sender<Result<JobKey, SpoolError>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.0.inbox).closing = true;
        self.0.filled.notify_all();
    }
}

impl Spool {
    /// Reads the log in `dir` (made when it is missing) and starts the committer. Blocks for as long as that takes.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: settings::Spool,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<(Self, Recovery), SpoolError> {
        disk.create_folder(dir).map_err(SpoolError::Disk)?;
        let taken = disk.lock(&dir.join("lock")).map_err(|error| {
            if error.kind() == std::io::ErrorKind::WouldBlock {
                SpoolError::Disk(std::io::Error::new(
                    error.kind(),
                    format!("{} is in use by another gateway", dir.display()),
                ))
            } else {
                SpoolError::Disk(error)
            }
        })?;
        let (log, report) = recover::open(&disk, dir, &settings, Purpose::Serve, Faults::default())?;
        metrics.attach(&clock);
        metrics.damaged(log.damages);
        let shared = Arc::new(Shared {
            index: Arc::clone(&log.index),
            nursery: Arc::clone(&log.nursery),
            inbox: Mutex::default(),
            filled: Condvar::new(),
            changed: Notify::new(),
            broken: AtomicBool::new(false),
            settings,
            clock,
            metrics,
            lock: Mutex::new(Some(taken)),
            making: AtomicBool::new(false),
        });
        shared.show();
        let thread = Arc::clone(&shared);
        let committer = Committer { log, shared: thread, provided_for: 0 };
        let started = std::thread::Builder::new().name("spool".to_owned()).spawn(move || committer.run());
        started.map_err(SpoolError::Disk)?;
        Ok((Self(Arc::new(Owner(shared))), report))
    }

    /// All jobs of a spool whose gateway is down; nothing is changed.
    pub fn look(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<Job>, SpoolError> {
        let mut jobs = Vec::new();
        Self::survey(disk, dir, &mut |job| {
            jobs.push(job);
            true
        })?;
        Ok(jobs)
    }

    /// As `look`, one by one by age, until `see` says false: only the index is in memory.
    pub fn survey(disk: &Arc<dyn Disk>, dir: &Path, see: &mut dyn FnMut(Job) -> bool) -> Result<(), SpoolError> {
        let (log, _) = recover::open(disk, dir, &settings::Spool::default(), Purpose::Look, Faults::default())?;
        let mut after = None;
        loop {
            let keys: Vec<u64> = lock(&log.index).keys(after).take(1000).collect();
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(*last);
            for job in keys.iter().filter_map(|key| load_job(&log.index, *key).ok().flatten()) {
                if !see(job) {
                    return Ok(());
                }
            }
        }
    }

    /// Returns when the parcel is synced. `first_attempt` is when delivery may first be tried.
    pub async fn accept(&self, parcel: &Parcel, first_attempt: Timestamp) -> Result<Spooled, SpoolError> {
        self.take(parcel, first_attempt, Hand::Waiting).await?;
        self.shared().changed.notify_one();
        Ok(Spooled { id: parcel.meta.id })
    }

    /// As `accept`, for a parcel whose delivery is still in doubt on an open connection: it is kept, not yet due. It
    /// comes up at `due` unless `record`, `put_back` or `retry` of this very key settles it before.
    pub async fn accept_in_doubt(&self, parcel: &Parcel, due: Timestamp) -> Result<JobKey, SpoolError> {
        let key = self.take(parcel, due, Hand::Doubt).await?;
        self.shared().changed.notify_one();
        Ok(key)
    }

    async fn take(&self, parcel: &Parcel, due: Timestamp, hand: Hand) -> Result<JobKey, SpoolError> {
        let left = u32::try_from(parcel.meta.recipients.len()).unwrap_or(u32::MAX);
        let state = State { due, since: parcel.meta.received_at, left, ..State::default() };
        self.commit(Item::accepted(parcel, state, hand)?).await
    }

    /// Takes up to `limit` due jobs that nobody works on; each must come back through `record` or `put_back`.
    #[must_use]
    pub fn claim_due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        let keys = self.index().claim(now, limit);
        keys.into_iter()
            .filter_map(|key| match load_job(&self.shared().index, key) {
                Ok(job) => job,
                Err(error) => {
                    self.unreadable(key, &error);
                    None
                }
            })
            .collect()
    }

    /// The earliest moment at which a job not yet claimed is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.index().next_due()
    }

    /// The latest moment at which a job not yet claimed is due.
    #[must_use]
    pub fn last_due(&self) -> Option<Timestamp> {
        self.index().last_due()
    }

    /// Waits until something new may be due (a job accepted, retried, released). Remembers one such event while nobody
    /// waits. For one waiter: several would share the events.
    pub async fn changed(&self) {
        self.shared().changed.notified().await;
    }

    /// The bytes of a job.
    pub async fn read(&self, key: JobKey) -> Result<Parcel, SpoolError> {
        let unknown = || SpoolError::Unknown(key.0.to_string());
        let entry = self.index().get(key.0).ok_or_else(unknown)?;
        let young = self.shared().clock.now().since(entry.since).as_seconds() < 60;
        let index = Arc::clone(&self.shared().index);
        let found = if young && entry.place.span() <= READ_IN_PLACE {
            load(&index, key.0, Part::Whole)
        } else {
            let task = tokio::task::spawn_blocking(move || load(&index, key.0, Part::Whole)).await;
            task.map_err(|error| SpoolError::Disk(std::io::Error::other(error)))?
        };
        match found {
            Ok(found) => {
                let (_, record) = found.ok_or_else(unknown)?;
                Ok(Parcel { meta: meta(&record)?, head: record.head, body: record.body })
            }
            Err(error) => {
                self.unreadable(key.0, &error);
                Err(error)
            }
        }
    }

    /// Records an attempt; a job with nothing pending is done and leaves the spool. Returns when the record is with the
    /// operating system: it survives the death of the process at once and a power cut within a moment. A
    /// record lost with the power means that the attempt is made once more, never that mail is lost.
    pub async fn record(&self, key: JobKey, attempt: Attempt) -> Result<(), SpoolError> {
        let entry = self.index().get(key.0).ok_or_else(|| SpoolError::Unknown(key.0.to_string()))?;
        let left = after(&self.shared().index, key, &entry, attempt)?;
        let waits = left.is_some();
        let item = match left {
            Some(state) => Item::change(Kind::Attempt, key, state, false),
            None => Item::change(Kind::Done, key, State::default(), false),
        };
        self.commit(item).await?;
        if waits {
            self.shared().changed.notify_one();
        }
        Ok(())
    }

    /// Gives a claimed job back unchanged, due at `due` (in memory only).
    pub fn put_back(&self, key: JobKey, due: Timestamp) {
        self.index().put_back(key.0, due);
        self.shared().changed.notify_one();
    }

    #[must_use]
    pub fn job(&self, key: JobKey) -> Option<Job> {
        load_job(&self.shared().index, key.0).ok().flatten()
    }

    /// All jobs by age. Reads every description: for long queues use [`Self::jobs_after`].
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.jobs_after(None, usize::MAX)
    }

    /// Up to `limit` jobs by age, those behind `after`.
    #[must_use]
    pub fn jobs_after(&self, after: Option<JobKey>, limit: usize) -> Vec<Job> {
        let keys: Vec<u64> = self.index().keys(after.map(|key| key.0)).take(limit).collect();
        keys.into_iter().filter_map(|key| load_job(&self.shared().index, key).ok().flatten()).collect()
    }

    /// Messages in the spool.
    #[must_use]
    pub fn count(&self) -> usize {
        self.index().counts().total
    }

    /// Whether the spool can still take mail; `false` means that its disk failed again and again and only a restart helps.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.shared().broken.load(Ordering::Relaxed)
    }

    /// Makes jobs due now: one, in doubt or not, or all that merely wait (`None`). Held ones stay as they are.
    pub fn retry(&self, key: Option<JobKey>, now: Timestamp) -> usize {
        match key {
            Some(JobKey(key)) => self.make_due(&[key], now, Hand::Doubt),
            None => {
                let keys: Vec<u64> = self.index().keys(None).collect();
                self.make_due(&keys, now, Hand::Waiting)
            }
        }
    }

    /// As an operator may: makes those of the jobs due now that merely wait.
    pub fn hurry(&self, keys: &[JobKey], now: Timestamp) -> usize {
        let keys: Vec<u64> = keys.iter().map(|key| key.0).collect();
        self.make_due(&keys, now, Hand::Waiting)
    }

    fn make_due(&self, keys: &[u64], now: Timestamp, hand: Hand) -> usize {
        let mut index = self.index();
        let count = keys.iter().filter(|key| index.retry(**key, now, hand)).count();
        drop(index);
        self.shared().changed.notify_one();
        count
    }

    /// Sets or clears the operator's hold, durably.
    pub async fn hold(&self, key: JobKey, held: bool) -> Result<(), SpoolError> {
        self.known(key)?;
        self.commit(Item::change(Kind::Hold, key, State { held, ..State::default() }, true)).await?;
        self.shared().changed.notify_one();
        Ok(())
    }

    /// Removes a job without delivering it (operator), durably.
    pub async fn remove(&self, key: JobKey) -> Result<(), SpoolError> {
        self.known(key)?;
        self.commit(Item::change(Kind::Removed, key, State::default(), true)).await.map(drop)
    }

    /// Writes and syncs what is left and stops. Later calls get [`SpoolError::Closed`].
    pub async fn close(&self) {
        let (send, receive) = oneshot::channel();
        {
            let mut inbox = lock(&self.shared().inbox);
            if inbox.ended {
                return;
            }
            inbox.closing = true;
            inbox.closed.push(send);
        }
        self.shared().filled.notify_all();
        let _ = receive.await;
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.shared().index)
    }

    fn known(&self, key: JobKey) -> Result<(), SpoolError> {
        self.index().get(key.0).map(drop).ok_or_else(|| SpoolError::Unknown(key.0.to_string()))
    }

    async fn commit(&self, item: Item) -> Result<JobKey, SpoolError> {
        let (answer, receive) = oneshot::channel();
        let asleep = {
            let mut inbox = lock(&self.shared().inbox);
            if inbox.closing {
                return Err(SpoolError::Closed);
            }
            inbox.waiting.push(Waiting { item, answer });
            std::mem::take(&mut inbox.asleep)
        };
        if asleep {
            self.shared().filled.notify_one();
        }
        receive.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// A job that cannot be read: damaged ones leave the queue, others come up again later.
    fn unreadable(&self, key: u64, error: &SpoolError) {
        match error {
            SpoolError::Damaged(what) => {
                lock(&self.shared().inbox).damaged.push((key, what.clone()));
                self.shared().filled.notify_one();
            }
            error => {
                tracing::error!(key, %error, "a message cannot be read now");
                let later = self.shared().clock.now() + crate::mail::Span::minutes(5);
                self.index().put_back(key, later);
            }
        }
    }
}

impl Shared {
    /// Brings the gauges up to date.
    fn show(&self) {
        let (counts, oldest) = {
            let index = lock(&self.index);
            (index.counts(), index.oldest())
        };
        let waiting = counts.total.saturating_sub(counts.claimed).saturating_sub(counts.held);
        self.metrics.queue(waiting, counts.claimed, counts.held, oldest);
    }
}
