//! `live_recipients`: the next hop's transaction opens at the sender's first RCPT and its answers are passed on, so an
//! unknown user or a full mailbox is refused before the message is sent (DESIGN §5a).
//!
//! It is a help, never a condition: a host that is down, slow or busy makes nobody wait and refuses nobody; the
//! message then goes the usual way. Half of a host's connections stay free of it, so senders that dawdle between RCPT
//! and DATA hold up no mail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Deliver;
use super::attempt::{Doubt, Load, Sent};
use super::conn::{Conn, Patience};
use super::handover::bland;
use super::host::{Entry, Host};
use crate::deliver::client::commands::{self, Sender};
use crate::deliver::client::{Needs, Stage, Transaction, Trouble};
use crate::deliver::route::{Hop, Policy, Way};
use crate::deliver::settings::Delivery;
use crate::mail::transaction::BodyType;
use crate::mail::{Destination, MailParams, Mailbox, Parcel, Recipient, Reply, ReversePath};

/// For one answer, connect and TLS included: Exchange's tarpit takes 5 s (DOMAIN §2.1), a sender waits 5 min at RCPT
/// (RFC 5321 §4.5.3.2.3).
const ANSWER: Duration = Duration::from_secs(20);
/// A transaction that waited longer for its message is given up: servers end theirs after five minutes.
const REST: Duration = Duration::from_secs(240);

/// The transactions that one sender's message has opened so far: one for each destination that wants it. Dropped, they
/// are reset and their connections serve others.
#[derive(Debug, Default)]
pub struct Live(Vec<Line>);

#[derive(Debug)]
struct Line {
    destination: Destination,
    open: Option<Open>,
    /// The host does not answer: it is not asked again for this message.
    gone: bool,
    /// Everybody who was accepted was accepted by the server, in the transaction that is open.
    whole: bool,
}

/// A transaction at the next hop: MAIL and some RCPTs were taken.
#[derive(Debug)]
pub(super) struct Open {
    pub hop: Arc<Hop>,
    pub host: Arc<Host>,
    /// `None` once it was taken out.
    conn: Option<Conn>,
    place: Option<OwnedSemaphorePermit>,
    accepted: Vec<Mailbox>,
    since: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(mut conn) = self.conn.take() {
            conn.leave_open();
            self.host.give_back(conn);
        }
    }
}

/// One RCPT of the sender's, allowed by everything we know ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub sender: &'a ReversePath,
    pub params: &'a MailParams,
    pub recipient: &'a Recipient,
}

/// What came of opening a transaction.
enum Begun {
    Open(Box<Open>),
    /// MAIL was refused.
    Refused(Reply),
    /// No connection is to be had just now.
    Busy,
}

impl Live {
    fn line(&mut self, destination: &Destination) -> &mut Line {
        let at = self.0.iter().position(|line| line.destination == *destination).unwrap_or_else(|| {
            self.0.push(Line { destination: destination.clone(), open: None, gone: false, whole: true });
            self.0.len().saturating_sub(1)
        });
        self.0.get_mut(at).expect("it was found or put there just now")
    }

    /// The transaction in which this message may be sent; whatever else is open is given up.
    pub(super) fn for_message(self, parcel: &Parcel) -> Option<Open> {
        let line = self.0.into_iter().find(|line| line.destination == parcel.meta.destination && line.whole)?;
        let open = line.open?;
        let said = parcel.meta.params.body == BodyType::EightBitMime;
        let as_announced = said || (parcel.head.is_ascii() && parcel.body.is_ascii());
        let same = parcel.meta.recipients.iter().map(|r| &r.mailbox).eq(open.accepted.iter());
        (same && as_announced && open.since.elapsed() < REST).then_some(open)
    }
}

impl Deliver {
    /// Asks the recipient's server about it, where that is wanted; the error is the server's refusal, fit to pass on.
    pub async fn ask(&self, live: &mut Live, question: Question<'_>, policy: &Policy) -> Result<(), Reply> {
        let Some(hop) = live_hop(&question.recipient.destination, policy) else { return Ok(()) };
        let line = live.line(&question.recipient.destination);
        let local = question.recipient.mailbox.local();
        // RFC 5321 §4.5.1: these two are taken whatever a server says.
        let always = local.eq_ignore_ascii_case("postmaster") || local.eq_ignore_ascii_case("abuse");
        let answer = if always || line.gone { None } else { self.ask_line(line, &hop, question, policy).await };
        let Some(reply) = answer else {
            line.whole = false;
            self.parts.metrics.live("unasked");
            return Ok(());
        };
        self.parts.metrics.live(match reply.code() {
            ..400 => "accepted",
            400..500 => "later",
            _ => "refused",
        });
        if reply.is_positive() { Ok(()) } else { Err(bland(&reply)) }
    }

