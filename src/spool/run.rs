//! The engine on this node's own disk: append, group commit, reclaim.
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

use super::engine::{Answer, Engine, Page};
use super::fault::Faults;
use super::frame::{Kind, State};
use super::handle::Spool;
use super::index::{Entry, Hand, Index};
use super::item::Item;
use super::jobs::{after, load, load_job, meta, untried};
use super::metrics::Metrics;
use super::nursery::Nursery;
use super::recover::{self, Purpose, Recovery};
use super::segment::Part;
use super::sieve::Sieve;
use super::warm::Warm;
use super::{Attempt, Job, JobKey, SpoolError, settings};
use crate::env::Clock;
use crate::env::disk::{Disk, Lock};
use crate::mail::{Parcel, Span, Timestamp};

use committer::Committer;

/// Records up to this size of young messages are read in place: they are in the page cache.
const READ_IN_PLACE: u64 = 256 << 10;
/// A message that the disk does not give comes up again after this.
const UNREADABLE: Span = Span::minutes(5);

/// The engine on this node's own disk. Its threads stop when it goes.
#[derive(Debug)]
struct Local(Arc<Shared>);

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
    warm: Mutex<Warm>,
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

impl Drop for Local {
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
            warm: Mutex::default(),
        });
        shared.show();
        let thread = Arc::clone(&shared);
        let committer = Committer { log, shared: thread, provided_for: 0, batches: u64::MAX, damages_told: 0 };
        let started = std::thread::Builder::new().name("spool".to_owned()).spawn(move || committer.run());
        started.map_err(SpoolError::Disk)?;
        Ok((Self::on(Arc::new(Local(shared))), report))
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
}

impl Engine for Local {
    fn keep<'a>(&'a self, parcel: &'a Parcel, due: Timestamp, hand: Hand) -> Answer<'a, Result<JobKey, SpoolError>> {
        Box::pin(async move {
            let left = u32::try_from(parcel.meta.recipients.len()).unwrap_or(u32::MAX);
            let state = State { due, since: parcel.meta.received_at, left, ..State::default() };
            let key = self.commit(Item::accepted(parcel, state, hand)?).await?;
            if hand == Hand::Waiting
                && due <= self.0.clock.now()
                && let Some(copy) = Warm::copy(parcel)
            {
                lock(&self.0.warm).put(key.0, copy);
            }
            self.0.changed.notify_one();
            Ok(key)
        })
    }

