//! Append, group commit, reclaim; the only maker of Spooled.

use super::{Attempt, Job, JobKey, SpoolError, Spooled};
use crate::mail::{Parcel, Timestamp};

/// The spool of one gateway. Cheap to clone; one committer task syncs for all callers.
#[derive(Clone, Debug)]
pub struct Spool;

impl Spool {
    /// Returns when the parcel is synced. `first_attempt` is when delivery may first be tried.
    pub async fn accept(&self, _parcel: &Parcel, _first_attempt: Timestamp) -> Result<Spooled, SpoolError> {
        Err(SpoolError::Closed)
    }
    /// As `accept`, for a parcel whose delivery is still in doubt on an open connection: it is kept, not yet due.
    pub async fn accept_in_doubt(&self, parcel: &Parcel, due: Timestamp) -> Result<JobKey, SpoolError> {
        let _ = (parcel, due);
        Err(SpoolError::Closed)
    }
    /// Takes up to `limit` due jobs that nobody works on; each must come back through `record` or `put_back`.
    #[must_use]
    pub fn claim_due(&self, _now: Timestamp, _limit: usize) -> Vec<Job> {
        Vec::new()
    }
    /// The earliest moment at which a job not yet claimed is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        None
    }
    /// Waits until something new may be due (a job accepted, retried, released).
    pub async fn changed(&self) {
        std::future::pending::<()>().await;
    }
    /// The bytes of a job.
    pub async fn read(&self, _key: JobKey) -> Result<Parcel, SpoolError> {
        Err(SpoolError::Closed)
    }
    /// Records an attempt durably; a job with nothing pending is done and leaves the spool.
    pub async fn record(&self, _key: JobKey, _attempt: Attempt) -> Result<(), SpoolError> {
        Err(SpoolError::Closed)
    }
    /// Gives a claimed job back unchanged, due at `due` (in memory only).
    pub fn put_back(&self, _key: JobKey, _due: Timestamp) {}
    #[must_use]
    pub fn job(&self, _key: JobKey) -> Option<Job> {
        None
    }
    /// All jobs by age.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        Vec::new()
    }
    /// Makes jobs due now: one, or all (`None`).
    pub fn retry(&self, _key: Option<JobKey>, _now: Timestamp) -> usize {
        0
    }
    /// Sets or clears the operator's hold, durably.
    pub async fn hold(&self, _key: JobKey, _held: bool) -> Result<(), SpoolError> {
        Err(SpoolError::Closed)
    }
    /// Removes a job without delivering it (operator), durably.
    pub async fn remove(&self, _key: JobKey) -> Result<(), SpoolError> {
        Err(SpoolError::Closed)
    }
}