    /// The server's answer; `None` when it gave none that is about the recipient.
    async fn ask_line(
        &self,
        line: &mut Line,
        hop: &Arc<Hop>,
        question: Question<'_>,
        policy: &Policy,
    ) -> Option<Reply> {
        if line.open.is_none() {
            match self.begin_live(hop, question, policy).await {
                Ok(Begun::Open(open)) => line.open = Some(*open),
                Ok(Begun::Refused(reply)) => return Some(reply),
                Ok(Begun::Busy) => return None,
                Err(_) => {
                    line.gone = true;
                    return None;
                }
            }
        }
        let open = line.open.as_mut()?;
        let conn = open.conn.as_mut()?;
        let (can, traits) = (conn.abilities(), hop.traits());
        let command = |out: &mut Vec<u8>| commands::rcpt(question.recipient, can, traits, out);
        match conn.ask(Stage::Recipient, Instant::now() + ANSWER, command).await {
            Ok(reply) if reply.is_positive() => {
                open.accepted.push(question.recipient.mailbox.clone());
                Some(reply)
            }
            Ok(reply) => {
                conn.count_refusal();
                if !conn.is_welcome(traits.manners) {
                    // The next recipient gets a new connection; the message goes the usual way.
                    (line.open, line.whole) = (None, false);
                }
                Some(reply)
            }
            Err(trouble) => {
                self.heed(hop, &open.host, &trouble, policy);
                open.conn = None;
                (line.open, line.gone) = (None, true);
                None
            }
        }
    }

    async fn begin_live(&self, hop: &Arc<Hop>, question: Question<'_>, policy: &Policy) -> Result<Begun, Trouble> {
        let host = self.host(hop, policy);
        let _pass = match host.enter() {
            Entry::Open(pass) => pass,
            Entry::Shut(..) => return Ok(Begun::Busy),
        };
        let Some(place) = host.spare_place() else { return Ok(Begun::Busy) };
        let opened = self.open_live(hop, &host, question, policy).await;
        let (conn, reply) = match opened {
            Ok(opened) => opened,
            Err(trouble) => {
                self.heed(hop, &host, &trouble, policy);
                return Err(trouble);
            }
        };
        self.answers(hop, &host);
        if let Some(refusal) = reply {
            host.give_back(conn);
            return Ok(Begun::Refused(refusal));
        }
        let (hop, accepted, since) = (Arc::clone(hop), Vec::new(), Instant::now());
        Ok(Begun::Open(Box::new(Open { hop, host, conn: Some(conn), place: Some(place), accepted, since })))
    }

    /// A connection with MAIL taken, or with the reply that refused it.
    async fn open_live(
        &self,
        hop: &Hop,
        host: &Arc<Host>,
        question: Question<'_>,
        policy: &Policy,
    ) -> Result<(Conn, Option<Reply>), Trouble> {
        let by = Instant::now() + ANSWER;
        let mut fresh = false;
        loop {
            let rested = if fresh { None } else { host.take() };
            fresh = rested.is_none();
            let mut conn = match rested {
                Some(conn) => conn,
                None => self.open(hop, host, None, Patience::Until(by), policy).await?,
            };
            host.learn(conn.abilities());
            let needs = Needs::announced(question.sender, &question.recipient.mailbox, question.params);
            if let Some(refusal) = conn.abilities().refuses(needs) {
                return Ok((conn, Some(refusal)));
            }
            let sender = Sender {
                path: question.sender,
                params: question.params,
                size_bytes: question.params.size,
                eight_bit: question.params.body == BodyType::EightBitMime,
                smtputf8: question.params.smtputf8,
            };
            let (can, traits) = (conn.abilities(), hop.traits());
            match conn.mail(by, |out| commands::mail(sender, can, traits, out)).await {
                Ok(reply) if reply.is_positive() => return Ok((conn, None)),
                Ok(reply) => return Ok((conn, Some(reply))),
                // It was closed behind our back while it rested.
                Err(Trouble::Lost(_) | Trouble::NotReady(..)) if !fresh => fresh = true,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// The message in its open transaction.
    pub(super) async fn finish_live(
        &self,
        mut open: Open,
        load: Load<'_>,
        by: Patience,
        policy: &Policy,
    ) -> Result<Sent, Trouble> {
        let (Some(mut conn), Some(place)) = (open.conn.take(), open.place.take()) else {
            return Err(Trouble::Lost(Stage::Data));
        };
        // Servers end what waits too long.
        if !conn.is_fit() {
            return Err(Trouble::Lost(Stage::Data));
        }
        let (hop, host) = (&open.hop, &open.host);
        let size = load.wire.size_bytes();
        let mut tx = Transaction::opened(load.parcel, load.to, size, conn.abilities(), hop.traits());
        if let Some(reply) = tx.unfit(conn.is_verified()) {
            conn.leave_open();
            host.give_back(conn);
            return Ok(Sent::Unfit(reply));
        }
        let sent = match conn.carry(&mut tx, load.wire, by).await {
            Ok(()) => {
                let answers = tx.finish();
                conn.rest(&answers);
                host.give_back(conn);
                Ok(Sent::Answered(answers))
            }
            Err(Trouble::Slow(_)) if tx.in_doubt() => {
                Ok(Sent::Doubt(Box::new(Doubt { conn, state: tx.suspend(), place })))
            }
            Err(trouble) => Err(trouble),
        };
        self.note(hop, host, &sent, policy);
        sent
    }
}

/// The server that is asked for this destination.
fn live_hop(destination: &Destination, policy: &Policy) -> Option<Arc<Hop>> {
    let Way::Hops(hops) = policy.way(destination) else { return None };
    hops.first().filter(|hop| hop.live_recipients && hop.delivery == Delivery::CutThrough).cloned()
}
