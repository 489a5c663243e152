//! A keeper of mail that rings when something was written down about a job, so that tests need not look again and again.

use std::sync::Arc;

use luytre::mail::{Parcel, Timestamp};
use luytre::spool::engine::{Answer, Engine, Page};
use luytre::spool::sieve::Sieve;
use luytre::spool::{Attempt, Hand, Job, JobKey, Spool, SpoolError};
use tokio::sync::Notify;

#[derive(Debug)]
pub struct Watched {
    inner: Spool,
    bell: Notify,
}

impl Watched {
    pub fn around(inner: Spool) -> Arc<Self> {
        Arc::new(Self { inner, bell: Notify::new() })
    }

    /// Returns when an attempt was recorded or a job put back, now or since the last call.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Engine for Watched {
    fn keep<'a>(&'a self, parcel: &'a Parcel, due: Timestamp, hand: Hand) -> Answer<'a, Result<JobKey, SpoolError>> {
        self.inner.engine().keep(parcel, due, hand)
    }
    fn claim_due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        self.inner.claim_due(now, limit)
    }
    fn next_due(&self) -> Option<Timestamp> {
        self.inner.next_due()
    }
    fn last_due(&self) -> Option<Timestamp> {
        self.inner.last_due()
    }
    fn changed(&self) -> Answer<'_, ()> {
        self.inner.engine().changed()
    }
    fn read(&self, key: JobKey) -> Answer<'_, Result<Parcel, SpoolError>> {
        self.inner.engine().read(key)
    }
    fn record(&self, key: JobKey, attempt: Attempt) -> Answer<'_, Result<(), SpoolError>> {
        Box::pin(async move {
            let done = self.inner.record(key, attempt).await;
            self.bell.notify_one();
            done
        })
    }
    fn put_back(&self, key: JobKey, due: Timestamp) {
        self.inner.put_back(key, due);
        self.bell.notify_one();
    }
    fn make_due(&self, keys: Option<&[JobKey]>, now: Timestamp, hand: Hand) -> usize {
        self.inner.engine().make_due(keys, now, hand)
    }
    fn hold(&self, key: JobKey, held: bool) -> Answer<'_, Result<(), SpoolError>> {
        self.inner.engine().hold(key, held)
    }
    fn remove(&self, key: JobKey) -> Answer<'_, Result<(), SpoolError>> {
        self.inner.engine().remove(key)
    }
    fn job(&self, key: JobKey) -> Option<Job> {
        self.inner.job(key)
    }
    fn page(&self, after: Option<JobKey>, limit: usize, sieve: &Sieve) -> Page {
        self.inner.page(after, limit, sieve)
    }
    fn count(&self) -> usize {
        self.inner.count()
    }
    fn is_healthy(&self) -> bool {
        self.inner.is_healthy()
    }
    fn close(&self) -> Answer<'_, ()> {
        self.inner.engine().close()
    }
}
