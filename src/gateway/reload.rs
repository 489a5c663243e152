//! One new policy for everybody: the inspectors first, and only when they are ready the rest. A policy that they
//! cannot use changes nothing.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::deliver;
use crate::inspect::checks::net::engines::run::Engines;
use crate::inspect::run::Pool;
use crate::policy::Policy;
use crate::policy::run::Gate;
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

/// Hands a policy that was loaded to the stages.
pub(super) struct Handover {
    pub inspectors: Pool,
    pub engines: Engines,
    pub feeds: Feeds,
}

impl Gate for Handover {
    fn take<'a>(&'a self, policy: &'a Arc<Policy>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async move {
            let compiled = &policy.compiled.inspect;
            if self.inspectors.policy().hash() != compiled.hash() {
                let reloaded = self.inspectors.reload(Arc::clone(compiled)).await;
                reloaded.map_err(|error| format!("the inspectors cannot use it: {error}"))?;
            }
            self.engines.adopt(&policy.engine, &policy.engines).map_err(|wrong| wrong.en)?;
            self.feeds.publish(policy);
            Ok(())
        })
    }
}
