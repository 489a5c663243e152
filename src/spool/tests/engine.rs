//! The trait is all that callers have: an engine of another kind serves them as well.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::spool::Hand;
use crate::spool::engine::{Answer, Page};
use crate::spool::sieve::Sieve;

/// Stands before another engine and counts: what a replicating one would do before it passes a call on.
#[derive(Debug)]
struct Between {
    inner: Spool,
    kept: AtomicUsize,
    recorded: AtomicUsize,
}

impl Engine for Between {
    fn keep<'a>(&'a self, parcel: &'a Parcel, due: Timestamp, hand: Hand) -> Answer<'a, Result<JobKey, SpoolError>> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.inner.engine().keep(parcel, due, hand)
    }
    fn claim_due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        self.inner.engine().claim_due(now, limit)
    }
    fn next_due(&self) -> Option<Timestamp> {
        self.inner.engine().next_due()
    }
    fn last_due(&self) -> Option<Timestamp> {
        self.inner.engine().last_due()
    }
    fn changed(&self) -> Answer<'_, ()> {
        self.inner.engine().changed()
    }
    fn read(&self, key: JobKey) -> Answer<'_, Result<Parcel, SpoolError>> {
        self.inner.engine().read(key)
    }
    fn record(&self, key: JobKey, attempt: Attempt) -> Answer<'_, Result<(), SpoolError>> {
        self.recorded.fetch_add(1, Ordering::Relaxed);
        self.inner.engine().record(key, attempt)
    }
    fn put_back(&self, key: JobKey, due: Timestamp) {
        self.inner.engine().put_back(key, due);
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
        self.inner.engine().job(key)
    }
    fn page(&self, after: Option<JobKey>, limit: usize, sieve: &Sieve) -> Page {
        self.inner.engine().page(after, limit, sieve)
    }
    fn count(&self) -> usize {
        self.inner.engine().count()
    }
    fn is_healthy(&self) -> bool {
        self.inner.engine().is_healthy()
    }
    fn close(&self) -> Answer<'_, ()> {
        self.inner.engine().close()
    }
}

#[tokio::test]
async fn callers_do_not_see_which_engine_keeps_their_mail() {
    let (house, _) = House::simulated();
    let between = Arc::new(Between { inner: house.open().0, kept: 0.into(), recorded: 0.into() });
    let spool = Spool::on(Arc::clone(&between) as Arc<dyn Engine>);
    for n in 0..3 {
        spool.accept(&parcel(n, 1, 100), house.now()).await.unwrap();
    }
    let doubt = spool.accept_in_doubt(&parcel(3, 1, 100), house.now() + crate::mail::Span::hours(1)).await.unwrap();
    spool.changed().await;
    let jobs = spool.claim_due(house.now(), 10);
    assert_eq!((jobs.len(), spool.count(), spool.jobs().len()), (3, 4, 4));
    assert!(jobs.iter().all(|job| job.key < doubt));
    assert_eq!(spool.read(jobs[0].key).await.unwrap().body, parcel(0, 1, 100).body);
    spool.record(jobs[0].key, fates(&[(0, Fate::Done)], house.now())).await.unwrap();
    spool.put_back(jobs[1].key, house.now());
    spool.hold(jobs[2].key, true).await.unwrap();
    spool.remove(jobs[1].key).await.unwrap();
    assert_eq!(spool.retry(Some(doubt), house.now()), 1);
    assert_eq!(spool.claim_due(house.now(), 10).iter().map(|job| job.key).collect::<Vec<_>>(), [doubt]);
    assert!(spool.is_healthy());
    spool.close().await;
    assert!(matches!(spool.accept(&parcel(9, 1, 1), house.now()).await, Err(SpoolError::Closed)));
    assert_eq!((between.kept.load(Ordering::Relaxed), between.recorded.load(Ordering::Relaxed)), (5, 1));
}

#[tokio::test]
async fn what_was_just_taken_is_delivered_without_reading_it_back() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    let sent = parcel(7, 2, 3000);
    spool.accept(&sent, house.now()).await.unwrap();
    // Whatever lies on the disk now, it is not looked at.
    disk.spoil(&segment::path(&house.dir, 1), 0, 1 << 20);
    let job = spool.claim_due(house.now(), 10).remove(0);
    assert_eq!((&job.meta, job.size_bytes, job.pending.len(), job.tries), (&sent.meta, sent.size_bytes(), 2, 0));
    let read = spool.read(job.key).await.unwrap();
    assert_eq!((read.head, read.body, read.meta), (sent.head, sent.body, sent.meta));
    // It is handed over once; what comes back later comes from the log.
    assert!(matches!(spool.read(job.key).await, Err(SpoolError::Damaged(_))));
}
