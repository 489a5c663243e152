//! Moves bytes between sockets and dialogues: the front of the gateway.
//!
//! [`Front::start`] takes bound sockets and lets people in; [`Front::drain`] sends them home: no new ones, `421` to those
//! who are idle, time for messages in progress, then an end.

mod certificates;
mod gather;
mod stress;
mod submission;
mod talk;
pub mod users;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::desk::{Desk, Reason, Refusal};
use super::dialogue::Dialogue;
use super::house::{House, Station};
use super::metrics::{Metrics, Outcome};
use crate::env::{Clock, Dice};
use crate::listen::admit::{Familiar, Full};
use crate::listen::run::{Gate, Permit, accept, proxied};
use crate::listen::{ClientFacts, TlsFacts};
use crate::mail::{Reply, Span};
use talk::Talk;
use wire::Wire;

/// A bound socket and the `[[listener]]` it serves, named by its configured address.
#[derive(Debug)]
pub struct Post {
    pub address: SocketAddr,
    pub socket: std::net::TcpListener,
}

/// What all sessions share.
pub struct Surroundings<D: Desk> {
    pub desk: Arc<D>,
    pub clock: Clock,
    pub dice: Dice,
    pub metrics: Metrics,
    house: watch::Receiver<Arc<House>>,
    gate: Gate,
    familiar: Mutex<Familiar>,
    stress: stress::Watch,
    submission: submission::Shared,
    sessions: Arc<Mutex<JoinSet<()>>>,
    stop: watch::Receiver<bool>,
}

impl<D: Desk> Surroundings<D> {
    fn house(&self) -> Arc<House> {
        Arc::clone(&self.house.borrow())
    }
    fn familiar(&self) -> MutexGuard<'_, Familiar> {
        self.familiar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open front.
#[derive(Debug)]
pub struct Front {
    doors: Vec<JoinHandle<()>>,
    sessions: Arc<Mutex<JoinSet<()>>>,
    stop: watch::Sender<bool>,
    gate: Gate,
    addresses: Vec<SocketAddr>,
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Sessions that were still busy at the deadline.
    pub cut: usize,
}

impl Front {
    /// Lets clients in at every post. Settings are read from `house` for each connection and each MAIL FROM.
    /// Fails when a socket cannot be used. Must be called inside a tokio runtime.
    pub fn start<D: Desk>(
        posts: Vec<Post>,
        house: watch::Receiver<Arc<House>>,
        desk: Arc<D>,
        clock: Clock,
        dice: Dice,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let around = Arc::new(Surroundings {
            desk,
            clock,
            dice,
            metrics,
            house,
            gate: Gate::default(),
            familiar: Mutex::default(),
            stress: stress::Watch::default(),
            submission: submission::Shared::start()?,
            sessions: Arc::default(),
            stop: stopping,
        });
        let (mut doors, mut addresses) = (Vec::new(), Vec::new());
        let mut listeners = Vec::new();
        for post in posts {
            post.socket.set_nonblocking(true)?;
            addresses.push(post.socket.local_addr()?);
            listeners.push((post.address, TcpListener::from_std(post.socket)?));
        }
        for (address, listener) in listeners {
            let door = Arc::clone(&around);
            doors.push(tokio::spawn(accept(listener, move |tcp, peer| admit(&door, address, tcp, peer))));
        }
        certificates::publish(&around);
        doors.push(tokio::spawn(certificates::follow(Arc::clone(&around))));
        doors.push(tokio::spawn(stress::follow(Arc::clone(&around))));
        let (sessions, gate) = (Arc::clone(&around.sessions), around.gate.clone());
        Ok(Self { doors, sessions, stop, gate, addresses })
    }

    /// Where the posts listen, in their order; of use when they were bound to port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Sessions that are open now.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.gate.open()
    }

