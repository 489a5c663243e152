//! Looks at how much is in use, and tells all sessions when there is stress.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Surroundings;
use super::talk::Talk;
use crate::listen::admit::Share;
use crate::listen::stress::{Stress, Turn, Usage, percent};
use crate::listen::{ClientFacts, Role};
use crate::mail::Span;
use crate::session::desk::Desk;
use crate::session::house::House;

/// A client that has introduced itself may be silent this many times the command timeout (RFC 5321 §4.5.3.2.7).
const IDLE_FACTOR: u64 = 5;
/// A message may arrive slowly for so long (THREATS S-31).
const DATA_GRACE: Span = Span::seconds(60);

/// The state that all sessions share.
#[derive(Debug)]
pub struct Watch {
    state: Mutex<Stress>,
    on: watch::Sender<bool>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { state: Mutex::default(), on: watch::Sender::new(false) }
    }
}

impl Watch {
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.on.subscribe()
    }
    pub fn is_on(&self) -> bool {
        *self.on.borrow()
    }
}

impl<D: Desk> Surroundings<D> {
    /// Done for each connection, and once a second for the way back.
    pub(super) fn look_at_load(&self, house: &House) {
        let usage = Usage {
            sessions: percent(self.gate.open(), house.limits.connections),
            memory: self.desk.memory_used_percent(),
        };
        let now = self.clock.now();
        let turn = {
            let mut state = self.stress.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.look(&house.limits.stress, usage, now)
        };
        let Some(turn) = turn else { return };
        match turn {
            Turn::Begins(cause) => {
                tracing::warn!(
                    cause = cause.as_str(),
                    ?usage,
                    "stress: strangers get less patience and fewer connections"
                );
            }
            Turn::Ends(cause, lasted) => {
                tracing::warn!(cause = cause.as_str(), seconds = lasted.as_seconds(), "the stress is over");
            }
        }
        let begins = matches!(turn, Turn::Begins(_));
        self.metrics.stressed(turn);
        self.stress.on.send_replace(begins);
        self.desk.stressed(turn, now);
    }

    /// Whether stress would change anything for this client: an agency's own servers and trusted machines go on as ever.
    pub(super) fn is_stranger(&self, client: &ClientFacts) -> bool {
        client.role == Role::Mx && !self.desk.trusts(client)
    }

    /// How many connections this client may have now.
    pub(super) fn share(&self, house: &House, client: &ClientFacts) -> Share {
        let limits = &house.limits;
        // Behind a proxy that hides addresses, and on loopback, a network is no single peer.
        let network = if self.desk.trusts(client) { 0 } else { limits.connections_per_network };
        let usual = Share { address: limits.connections_per_address, network };
        let known = || self.familiar().is_known(client.address.ip(), self.clock.now());
        if !self.stress.is_on() || !self.is_stranger(client) || known() {
            return usual;
        }
        let stress = &limits.stress;
        usual.at_most(Share { address: stress.connections_per_address, network: stress.connections_per_network })
    }
}

impl<D: Desk> Talk<D> {
    /// How long a line may take that has begun, or one that has not.
    pub(super) fn patience(&self, begun: bool) -> Span {
        let limits = &self.dialogue.house().limits;
        let idle = !begun && self.dialogue.is_introduced();
        let usual = if idle {
            Span::millis(limits.command_timeout.as_millis().saturating_mul(IDLE_FACTOR))
        } else {
            limits.command_timeout
        };
        let hasty = if idle { limits.stress.idle } else { limits.stress.command_timeout };
        if self.is_hurried() { usual.min(hasty) } else { usual }
    }

    /// Whether there is stress, and this is one of those it is passed on to.
    pub(super) fn is_hurried(&self) -> bool {
        *self.stress.borrow() && self.around.is_stranger(self.dialogue.client())
    }

    /// How long a message may be slower than the least rate.
    pub(super) fn grace(&self) -> Span {
        let stress = &self.dialogue.house().limits.stress;
        if self.is_hurried() { DATA_GRACE.min(stress.command_timeout) } else { DATA_GRACE }
    }
}

/// Looks once a second, for ever.
pub async fn follow<D: Desk>(around: Arc<Surroundings<D>>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        around.look_at_load(&around.house());
    }
}

/// Resolves when there is stress; never when nobody can say so any more.
pub async fn begins(on: &mut watch::Receiver<bool>) {
    if on.wait_for(|on| *on).await.is_err() {
        std::future::pending::<()>().await;
    }
}
