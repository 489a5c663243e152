//! ETRN (RFC 1985): an agency's server is back and asks for what waits for it.

use std::sync::{Arc, PoisonError};

use super::Deliver;
use super::lanes::LaneKey;
use super::queue::turn_of;
use crate::deliver::route::{Hop, Policy, Way};
use crate::mail::{AgencyId, Destination};
use crate::spool::{Job, JobKey};

/// Of the queue this much is looked at before the answer.
const LOOKED_AT: usize = 1000;
/// Jobs that are read in one go.
const PAGE: usize = 200;

/// The answer to an agency's server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// 250
    Started,
    /// 251
    Nothing,
    /// 458: there is no way to it.
    Unable,
}

impl Deliver {
    /// Sends an agency what waits for it: its hosts are asked anew, and its mail comes up whatever its time was.
    pub async fn turn_to(self: &Arc<Self>, agency: &AgencyId, policy: &Arc<Policy>) -> Turned {
        let destination = Destination::Agency(agency.clone());
        let Way::Hops(hops) = policy.way(&destination) else { return Turned::Unable };
        let this = Arc::clone(self);
        let looked = tokio::task::spawn_blocking({
            let destination = destination.clone();
            move || {
                let first = this.parts.spool.jobs_after(None, LOOKED_AT);
                first.len() >= LOOKED_AT || first.iter().any(|job| job.meta.destination == destination)
            }
        });
        // A look that failed says nothing about the queue.
        if !looked.await.unwrap_or(true) {
            return Turned::Nothing;
        }
        for hop in hops.iter() {
            if let Some(host) = self.known(hop) {
                host.wake();
            }
        }
        if let Some(first) = hops.first() {
            let now = self.parts.clock.now();
            self.lanes().call(&LaneKey::Hop(Hop::clone(first)), &self.beds(now, None));
        }
        let begun = self.turning.lock().unwrap_or_else(PoisonError::into_inner).insert(agency.clone());
        if begun {
            let (this, policy) = (Arc::clone(self), Arc::clone(policy));
            tokio::task::spawn_blocking(move || {
                this.hurry_all(&destination, &policy);
                this.turning.lock().unwrap_or_else(PoisonError::into_inner).remove(destination.agency());
            });
        }
        Turned::Started
    }

    /// Makes due what waits for its own time. What waits in the lane follows by itself, in its order.
    fn hurry_all(&self, destination: &Destination, policy: &Policy) {
        let (mut after, mut count) = (None, 0_usize);
        loop {
            let page = self.parts.spool.jobs_after(after, PAGE);
            let Some(last) = page.last().map(|job| job.key) else { break };
            after = Some(last);
            let meant = |job: &&Job| job.meta.destination == *destination;
            let keys: Vec<JobKey> = {
                let lanes = self.lanes();
                let waits = |job: &&Job| !lanes.has_parked(&turn_of(job, policy));
                page.iter().filter(meant).filter(waits).map(|job| job.key).collect()
            };
            count = count.saturating_add(self.parts.spool.hurry(&keys, self.parts.clock.now()));
        }
        tracing::info!(agency = %destination.agency(), count, "its mail was made due");
    }
}
