//! What the gateway answers on its control socket: the stores for queue and quarantine, and itself for the rest.

use std::pin::Pin;
use std::sync::Arc;

use super::control::serve::Handler;
use super::control::stores::Stores;
use super::control::{Reply, Request};
use crate::deliver::Deliver;
use crate::policy::Live;
use crate::report::journal::Recorder;
use crate::report::record::Record;
use crate::verdict::receipt::Outcome;

/// Answers operators.
pub(super) struct Answers {
    pub stores: Stores,
    pub deliver: Arc<Deliver>,
    pub live: Arc<Live>,
    pub recorder: Recorder,
}

impl Handler for Answers {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(self.answer(request))
    }
}

impl Answers {
    async fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Reload => self.reload().await,
            Request::Status => self.status(),
            Request::Other { name, .. } => Reply::failed(format!("this gateway does not know \"{name}\"")),
            request => self.of_stores(request).await,
        }
    }

    async fn of_stores(&self, request: Request) -> Reply {
        let wakes = matches!(request, Request::QueueRetry { .. } | Request::QuarantineRelease { .. });
        let release = match &request {
            Request::QuarantineRelease { key, by, reason } => Some((key.id, format!("by {by}: {reason}"))),
            _ => None,
        };
        let reply = self.stores.answer(request).await.unwrap_or_else(|| Reply::failed("this request is not known"));
        if wakes {
            self.deliver.wake();
        }
        if let (Some((id, detail)), Reply::Done { .. }) = (release, &reply) {
            let outcome = Outcome::new(self.stores.clock.now(), "released", Vec::new(), detail);
            self.recorder.record(Record::Outcome { id, outcome });
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

    fn status(&self) -> Reply {
        let policy = self.live.current();
        Reply::Value {
            value: serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
                "generation": policy.generation,
                "hash": policy.hash,
                "queue": self.stores.spool.count(),
            }),
        }
    }
}
