//! One message to one next hop: a connection that rested or a new one, the conversation, and what it tells about
//! the host. Used by sessions (cut-through) and by the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::Deliver;
use super::conn::{Conn, Opening, Patience};
use super::host::Host;
use super::internet::{Account, Witness};
use crate::deliver::client::transaction::State;
use crate::deliver::client::{Answers, Stage, Transaction, Trouble, Wire};
use crate::deliver::route::{Hop, Policy};
use crate::deliver::schedule;
use crate::deliver::settings::TlsMode;
use crate::env::tls::guard::{Fault, FaultKind};
use crate::mail::{Parcel, Reply};

/// A whole opening (connect, banner, EHLO, TLS) of the queue may take this long; RFC 5321 §4.5.3.2.1 wants 5 min.
const OPENING: Duration = Duration::from_secs(300);
/// Of which the connect may take this much.
const CONNECT: Duration = Duration::from_secs(30);

/// A message for some of its recipients, checked for the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    pub parcel: &'a Parcel,
    pub to: &'a [usize],
    pub wire: &'a Wire<'a>,
    /// For whom TLS sessions are counted, where the hop was found by MX.
    pub account: Option<Account<'a>>,
}

/// What one try came to.
#[derive(Debug)]
pub(super) enum Sent {
    /// The host answered for every recipient.
    Answered(Answers),
    /// It cannot take such a message, as its EHLO says.
    Unfit(Reply),
    /// It has all of the message and has not answered in time.
    Doubt(Box<Doubt>),
}

/// A connection on which the last answer may still come.
#[derive(Debug)]
pub(super) struct Doubt {
    pub conn: Conn,
    pub state: State,
    pub place: OwnedSemaphorePermit,
}

impl Deliver {
    /// Tries `hop` once. Trouble says nothing about the message; what it says about the host is noted here.
    pub(super) async fn try_hop(
        &self,
        hop: &Hop,
        host: &Arc<Host>,
        load: Load<'_>,
        by: Patience,
        policy: &Policy,
    ) -> Result<Sent, Trouble> {
        let tried = self.converse(hop, host, load, by, policy).await;
        self.note(hop, host, &tried, policy);
        tried
    }

    /// What a try tells about its host.
    pub(super) fn note(&self, hop: &Hop, host: &Host, tried: &Result<Sent, Trouble>, policy: &Policy) {
        match tried {
            Ok(sent) => {
                self.parts.metrics.attempt(hop.profile, outcome(sent));
                self.answers(hop, host);
            }
            Err(trouble) => self.heed(hop, host, trouble, policy),
        }
    }

    /// The host answered: if it had not before, its queue may go.
    pub(super) fn answers(&self, hop: &Hop, host: &Host) {
        if host.worked() {
            tracing::info!(hop = %hop.host, "the next hop answers again");
            self.host_is_back(hop);
        }
    }

    /// It did not, or not as a mail server should: it is left alone where the next message would meet the same.
    pub(super) fn heed(&self, hop: &Hop, host: &Host, trouble: &Trouble, policy: &Policy) {
        self.parts.metrics.attempt(hop.profile, trouble.label());
        tracing::info!(hop = %hop.host, port = hop.port, %trouble, "delivery trouble");
        if is_the_hosts(trouble) {
            let pressure = matches!(trouble, Trouble::Pressure(..));
            let jitter = self.jitter();
            host.failed(trouble.to_string(), |failures| {
                let pause = schedule::probe_after(&policy.settings, failures, jitter);
                if pressure { pause.max(policy.settings.retry_first).as_std() } else { pause.as_std() }
            });
        }
    }