    /// Closes the doors, says 421 to idle sessions, gives the others until `patience` is over.
    pub async fn drain(self, patience: Span) -> Drained {
        for door in &self.doors {
            door.abort();
        }
        for door in self.doors {
            // An aborted task ends with an error by design.
            let _ = door.await;
        }
        let _ = self.stop.send(true);
        let mut sessions = std::mem::take(&mut *self.sessions.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while sessions.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(patience.as_std(), all).await.is_ok();
        let cut = if in_time { 0 } else { sessions.len() };
        sessions.shutdown().await;
        Drained { cut }
    }
}

/// Counts a connection in and starts its session, or turns it away.
fn admit<D: Desk>(around: &Arc<Surroundings<D>>, address: SocketAddr, tcp: TcpStream, peer: SocketAddr) {
    let house = around.house();
    let Some(station) = house.station(address).cloned() else { return };
    // Replies are gathered by us; waiting for more would only delay them.
    let _ = tcp.set_nodelay(true);
    let permit = match around.gate.enter(house.limits.connections) {
        Ok(permit) => permit,
        Err(full) => {
            around.look_at_load(&house);
            let reply = turn_away(&tcp, full, "");
            let local = tcp.local_addr().unwrap_or(address);
            away(around, facts(canonical(peer), canonical(local), station.role), Reason::Connections, &reply);
            return;
        }
    };
    around.look_at_load(&house);
    let mut sessions = around.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(ended) = sessions.try_join_next() {
        if let Err(error) = ended {
            tracing::error!(%error, "a session failed");
        }
    }
    sessions.spawn(serve(Arc::clone(around), house, station, tcp, peer, permit));
}

/// One line without waiting, for somebody who cannot be let in. `more` follows the name of the limit in the event.
fn turn_away(tcp: &TcpStream, full: Full, more: &str) -> Reply {
    let reply = match full {
        Full::Total => Reply::new(421, "4.3.2", "Too many connections; try again later"),
        Full::Address => Reply::new(421, "4.7.0", "Too many connections from your address"),
        Full::Network => Reply::new(421, "4.7.0", "Too many connections from your network"),
    };
    let reply = reply.because(format!("{}{more}", full.rule()));
    let mut line = Vec::new();
    reply.write_to(&mut line);
    // If it does not fit into an empty socket buffer the client is gone.
    let _ = tcp.try_write(&line);
    reply
}

/// Counts and tells somebody who was sent away before there was a session.
fn away<D: Desk>(around: &Surroundings<D>, client: ClientFacts, reason: Reason, reply: &Reply) {
    around.metrics.turned_away(client.role, reason);
    let at = around.clock.now();
    let id = around.dice.mail_id(at);
    let refusal = Refusal { id, at, client: &client, helo: "", sender: None, recipient: None, reason, reply };
    around.desk.noticed(&refusal);
}

const fn facts(address: SocketAddr, local: SocketAddr, role: crate::listen::Role) -> ClientFacts {
    ClientFacts { address, local, role, tls: None::<TlsFacts> }
}

async fn serve<D: Desk>(
    around: Arc<Surroundings<D>>,
    house: Arc<House>,
    station: Arc<Station>,
    mut tcp: TcpStream,
    peer: SocketAddr,
    mut permit: Permit,
) {
    let Ok(local) = tcp.local_addr() else { return };
    let (mut client, mut early, mut ours) = (canonical(peer), Vec::new(), canonical(local));
    if station.proxy.contains(peer.ip()) {
        match proxied(&mut tcp).await {
            Some((addresses, behind)) => {
                early = behind;
                if let Some(addresses) = addresses {
                    (client, ours) = (addresses.client, addresses.local);
                }
            }
            None => {
                let nothing = Reply::new(421, "4.7.0", "No PROXY header");
                away(&around, facts(client, ours, station.role), Reason::Proxy, &nothing);
                return;
            }
        }
    }
    let who = facts(client, ours, station.role);
    if let Err(full) = permit.claim(client.ip(), around.share(&house, &who)) {
        let reply = turn_away(&tcp, full, if around.stress.is_on() { " (stress)" } else { "" });
        away(&around, who, Reason::Connections, &reply);
        return;
    }
    let role = station.role;
    let counted = Counted::new(&around.metrics, role);
    let mut dialogue = Dialogue::new(house, station, who);
    dialogue.connected_from(peer.ip());
    let stop = around.stop.clone();
    let mut talk = Talk {
        wire: Wire::new(tcp, early),
        dialogue,
        around: Arc::clone(&around),
        stop,
        stress: around.stress.subscribe(),
        transaction: None,
        chunks: None,
        since: tokio::time::Instant::now(),
    };
    let outcome = talk.run().await;
    counted.end(outcome);
    if !matches!(outcome, Outcome::Gone | Outcome::Tls) {
        talk.wire.hang_up().await;
    }
}

/// IPv4 clients of an IPv6 socket are IPv4 clients.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Counts a session as open, and as failed unless it says how it ended.
struct Counted {
    metrics: Metrics,
    role: crate::listen::Role,
    outcome: Outcome,
}

impl Counted {
    fn new(metrics: &Metrics, role: crate::listen::Role) -> Self {
        metrics.began(role);
        Self { metrics: metrics.clone(), role, outcome: Outcome::Failed }
    }
    fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.ended(self.role, self.outcome);
    }
}

#[cfg(test)]
mod tests;