    fn claim_due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        let keys = self.index().claim(now, limit);
        keys.into_iter()
            .filter_map(|key| {
                match self.warm_job(key).map_or_else(|| load_job(&self.0.index, key), |job| Ok(Some(job))) {
                    Ok(job) => job,
                    Err(error) => {
                        self.unreadable(key, &error);
                        None
                    }
                }
            })
            .collect()
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.index().next_due()
    }

    fn last_due(&self) -> Option<Timestamp> {
        self.index().last_due()
    }

    fn changed(&self) -> Answer<'_, ()> {
        Box::pin(self.0.changed.notified())
    }

    fn read(&self, key: JobKey) -> Answer<'_, Result<Parcel, SpoolError>> {
        Box::pin(async move {
            let entry = self.known(key)?;
            if let Some(parcel) = lock(&self.0.warm).take(key.0) {
                return Ok(parcel);
            }
            let young = self.0.clock.now().since(entry.since).as_seconds() < 60;
            let index = Arc::clone(&self.0.index);
            let found = if young && entry.place.span() <= READ_IN_PLACE {
                load(&index, key.0, Part::Whole)
            } else {
                let task = tokio::task::spawn_blocking(move || load(&index, key.0, Part::Whole)).await;
                task.map_err(|error| SpoolError::Disk(std::io::Error::other(error)))?
            };
            match found {
                Ok(found) => {
                    let (_, record) = found.ok_or_else(|| SpoolError::Unknown(key.0.to_string()))?;
                    Ok(Parcel { meta: meta(&record)?, head: record.head, body: record.body })
                }
                Err(error) => {
                    self.unreadable(key.0, &error);
                    Err(error)
                }
            }
        })
    }

    /// Returns when the record is with the operating system: it survives the death of the process at once and a power
    /// cut within a moment.
    fn record(&self, key: JobKey, attempt: Attempt) -> Answer<'_, Result<(), SpoolError>> {
        Box::pin(async move {
            let entry = self.known(key)?;
            let left = after(&self.0.index, key, &entry, attempt)?;
            let waits = left.is_some();
            let item = match left {
                Some(state) => Item::change(Kind::Attempt, key, state, false),
                None => Item::change(Kind::Done, key, State::default(), false),
            };
            self.commit(item).await?;
            if waits {
                self.0.changed.notify_one();
            }
            Ok(())
        })
    }

    fn put_back(&self, key: JobKey, due: Timestamp) {
        self.index().put_back(key.0, due);
        self.0.changed.notify_one();
    }

    fn make_due(&self, keys: Option<&[JobKey]>, now: Timestamp, hand: Hand) -> usize {
        let mut index = self.index();
        let count = match keys {
            Some(keys) => keys.iter().filter(|key| index.retry(key.0, now, hand)).count(),
            None => {
                let keys: Vec<u64> = index.keys(None).collect();
                keys.into_iter().filter(|key| index.retry(*key, now, hand)).count()
            }
        };
        drop(index);
        self.0.changed.notify_one();
        count
    }

    fn hold(&self, key: JobKey, held: bool) -> Answer<'_, Result<(), SpoolError>> {
        Box::pin(async move {
            self.known(key)?;
            self.commit(Item::change(Kind::Hold, key, State { held, ..State::default() }, true)).await?;
            self.0.changed.notify_one();
            Ok(())
        })
    }

    fn remove(&self, key: JobKey) -> Answer<'_, Result<(), SpoolError>> {
        Box::pin(async move {
            self.known(key)?;
            self.commit(Item::change(Kind::Removed, key, State::default(), true)).await.map(drop)
        })
    }

    fn job(&self, key: JobKey) -> Option<Job> {
        load_job(&self.0.index, key.0).ok().flatten()
    }

    fn page(&self, after: Option<JobKey>, limit: usize, sieve: &Sieve) -> Page {
        let (keys, next) = self.index().sifted(after.map(|key| key.0), limit, sieve);
        let jobs = keys.into_iter().filter_map(|key| load_job(&self.0.index, key).ok().flatten());
        Page { jobs: jobs.collect(), next: next.map(JobKey) }
    }

    fn count(&self) -> usize {
        self.index().counts().total
    }

    fn is_healthy(&self) -> bool {
        !self.0.broken.load(Ordering::Relaxed)
    }

    fn close(&self) -> Answer<'_, ()> {
        let (send, receive) = oneshot::channel();
        let mut inbox = lock(&self.0.inbox);
        if inbox.ended {
            return Box::pin(async {});
        }
        inbox.closing = true;
        inbox.closed.push(send);
        drop(inbox);
        self.0.filled.notify_all();
        Box::pin(async {
            let _ = receive.await;
        })
    }
}

impl Local {
    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.0.index)
    }

    /// The job of a message that was just taken; nothing is read.
    fn warm_job(&self, key: u64) -> Option<Job> {
        let entry = self.index().get(key).filter(|entry| entry.state.is_none())?;
        let warm = lock(&self.0.warm);
        let parcel = warm.get(key)?;
        Some(untried(key, &entry, parcel.meta.clone(), parcel.size_bytes()))
    }

    fn known(&self, key: JobKey) -> Result<Entry, SpoolError> {
        self.index().get(key.0).ok_or_else(|| SpoolError::Unknown(key.0.to_string()))
    }

    async fn commit(&self, item: Item) -> Result<JobKey, SpoolError> {
        let (answer, receive) = oneshot::channel();
        let asleep = {
            let mut inbox = lock(&self.0.inbox);
            if inbox.closing {
                return Err(SpoolError::Closed);
            }
            inbox.waiting.push(Waiting { item, answer });
            std::mem::take(&mut inbox.asleep)
        };
        if asleep {
            self.0.filled.notify_one();
        }
        receive.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// A job that cannot be read: damaged ones leave the queue, others come up again later.
    fn unreadable(&self, key: u64, error: &SpoolError) {
        match error {
            SpoolError::Damaged(what) => {
                lock(&self.0.inbox).damaged.push((key, what.clone()));
                self.0.filled.notify_one();
            }
            error => {
                tracing::error!(key, %error, "a message cannot be read now");
                self.index().put_back(key, self.0.clock.now() + UNREADABLE);
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
