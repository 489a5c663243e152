//! One new policy for everybody: the inspectors first, and only when they are ready the rest. A policy that they
//! cannot use changes nothing.

use std::sync::Arc;

use tokio::sync::watch;

use crate::deliver;
use crate::inspect::run::Pool;
use crate::policy::Policy;
use crate::report::metrics::{Metrics, Reload};
use crate::session::house::House;

/// What the stages read their part of the policy from.
#[derive(Clone, Debug)]
pub(super) struct Feeds {
    pub policy: watch::Sender<Arc<Policy>>,
    pub house: watch::Sender<Arc<House>>,
    pub deliver: watch::Sender<Arc<deliver::Policy>>,
}

impl Feeds {
    pub(super) fn new(policy: &Arc<Policy>) -> Self {
        Self {
            policy: watch::Sender::new(Arc::clone(policy)),
            house: watch::Sender::new(Arc::clone(&policy.compiled.house)),
            deliver: watch::Sender::new(Arc::clone(&policy.compiled.deliver)),
        }
    }

    fn publish(&self, policy: &Arc<Policy>) {
        self.house.send_replace(Arc::clone(&policy.compiled.house));
        self.deliver.send_replace(Arc::clone(&policy.compiled.deliver));
        self.policy.send_replace(Arc::clone(policy));
    }
}

/// Hands each policy that was loaded on to the stages; ends with the process.
pub(super) async fn apply(mut loaded: watch::Receiver<Arc<Policy>>, inspectors: Pool, feeds: Feeds, metrics: Metrics) {
    while loaded.changed().await.is_ok() {
        let policy = Arc::clone(&loaded.borrow_and_update());
        if inspectors.policy().hash() != policy.compiled.inspect.hash()
            && let Err(error) = inspectors.reload(Arc::clone(&policy.compiled.inspect)).await
        {
            metrics.reload(Reload::Refused);
            tracing::error!(%error, "the inspectors cannot use the new policy; the old policy stays");
            continue;
        }
        feeds.publish(&policy);
        tracing::info!(generation = policy.generation, hash = %policy.hash, "reloaded");
    }
}
