//! What is done all the time beside the mail: looking at the disk and the record, letting old things go, following
//! changes of the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::emergency::Emergency;
use super::officer::Officer;
use super::stages::Stages;
use crate::env::Clock;
use crate::env::clock::Chronicle;
use crate::env::disk::Disk;
use crate::guard::Guard;
use crate::inspect::checks::net::engines::run::Engines;
use crate::inspect::run::Breaker;
use crate::mail::Timestamp;
use crate::policy::Policy;
use crate::quarantine::Shelf;
use crate::report::metrics::Metrics;
use crate::report::record::run::Log;
use crate::session::settings::Limits;
use crate::spool;

/// Looks at the disk once and starts the rest; it ends when the set is dropped.
pub(super) fn start(stages: &Stages) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let policy = stages.feeds.policy.subscribe();
    let space = Space {
        disk: Arc::clone(&stages.disk),
        data: stages.data.clone(),
        free: Arc::clone(&stages.free_disk),
        metrics: stages.spool_metrics.clone(),
    };
    space.look(&policy.borrow().limits);
    tasks.spawn(every_second(space, stages.record.clone(), stages.metrics.clone(), policy.clone()));
    let emergency =
        Emergency { bypass: stages.bypass.clone(), clock: stages.clock.clone(), record: stages.record.clone() };
    tasks.spawn(watching(emergency, stages.metrics.clone()));
    tasks.spawn(following(stages.shelf.clone(), policy.clone()));
    tasks.spawn(guarding(stages.guard.clone(), policy.clone()));
    tasks.spawn(every_hour(stages.shelf.clone(), stages.record.clone(), stages.clock.clone(), policy));
    tasks.spawn(engines(stages.engines.clone()));
    let (guard, clock) = (stages.guard.clone(), stages.clock.clone());
    let breaker = Breaker {
        disk: Arc::clone(&stages.disk),
        data: stages.data.clone(),
        clock: clock.clone(),
        tell: Box::new(move |entry| guard.parked(&entry.rule, &entry.why, clock.now())),
    };
    tasks.spawn(breaker.run(stages.inspectors.clone()));
    tasks.spawn(Arc::clone(&stages.live).follow());
    tasks
}

/// The room that is left where mail is kept.
struct Space {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    free: Arc<AtomicU64>,
    metrics: spool::metrics::Metrics,
}

impl Space {
    /// A disk on which too few files can still be made counts as full, however many octets are free.
    fn look(&self, limits: &Limits) {
        let found = self.disk.free_bytes(&self.data).and_then(|bytes| Ok((bytes, self.disk.free_files(&self.data)?)));
        let (bytes, files) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the free space of the data folder is not known");
                return;
            }
        };
        let (room, wanted) = (if files < limits.disk_free_files { 0 } else { bytes }, limits.disk_free.as_u64());
        let before = self.free.swap(room, Ordering::Relaxed);
        self.metrics.room(room, wanted);
        if before >= wanted && room < wanted {
            tracing::error!(bytes, files, "no room where mail is kept: new mail gets 452, delivery goes on");
        } else if before < wanted && room >= wanted {
            tracing::info!(bytes, files, "there is room again where mail is kept");
        }
    }
}

async fn every_second(space: Space, record: Log, metrics: Metrics, policy: watch::Receiver<Arc<Policy>>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let policy = Arc::clone(&policy.borrow());
        space.look(&policy.limits);
        metrics.receipts(record.lost(), record.is_failing());
    }
}

/// Whether the virus engines live and what they know.
async fn engines(engines: Engines) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        engines.tend().await;
    }
}

/// The guard's sizes and settings each second, what it may forget each hour.
async fn guarding(guard: Guard, policy: watch::Receiver<Arc<Policy>>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for count in 1_u64.. {
        second.tick().await;
        let policy = Arc::clone(&policy.borrow());
        guard.tend(&policy.events, policy.hostname.as_str());
        if count % 600 == 1 {
            let (guard, policy) = (guard.clone(), Arc::clone(&policy));
            tokio::spawn(async move { guard.examine_lists(&policy.compiled.guard).await });
        }
        if count % 3600 == 0 {
            guard.forget(&policy.compiled.guard);
        }
    }
}

/// The emergency bypass ends by itself.
async fn watching(emergency: Emergency, metrics: Metrics) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        emergency.tick(&metrics);
    }
}

/// The quarantine's settings, as the policy changes.
async fn following(shelf: Shelf, mut policy: watch::Receiver<Arc<Policy>>) {
    while policy.changed().await.is_ok() {
        let policy = Arc::clone(&policy.borrow_and_update());
        shelf.configure(&policy.quarantine);
    }
}

async fn every_hour(shelf: Shelf, record: Log, clock: Clock, policy: watch::Receiver<Arc<Policy>>) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    let mut chronicle = Chronicle::new(clock.now(), clock.uptime());
    loop {
        hour.tick().await;
        let now = clock.now();
        chronicle.look(now, clock.uptime());
        // THREATS R-10: nothing is thrown away for a clock that jumped, or that is wrong at a start.
        if !chronicle.is_settled(Timestamp::EPOCH) {
            continue;
        }
        Officer::expire(&shelf, &record, now).await;
        let keep = policy.borrow().receipts.keep;
        record.expire(now, keep);
    }
}