    async fn converse(
        &self,
        hop: &Hop,
        host: &Arc<Host>,
        load: Load<'_>,
        by: Patience,
        policy: &Policy,
    ) -> Result<Sent, Trouble> {
        let place = match by {
            Patience::Until(deadline) => timeout_at(deadline, host.place()).await.ok().flatten(),
            Patience::ByStage => host.place().await,
        };
        let place = place.ok_or(Trouble::Slow(Stage::Connect))?;
        let mut fresh = false;
        loop {
            let rested = if fresh { None } else { host.take() };
            fresh = rested.is_none();
            let mut conn = match rested {
                Some(conn) => conn,
                None => self.open(hop, host, load.account, by, policy).await?,
            };
            let size = load.wire.size_bytes();
            let mut tx = Transaction::new(load.parcel, load.to, size, conn.abilities(), hop.traits());
            if let Some(reply) = tx.unfit(conn.is_verified()) {
                host.give_back(conn);
                return Ok(Sent::Unfit(reply));
            }
            match conn.carry(&mut tx, load.wire, by).await {
                Ok(()) => {
                    let answers = tx.finish();
                    conn.rest(&answers);
                    host.give_back(conn);
                    return Ok(Sent::Answered(answers));
                }
                // A connection that rested may have been closed behind our back: one more try on a new one.
                Err(Trouble::Lost(_) | Trouble::NotReady(..)) if !fresh && tx.is_unanswered() => fresh = true,
                Err(Trouble::Slow(_)) if tx.in_doubt() => {
                    return Ok(Sent::Doubt(Box::new(Doubt { conn, state: tx.suspend(), place })));
                }
                // Nobody waits: what was said about some of the recipients is true whatever came after it.
                Err(trouble) if by.is_unhurried() => return tx.salvage(&trouble).map(Sent::Answered).ok_or(trouble),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// A new connection, under TLS as far as the hop's policy goes; what it came to is counted for reports.
    pub(super) async fn open(
        &self,
        hop: &Hop,
        host: &Host,
        account: Option<Account<'_>>,
        by: Patience,
        policy: &Policy,
    ) -> Result<Conn, Trouble> {
        let witness = Witness::default();
        let opened = self.open_seen(hop, host, &witness, by, policy).await;
        if let Some(account) = account {
            self.parts.internet.note(account, hop, &opened, &witness, self.parts.clock.now());
        }
        opened
    }

    async fn open_seen(
        &self,
        hop: &Hop,
        host: &Host,
        witness: &Witness,
        by: Patience,
        policy: &Policy,
    ) -> Result<Conn, Trouble> {
        let connect = by.deadline(CONNECT);
        let found = timeout_at(connect, self.addresses(hop)).await;
        let addresses =
            found.unwrap_or_else(|_| Err("its name was not found in time".to_owned())).map_err(Trouble::Connect)?;
        let (name, connector, metrics) = (&*policy.hostname, &self.parts.connector, &self.parts.metrics);
        let guard = &self.parts.internet.guard;
        let with = |tls| {
            let (connect, deadline) = (by.deadline(CONNECT), by.deadline(OPENING));
            let handshake = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
            let addresses = &addresses;
            Opening { hop, addresses, name, tls, connector, guard, witness, connect, handshake, deadline, metrics }
        };
        let flexible = hop.tls == TlsMode::Opportunistic;
        if flexible && host.goes_clear() {
            metrics.downgraded(hop.internet, "remembered");
            // For reports: whether it offers STARTTLS is not known, that its TLS fails is.
            witness.fault(Fault { kind: FaultKind::Handshake, text: "TLS failed within the hour".to_owned() });
            return Conn::open(with(TlsMode::None)).await;
        }
        match Conn::open(with(hop.tls)).await {
            Ok(conn) => {
                if conn.is_secured() {
                    host.tls_worked();
                } else if conn.was_refused_tls() {
                    metrics.downgraded(hop.internet, "refused");
                } else if flexible && host.had_tls() {
                    tracing::warn!(hop = %hop.host, port = hop.port, "STARTTLS is not offered any more");
                    metrics.downgraded(hop.internet, "missing");
                }
                Ok(conn)
            }
            // RFC 7435: where TLS was a bonus, its failure must not stop the mail. The handshake spoiled this
            // connection, so a new one goes on in clear.
            Err(why @ (Trouble::Tls(_) | Trouble::Lost(Stage::StartTls))) if flexible => {
                tracing::warn!(hop = %hop.host, port = hop.port, %why, "TLS failed, going on in clear");
                metrics.downgraded(hop.internet, "handshake");
                host.tls_failed();
                Conn::open(with(TlsMode::None)).await
            }
            // No time is left for another connection; the next message does without.
            Err(why @ Trouble::Slow(Stage::StartTls)) if flexible => {
                host.tls_failed();
                Err(why)
            }
            Err(why) => Err(why),
        }
    }
}

const fn outcome(sent: &Sent) -> &'static str {
    match sent {
        Sent::Answered(answers) => match &answers.answer {
            Some(reply) if reply.code() < 300 => "delivered",
            Some(reply) if reply.code() < 500 => "deferred",
            _ => "refused",
        },
        Sent::Unfit(_) => "refused",
        Sent::Doubt(_) => "doubt",
    }
}

/// Whether the next message would meet the same trouble: the host is left alone then. A connection that was cut or
/// stood still in the middle of a message may have been about that message.
pub(super) fn is_the_hosts(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Connect(_) | Trouble::Tls(_) | Trouble::NoTls | Trouble::Pressure(..) | Trouble::NotReady(..) => true,
        Trouble::Nonsense(stage, _) | Trouble::Lost(stage) | Trouble::Slow(stage) => {
            matches!(stage, Stage::Banner | Stage::Hello | Stage::StartTls)
        }
    }
}
