//! What is done all the time beside the mail: looking at the disk and the record, letting old things go, following
//! changes of the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stages::Stages;
use crate::env::Clock;
use crate::env::disk::Disk;
use crate::policy::Policy;
use crate::quarantine::Shelf;
use crate::report::metrics::Metrics;
use crate::report::record::run::Log;

/// Looks at the disk once and starts the rest; it ends when the set is dropped.
pub(super) fn start(stages: &Stages) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let space =
        Space { disk: Arc::clone(&stages.disk), data: stages.data.clone(), free: Arc::clone(&stages.free_disk) };
    space.look();
    tasks.spawn(every_second(space, stages.record.clone(), stages.metrics.clone()));
    let policy = stages.feeds.policy.subscribe();
    tasks.spawn(every_hour(stages.shelf.clone(), stages.record.clone(), stages.clock.clone(), policy));
    tasks.spawn(Arc::clone(&stages.live).follow());
    tasks
}

/// The room that is left where mail is kept.
struct Space {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    free: Arc<AtomicU64>,
}

impl Space {
    fn look(&self) {
        match self.disk.free_bytes(&self.data) {
            Ok(bytes) => self.free.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::error!(%error, "the free space of the data folder is not known"),
        }
    }
}

async fn every_second(space: Space, record: Log, metrics: Metrics) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        space.look();
        metrics.receipts(record.lost(), record.is_failing());
    }
}

async fn every_hour(shelf: Shelf, record: Log, clock: Clock, policy: watch::Receiver<Arc<Policy>>) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hour.tick().await;
        let now = clock.now();
        match shelf.expire(now).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "held mail whose time was over was removed"),
            Err(error) => tracing::error!(%error, "held mail could not be expired"),
        }
        let keep = policy.borrow().receipts.keep;
        record.expire(now, keep);
    }
}
