//! One next hop as we know it: its resting connections, how many may be open, and whether it answers.
//! A host that fails is left alone and asked by one message at a time (THREATS R-06). Its times are monotonic.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::conn::Conn;
use crate::deliver::client::Abilities;
use crate::deliver::metrics::{Metrics, Peer};
use crate::deliver::profile::{Manners, Traits};
use crate::deliver::settings::Limits;
use crate::env::Clock;
use crate::mail::Span;

/// A connection is replaced at this age (and after as many messages as its limits say), so that a balanced name is
/// asked again.
const AGE: Duration = Duration::from_secs(600);
/// After TLS failed, the clear way is taken at once for this long (DOMAIN §2.2: MDaemon does the same).
const CLEAR: Span = Span::hours(1);
/// A host that nobody needed for so long may be forgotten; one that did not answer, too: nothing waits for it any more.
const UNUSED: Span = Span::minutes(10);
const UNUSED_DOWN: Span = Span::hours(2);
/// Who finds a host that is being asked looks again after this long.
const ASKED_NOW: Span = Span::seconds(1);

/// What it said in its last EHLO is believed without asking for this long.
const MEMORY: Span = Span::hours(1);

/// A next hop. Shared by sessions and queue.
#[derive(Debug)]
pub(super) struct Host {
    resting: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
    limits: Limits,
    /// How many permits there are.
    places: usize,
    health: Mutex<Health>,
    manners: Manners,
    peer: Peer,
    clock: Clock,
    metrics: Metrics,
}

/// Moments are uptimes of the clock.
#[derive(Debug)]
struct Health {
    /// In a row; 0 means that it answers.
    failures: u32,
    /// When the first of them was.
    since: Span,
    quiet_until: Span,
    probing: bool,
    reason: String,
    clear_until: Option<Span>,
    /// TLS has worked here before.
    secured: bool,
    /// With the moment it said so.
    abilities: Option<(Abilities, Span)>,
    used: Span,
}

/// Whether a message may go to a host now.
#[derive(Debug)]
pub(super) enum Entry {
    /// Yes; the pass is for the whole attempt.
    Open(Pass),
    /// It does not answer; not before this has passed. And why.
    Shut(Span, String),
}

/// Leave to try one message. Says what came of it through [`Host::worked`] or [`Host::failed`].
#[derive(Debug)]
pub(super) struct Pass {
    host: Arc<Host>,
    probe: bool,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe {
            self.host.health().probing = false;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.health().failures > 0 {
            self.metrics.host_up(self.peer);
        }
    }
}

