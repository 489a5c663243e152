//! The door of delivery: connections, cut-through, the durable queue, limits per destination, attempts.

mod attempt;
mod callout;
mod conn;
mod giveup;
mod handover;
mod host;
pub mod internet;
mod lanes;
mod mx;
mod pace;
pub mod live;
mod queue;
mod standing;
mod strays;
mod turn;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::env::clock::Chronicle;
use crate::env::tls::client::Connector;
use crate::env::{Clock, Dice, Dns};
use crate::mail::{AgencyId, Destination, Parcel, Reply};
use crate::spool::{Spool, SpoolError, Spooled};

use super::client::Needs;
use super::metrics::Peer;
use super::route::{Hop, Policy, Way, usable};
use super::{Handover, Metrics, Undeliverable};
use host::Host;
pub use standing::Standing;
pub use turn::Turned;

/// Hosts of the Internet are remembered up to this many; then those that rest are forgotten.
const HOSTS: usize = 4096;

/// What delivery is made of.
pub struct Parts {
    pub spool: Spool,
    pub dns: Dns,
    pub clock: Clock,
    pub dice: Dice,
    pub metrics: Metrics,
    pub connector: Connector,
    pub undeliverable: Arc<dyn Undeliverable>,
    pub internet: internet::Internet,
}

/// Sends messages on. One for the gateway, shared by all sessions.
pub struct Deliver {
    parts: Parts,
    hosts: RwLock<HashMap<Hop, Arc<Host>>>,
    pace: Mutex<pace::Pace>,
    lanes: Mutex<lanes::Lanes>,
    /// How old messages really are, whatever was done to the clock.
    chronicle: Mutex<Chronicle>,
    /// Something happened that the queue's loop should look at.
    stirred: tokio::sync::Notify,
    /// Agencies whose queue is being set going.
    turning: Mutex<std::collections::HashSet<AgencyId>>,
    /// Whose turn it is to ask a host about a recipient; as many as there are configured hosts.
    callouts: callout::Turns,
}

impl std::fmt::Debug for Deliver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deliver")
    }
}

