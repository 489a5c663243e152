//! The control requests that the spool and the quarantine answer by themselves.

use base64::Engine as _;
use tokio::task::JoinSet;

use super::{PAGE, QueueFilter, Reply, Request};
use crate::env::Clock;
use crate::quarantine::{HeldKey, Order, Page, Shelf};
use crate::spool::{Job, JobKey, Spool, SpoolError};

/// Descriptions that one request reads (and steps through the index that it takes, ten thousand messages each); a filter that fits nowhere must not keep the gateway busy.
const MOST_LOOKED_AT: usize = 5000;

/// Spool and quarantine, as operators use them.
#[derive(Clone, Debug)]
pub struct Stores {
    pub spool: Spool,
    pub shelf: Shelf,
    pub clock: Clock,
}

impl Stores {
    /// Answers what concerns the queue and the quarantine; `None`: not ours.
    pub async fn answer(&self, request: Request) -> Option<Reply> {
        Some(match request {
            Request::QueueList { filter, after } => self.page(filter, after).await,
            Request::QueueJob { key } => match self.spool.job(key) {
                Some(job) => Reply::Jobs { jobs: vec![job], next: None, standings: Vec::new() },
                None => Reply::failed(SpoolError::Unknown(key.0.to_string())),
            },
            Request::QueueRetry { keys } => {
                let now = self.clock.now();
                let count = keys.map_or_else(|| self.spool.retry(None, now), |keys| self.spool.hurry(&keys, now));
                Reply::Done { count }
            }
            Request::QueueHold { keys, held } => {
                self.each(keys, move |spool, key| async move { spool.hold(key, held).await }).await
            }
            Request::QueueRemove { keys } => {
                tracing::warn!(?keys, "an operator removes messages from the queue");
                self.each(keys, |spool, key| async move { spool.remove(key).await }).await
            }
            Request::QuarantineList { filter } => match self.shelf.list(&filter).await {
                Ok(Page { entries, next }) => Reply::Held { entries, next },
                Err(error) => Reply::failed(error),
            },
            Request::QuarantineShow { key } => match self.shelf.describe(key).await {
                Ok((entry, head)) => {
                    Reply::Message { entry: Box::new(entry), headers: String::from_utf8_lossy(&head).into_owned() }
                }
                Err(error) => Reply::failed(error),
            },
            Request::QuarantineKeys => {
                let (file, names) = self.shelf.key_names();
                Reply::Value { value: serde_json::json!({ "file": file, "keys": names }) }
            }
            // These are done by officers, with a record (`gateway/officer.rs`).
            Request::QuarantineRead { .. }
            | Request::QuarantineRelease(_)
            | Request::QuarantineRemove { .. }
            | Request::QuarantineRotate { .. }
            | Request::BypassOn { .. }
            | Request::BypassOff { .. }
            | Request::BypassStatus
            | Request::RetroDone { .. }
            | Request::Reload
            | Request::Status
            | Request::Other { .. } => return None,
        })
    }

    /// Octets of the message as it came (as it was to be sent, where that is all that is known).
    pub async fn piece(&self, key: HeldKey, offset: u64) -> Reply {
        match self.shelf.read(key, offset).await {
            Ok(octets) => Reply::Piece { octets: base64::engine::general_purpose::STANDARD.encode(octets) },
            Err(error) => Reply::failed(error),
        }
    }

    /// Reads descriptions from disk, so off the runtime's own threads.
    async fn page(&self, filter: QueueFilter, after: Option<JobKey>) -> Reply {
        let spool = self.spool.clone();
        let page = tokio::task::spawn_blocking(move || {
            // A key is found directly, however long the queue.
            if let Some(key) = filter.key {
                return (spool.job(key).filter(|job| filter.fits(job)).into_iter().collect(), None);
            }
            let (mut jobs, mut after, mut looked_at) = (Vec::<Job>::new(), after, 0);
            let sieve = filter.sieve();
            loop {
                let some = spool.page(after, PAGE, &sieve);
                (after, looked_at) = (some.next, looked_at + some.jobs.len() + 1);
                for job in some.jobs.into_iter().filter(|job| filter.fits(job)) {
                    let key = job.key;
                    jobs.push(job);
                    if jobs.len() >= PAGE {
                        return (jobs, Some(key));
                    }
                }
                if after.is_none() || looked_at >= MOST_LOOKED_AT {
                    return (jobs, after);
                }
            }
        });
        match page.await {
            Ok((jobs, next)) => Reply::Jobs { jobs, next, standings: Vec::new() },
            Err(error) => Reply::failed(error),
        }
    }

    /// All keys at once: what is written together is synced together.
    async fn each<F: Future<Output = Result<(), SpoolError>> + Send + 'static>(
        &self,
        keys: Vec<JobKey>,
        act: impl Fn(Spool, JobKey) -> F,
    ) -> Reply {
        let mut acting: JoinSet<Result<(), SpoolError>> = JoinSet::new();
        for key in keys {
            acting.spawn(act(self.spool.clone(), key));
        }
        let (mut count, mut failed) = (0_usize, None);
        while let Some(done) = acting.join_next().await {
            match done {
                Ok(Ok(())) => count = count.saturating_add(1),
                // Delivered in the meantime.
                Ok(Err(SpoolError::Unknown(_))) => {}
                Ok(Err(error)) => failed = Some(error.to_string()),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        failed.map_or(Reply::Done { count }, Reply::failed)
    }

    /// Into the spool first, then marked: should the power go in between, the message goes out and is still held.
    pub async fn release(&self, key: HeldKey, order: &Order) -> Reply {
        let release = match self.shelf.release(key, order).await {
            Ok(release) => release,
            Err(error) => return Reply::failed(error),
        };
        if let Err(error) = self.spool.accept(&release.parcel, self.clock.now()).await {
            return Reply::failed(error);
        }
        let Order { by, reason, .. } = order;
        tracing::warn!(%key, by, reason, forced = order.forced, "a held message was released");
        match release.done().await {
            Ok(()) => Reply::Done { count: 1 },
            Err(error) => {
                Reply::failed(format!("the message is on its way, but that could not be written down: {error}"))
            }
        }
    }
}
