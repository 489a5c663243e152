//! What the gateway answers on its control socket: the stores for queue and quarantine, and itself for the rest.

use std::pin::Pin;
use std::sync::Arc;

use super::control::peer::Peer;
use super::control::serve::Handler;
use super::control::{ENGINES, FLUSH_RECEIPTS, Reply, Request};
use super::emergency::Emergency;
use super::officer::Officer;
use crate::deliver::Deliver;
use crate::inspect::checks::net::engines::run::Engines;
use crate::policy::Live;
use crate::report::metrics::Metrics;
use crate::report::record::run::Log;

/// Lines of the record that one `luytre retro` may add.
const MOST_RETRO: usize = 500;

/// Answers operators.
pub(super) struct Answers {
    pub officer: Officer,
    pub emergency: Emergency,
    pub metrics: Metrics,
    pub deliver: Arc<Deliver>,
    pub live: Arc<Live>,
    pub record: Log,
    pub engines: Engines,
}

impl Handler for Answers {
    fn handle(&self, request: Request, peer: Peer) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(self.answer(request, peer))
    }
}

impl Answers {
    async fn answer(&self, request: Request, peer: Peer) -> Reply {
        match request {
            Request::Reload => self.reload().await,
            Request::Status => self.status(),
            Request::Other { name, .. } if name == FLUSH_RECEIPTS => {
                self.deliver.save_counts().await;
                self.flush().await
            }
            Request::Other { name, .. } if name == ENGINES => {
                match serde_json::to_value(self.engines.check_all().await) {
                    Ok(value) => Reply::Value { value },
                    Err(error) => Reply::failed(error),
                }
            }
            Request::Other { name, .. } => Reply::failed(format!("this gateway does not know \"{name}\"")),
            Request::QuarantineRead { key, offset, sudo, reason } => {
                self.officer.read(key, offset, &peer.called(&sudo), &reason).await
            }
            Request::QuarantineRemove { key, sudo, reason } => {
                self.officer.remove(key, &peer.called(&sudo), &reason).await
            }
            Request::QuarantineRotate { sudo, reason } => self.officer.rotate(&peer.called(&sudo), &reason).await,
            Request::QuarantineRelease(errand) => {
                let reply = self.officer.release(&errand, &peer.called(&errand.sudo), &self.live.current()).await;
                self.deliver.wake();
                reply
            }
            Request::BypassOn { span, sudo, reason } => self.emergency.on(span, &peer.called(&sudo), &reason),
            Request::BypassOff { sudo, reason } => self.emergency.off(&peer.called(&sudo), &reason),
            Request::BypassStatus => self.emergency.status(),
            Request::RetroDone { sudo, found, about } => {
                let by = peer.called(&sudo);
                self.metrics.retro(found);
                for line in about.iter().take(MOST_RETRO) {
                    self.officer.note("retro.found", line, &by, "", "");
                }
                self.officer.note("retro.done", format!("{found} deliveries"), &by, "", "");
                Reply::Done { count: found }
            }
            request => self.of_stores(request).await,
        }
    }

    async fn of_stores(&self, request: Request) -> Reply {
        let wakes = matches!(request, Request::QueueRetry { .. });
        let reply =
            self.officer.stores.answer(request).await.unwrap_or_else(|| Reply::failed("this request is not known"));
        let reply = match reply {
            Reply::Jobs { jobs, next, .. } => {
                let policy = self.live.current();
                let of = |job| self.deliver.standing(job, &policy.compiled.deliver);
                let standings = jobs.iter().map(of).collect();
                Reply::Jobs { jobs, next, standings }
            }
            other => other,
        };
        if wakes {
            self.deliver.wake();
        }
        reply
    }

    async fn reload(&self) -> Reply {
        match self.live.reload().await {
            Ok(policy) => {
                Reply::Value { value: serde_json::json!({ "generation": policy.generation, "hash": policy.hash }) }
            }
            Err(problems) => Reply::failed(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    /// Returns when every receipt so far is in its file, for whoever is about to read it.
    async fn flush(&self) -> Reply {
        let record = self.record.clone();
        match tokio::task::spawn_blocking(move || record.flush()).await {
            Ok(()) => Reply::Done { count: 0 },
            Err(error) => Reply::failed(error),
        }
    }

    /// The policy in force, and the change that was not taken, if the last one was not.
    fn status(&self) -> Reply {
        let policy = self.live.current();
        Reply::Value {
            value: serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
                "generation": policy.generation,
                "hash": policy.hash,
                "refused": self.live.refused(),
                "bypass": self.emergency.value(),
                "queue": self.officer.stores.spool.count(),
            }),
        }
    }
}