impl Deliver {
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let (hosts, lanes, pace) = (RwLock::default(), Mutex::default(), Mutex::default());
        let chronicle = Mutex::new(Chronicle::new(parts.clock.now(), parts.clock.uptime()));
        let (stirred, turning) = (tokio::sync::Notify::new(), Mutex::default());
        let callouts = callout::Turns::default();
        Arc::new(Self { parts, hosts, lanes, pace, chronicle, stirred, turning, callouts })
    }

    /// Keeps a message durably; its delivery follows at once.
    pub async fn queue(&self, parcel: &Parcel) -> Result<Spooled, SpoolError> {
        self.parts.spool.accept(parcel, self.parts.clock.now()).await
    }

    /// Whether messages with this destination are handed over while the sender waits.
    #[must_use]
    pub fn is_cut_through(&self, parcel: &Parcel, policy: &Policy) -> bool {
        matches!(policy.way(&parcel.meta.destination), Way::Hops(hops)
            if hops.first().is_some_and(|h| h.delivery == super::settings::Delivery::CutThrough))
    }

    /// Why none of a destination's servers can take such a message, as far as they said in their last EHLO: the
    /// sender hears it at once instead of by a report later. `None` where one of them is not known or can.
    #[must_use]
    pub fn foreseen(&self, destination: &Destination, needs: Needs, policy: &Policy) -> Option<Reply> {
        let Way::Hops(hops) = policy.way(destination) else { return None };
        let mut refusal = None;
        for hop in hops.iter() {
            refusal = Some(self.known(hop)?.abilities()?.refuses(needs)?);
        }
        refusal
    }

    /// Forgets that hosts did not answer: what the operator's `flush` and `retry` mean.
    pub fn wake(&self) {
        for host in self.hosts.read().unwrap_or_else(PoisonError::into_inner).values() {
            host.wake();
        }
        self.stirred.notify_one();
    }

    /// Writes out what was counted for TLS reports, and who wrote.
    pub async fn save_counts(&self) {
        let now = self.parts.clock.now();
        self.parts.internet.save(now, true).await;
        self.parts.internet.guests.save(now, true).await;
    }

    /// Says goodbye on all resting connections. Call it when sessions and queue have ended.
    pub async fn drain(&self) {
        let hosts: Vec<Arc<Host>> =
            self.hosts.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        close(hosts.iter().flat_map(|host| host.empty()).collect()).await;
        self.save_counts().await;
    }

    /// What is to be done every few seconds whether mail moves or not: closes connections that rested too long, forgets
    /// hosts that nobody needs, writes counts out, makes MTA-STS policies younger.
    pub async fn sweep(&self, policy: &Policy) {
        let hosts: Vec<Arc<Host>> =
            self.hosts.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        close(hosts.iter().flat_map(|host| host.stale()).collect()).await;
        let now = self.parts.clock.now();
        self.parts.internet.save(now, false).await;
        self.parts.internet.guests.save(now, false).await;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
        let many = hosts.len() > HOSTS / 2;
        if many || hosts.iter().any(|host| host.is_abandoned()) {
            let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
            hosts.retain(|_, host| !(host.is_abandoned() || (many && host.is_forgettable())));
        }
        self.lanes().sweep(&self.beds(self.parts.clock.now(), None));
        self.show(&hosts);
        let settings = &policy.settings.internet;
        if settings.mta_sts {
            self.parts.internet.sts.refresh(settings.https_port).await;
        }
    }

    /// Brings the gauges up to date that say how long hosts have been down and how much waits for its turn.
    fn show(&self, hosts: &[Arc<Host>]) {
        for peer in [Peer::Agency, Peer::Internet] {
            let longest = hosts.iter().filter(|host| host.peer() == peer).map(|host| host.down_for()).max();
            self.parts.metrics.down_for(peer, longest.unwrap_or_default());
        }
        self.parts.metrics.parked(self.lanes().parked());
    }

    fn chronicle(&self) -> MutexGuard<'_, Chronicle> {
        self.chronicle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, hop: &Hop) -> Option<Arc<Host>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).get(hop).map(Arc::clone)
    }

    fn host(&self, hop: &Hop, policy: &Policy) -> Arc<Host> {
        if let Some(host) = self.known(hop) {
            return host;
        }
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS {
            hosts.retain(|_, host| !host.is_forgettable());
        }
        let peer = if hop.internet { Peer::Internet } else { Peer::Agency };
        let limits = policy.settings.limits(hop.internet.then_some(&*hop.host));
        let fresh = || {
            let (clock, metrics) = (self.parts.clock.clone(), self.parts.metrics.clone());
            Arc::new(Host::new(limits, hop.traits(), peer, clock, metrics))
        };
        Arc::clone(hosts.entry(hop.clone()).or_insert_with(fresh))
    }

    /// The addresses of a hop. An exchanger's must be those of the Internet.
    async fn addresses(&self, hop: &Hop) -> Result<Vec<SocketAddr>, String> {
        let list = match hop.host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.parts.dns.addresses(&hop.host).await.map_err(|e| e.to_string())?,
        };
        let list = if hop.internet { usable(list, hop.port) } else { list };
        Ok(list.into_iter().map(|ip| SocketAddr::new(ip, hop.port)).collect())
    }

    fn jitter(&self) -> u64 {
        self.parts.dice.below(1000)
    }

    /// Our own trouble: the sender still has the message.
    fn deferred(error: &SpoolError) -> Handover {
        Handover::Deferred { reply: error.reply(), why: error.to_string() }
    }
}

async fn close(conns: Vec<conn::Conn>) {
    let mut closing = tokio::task::JoinSet::new();
    for conn in conns {
        closing.spawn(conn.quit());
    }
    closing.join_all().await;
}
