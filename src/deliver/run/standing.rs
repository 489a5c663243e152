//! What a waiting message waits for, as far as the running gateway knows it: for operators.

use serde::{Deserialize, Serialize};

use super::Deliver;
use super::queue::turn_of;
use crate::deliver::route::{Policy, Way};
use crate::mail::Span;
use crate::spool::Job;

/// Others before a message are counted up to this.
const COUNTED: usize = 1000;

/// What stands between a message and its next attempt, apart from the time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "waits", rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing: only its time, or nothing at all.
    #[default]
    Time,
    /// Its agency has no next hop.
    NoRoute,
    /// None of its hosts answers.
    Host {
        /// Why, in the host's words or in ours.
        reason: String,
        /// For how long it has not.
        down: Span,
        /// When it is asked again.
        again: Span,
    },
    /// Others of the same destination go first: how many of them wait (a thousand may mean more).
    Turn { ahead: usize },
}

impl Deliver {
    /// What this message waits for.
    #[must_use]
    pub fn standing(&self, job: &Job, policy: &Policy) -> Standing {
        let turn = turn_of(job, policy);
        match policy.way(&job.meta.destination) {
            Way::Nowhere => return Standing::NoRoute,
            Way::Hops(hops) => {
                let shut = |hop| {
                    let host = self.known(hop)?;
                    let (again, reason) = host.shut()?;
                    Some(Standing::Host { reason, down: host.down_for(), again })
                };
                // One that answers is enough.
                let all: Option<Vec<Standing>> = hops.iter().map(|hop| shut(hop)).collect();
                if let Some(first) = all.and_then(|all| all.into_iter().next()) {
                    return first;
                }
            }
            Way::ByMx => {}
        }
        match self.lanes().ahead_of(&turn.lane, job.key, COUNTED) {
            Some(ahead) => Standing::Turn { ahead },
            None => Standing::Time,
        }
    }
}
