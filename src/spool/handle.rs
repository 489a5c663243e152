//! The queue as the rest of the gateway holds it: a handle on some [`Engine`], cheap to clone.

use std::sync::Arc;

use super::engine::{Engine, Page};
use super::sieve::Sieve;
use super::{Attempt, Hand, Job, JobKey, SpoolError, Spooled};
use crate::mail::{Parcel, Timestamp};

/// The spool of one gateway.
#[derive(Clone, Debug)]
pub struct Spool(Arc<dyn Engine>);

impl Spool {
    /// A handle on this engine. [`Spool::open`] makes one on the log of this node.
    #[must_use]
    pub fn on(engine: Arc<dyn Engine>) -> Self {
        Self(engine)
    }

    /// What stands behind the handle.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        self.0.as_ref()
    }

    /// Returns when the parcel is safe. `first_attempt` is when delivery may first be tried.
    pub async fn accept(&self, parcel: &Parcel, first_attempt: Timestamp) -> Result<Spooled, SpoolError> {
        self.0.keep(parcel, first_attempt, Hand::Waiting).await?;
        Ok(Spooled { id: parcel.meta.id })
    }

    /// As `accept`, for a parcel whose delivery is still in doubt on an open connection: it is kept, not yet due. It
    /// comes up at `due` unless `record`, `put_back` or `retry` of this very key settles it before.
    pub async fn accept_in_doubt(&self, parcel: &Parcel, due: Timestamp) -> Result<JobKey, SpoolError> {
        self.0.keep(parcel, due, Hand::Doubt).await
    }

    /// Takes up to `limit` due jobs that nobody works on; each must come back through `record` or `put_back`.
    #[must_use]
    pub fn claim_due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        self.0.claim_due(now, limit)
    }

    /// The earliest moment at which a job not yet claimed is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.next_due()
    }

    /// The latest such moment.
    #[must_use]
    pub fn last_due(&self) -> Option<Timestamp> {
        self.0.last_due()
    }

    /// Waits until something new may be due (a job accepted, retried, released). Remembers one such event while nobody
    /// waits. For one waiter: several would share the events.
    pub async fn changed(&self) {
        self.0.changed().await;
    }

    /// The bytes of a job.
    pub async fn read(&self, key: JobKey) -> Result<Parcel, SpoolError> {
        self.0.read(key).await
    }

    /// Records an attempt; a job with nothing pending is done and leaves the spool. Returns when the record survives the
    /// death of the process; a power cut within a moment may undo it. A record lost with the power means that the
    /// attempt is made once more, never that mail is lost.
    pub async fn record(&self, key: JobKey, attempt: Attempt) -> Result<(), SpoolError> {
        self.0.record(key, attempt).await
    }

    /// Gives a claimed job back unchanged, due at `due` (in memory only).
    pub fn put_back(&self, key: JobKey, due: Timestamp) {
        self.0.put_back(key, due);
    }

    #[must_use]
    pub fn job(&self, key: JobKey) -> Option<Job> {
        self.0.job(key)
    }

    /// All jobs by age. Reads every description: for long queues use [`Self::jobs_after`].
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.jobs_after(None, usize::MAX)
    }

    /// Up to `limit` jobs by age, those behind `after`.
    #[must_use]
    pub fn jobs_after(&self, after: Option<JobKey>, limit: usize) -> Vec<Job> {
        let (mut jobs, mut after) = (Vec::new(), after);
        loop {
            let page = self.page(after, limit.saturating_sub(jobs.len()), &Sieve::default());
            jobs.extend(page.jobs);
            match page.next {
                Some(_) if jobs.len() < limit => after = page.next,
                _ => return jobs,
            }
        }
    }

    /// Up to `limit` jobs by age, those behind `after` that pass the sieve; and where to go on.
    #[must_use]
    pub fn page(&self, after: Option<JobKey>, limit: usize, sieve: &Sieve) -> Page {
        self.0.page(after, limit, sieve)
    }

    /// Messages in the spool.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Whether the spool can still take mail; `false` means that its disk failed again and again and only a restart helps.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.is_healthy()
    }

    /// Makes jobs due now: one, in doubt or not, or all that merely wait (`None`). Held ones stay as they are.
    pub fn retry(&self, key: Option<JobKey>, now: Timestamp) -> usize {
        match key {
            Some(key) => self.0.make_due(Some(&[key]), now, Hand::Doubt),
            None => self.0.make_due(None, now, Hand::Waiting),
        }
    }

    /// As an operator may: makes those of the jobs due now that merely wait.
    pub fn hurry(&self, keys: &[JobKey], now: Timestamp) -> usize {
        self.0.make_due(Some(keys), now, Hand::Waiting)
    }

    /// Sets or clears the operator's hold, durably.
    pub async fn hold(&self, key: JobKey, held: bool) -> Result<(), SpoolError> {
        self.0.hold(key, held).await
    }

    /// Removes a job without delivering it (operator), durably.
    pub async fn remove(&self, key: JobKey) -> Result<(), SpoolError> {
        self.0.remove(key).await
    }

    /// Writes and syncs what is left and stops. Later calls get [`SpoolError::Closed`].
    pub async fn close(&self) {
        self.0.close().await;
    }
}