impl Host {
    pub fn new(limits: Limits, traits: Traits, peer: Peer, clock: Clock, metrics: Metrics) -> Self {
        let now = clock.uptime();
        let health = Health {
            failures: 0,
            since: now,
            quiet_until: now,
            probing: false,
            reason: String::new(),
            clear_until: None,
            secured: false,
            abilities: None,
            used: now,
        };
        let places = limits.concurrency.min(traits.connections).max(1);
        let permits = Arc::new(Semaphore::new(places));
        let (resting, health, manners) = (Mutex::default(), Mutex::new(health), traits.manners);
        Self { resting, permits, limits, places, health, manners, peer, clock, metrics }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn resting(&self) -> MutexGuard<'_, Vec<Conn>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for leave to send one message.
    pub fn enter(self: &Arc<Self>) -> Entry {
        let now = self.clock.uptime();
        let mut health = self.health();
        health.used = now;
        let probe = health.failures > 0;
        if probe && (health.probing || now < health.quiet_until) {
            return Entry::Shut(health.quiet_until.minus(now).max(ASKED_NOW), health.reason.clone());
        }
        health.probing |= probe;
        Entry::Open(Pass { host: Arc::clone(self), probe })
    }

    /// Whether it does not answer: how long it is left alone yet, and why.
    pub fn shut(&self) -> Option<(Span, String)> {
        let now = self.clock.uptime();
        let health = self.health();
        (health.failures > 0).then(|| (health.quiet_until.minus(now), health.reason.clone()))
    }

    /// How long it has not answered; zero when it does.
    pub fn down_for(&self) -> Span {
        let now = self.clock.uptime();
        let health = self.health();
        if health.failures > 0 { now.minus(health.since) } else { Span::ZERO }
    }

    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// It answered. True when it had not before: its queue may go.
    pub fn worked(&self) -> bool {
        let mut health = self.health();
        let back = health.failures > 0;
        if back {
            health.failures = 0;
            self.metrics.host_up(self.peer);
        }
        back
    }

    /// It did not; it is left alone for what `pause` says of the number of failures in a row.
    pub fn failed(&self, reason: String, pause: impl FnOnce(u32) -> Duration) {
        let now = self.clock.uptime();
        let mut health = self.health();
        // Messages that were under way together fail together: that is one failure.
        if health.failures > 0 && now < health.quiet_until {
            return;
        }
        if health.failures == 0 {
            self.metrics.host_down(self.peer);
            health.since = now;
        }
        health.failures = health.failures.saturating_add(1);
        let pause = Span::millis(u64::try_from(pause(health.failures).as_millis()).unwrap_or(u64::MAX));
        health.quiet_until = now.plus(pause);
        health.reason = reason;
        drop(health);
        self.resting().clear();
    }

    /// An operator says "now": the next message asks, whatever happened before.
    pub fn wake(&self) {
        self.health().quiet_until = self.clock.uptime();
    }

    /// Waits for a place among the open connections.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => Arc::clone(&self.permits).acquire_owned().await.ok(),
        }
    }

    /// A place for what may as well be left undone: half of them, and the only one, stay free for mail.
    pub fn spare_place(&self) -> Option<OwnedSemaphorePermit> {
        let plenty = self.permits.available_permits() > self.places.div_ceil(2);
        plenty.then(|| Arc::clone(&self.permits).try_acquire_owned().ok()).flatten()
    }

    /// The connection that rested last and still is one.
    pub fn take(&self) -> Option<Conn> {
        let now = Instant::now();
        loop {
            let conn = self.resting().pop()?;
            if now < conn.rested + self.limits.idle.as_std() && conn.is_fit() {
                return Some(conn);
            }
        }
    }

    /// Lets a healthy connection rest here; one that has served its time is closed with a goodbye.
    pub fn give_back(&self, conn: Conn) {
        self.learn(conn.abilities());
        if conn.opened.elapsed() < AGE && conn.carried < self.limits.messages && conn.is_welcome(self.manners) {
            self.resting().push(conn);
        } else {
            tokio::spawn(conn.quit());
        }
    }

    /// What it said in its last EHLO.
    pub fn learn(&self, abilities: Abilities) {
        let now = self.clock.uptime();
        self.health().abilities = Some((abilities, now));
    }

    /// Connections that rested too long, to be closed.
    pub fn stale(&self) -> Vec<Conn> {
        let now = Instant::now();
        self.resting().extract_if(.., |conn| conn.rested + self.limits.idle.as_std() <= now).collect()
    }

    /// All resting connections, to be closed.
    pub fn empty(&self) -> Vec<Conn> {
        std::mem::take(&mut *self.resting())
    }

    pub fn goes_clear(&self) -> bool {
        let now = self.clock.uptime();
        self.health().clear_until.is_some_and(|until| now < until)
    }
    pub fn tls_failed(&self) {
        self.health().clear_until = Some(self.clock.uptime().plus(CLEAR));
    }
    pub fn tls_worked(&self) {
        self.health().secured = true;
    }
    /// Whether TLS has worked here since this process began.
    pub fn had_tls(&self) -> bool {
        self.health().secured
    }
    /// What it said in its last EHLO, unless that is too long ago: a limit that was raised must come to be known.
    pub fn abilities(&self) -> Option<Abilities> {
        let now = self.clock.uptime();
        self.health().abilities.filter(|(_, at)| now.minus(*at) < MEMORY).map(|(abilities, _)| abilities)
    }
    /// Nothing is under way and nothing is known that would be missed.
    pub fn is_forgettable(&self) -> bool {
        let now = self.clock.uptime();
        let health = self.health();
        let unused = now.minus(health.used);
        (health.failures == 0 && UNUSED < unused && self.resting().is_empty()) || UNUSED_DOWN < unused
    }
    /// It does not answer, and nobody has asked it for long: it is gone from the configuration, or nothing waits for it.
    pub fn is_abandoned(&self) -> bool {
        let now = self.clock.uptime();
        let health = self.health();
        health.failures > 0 && UNUSED_DOWN < now.minus(health.used)
    }
}
