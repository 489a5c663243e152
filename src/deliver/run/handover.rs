//! Cut-through: the message goes to the agency's server while its sender waits (DESIGN §5a).
//!
//! Exactly one of: the hop has it, our spool has it, the sender still has it. A reply lost after the final dot is
//! resolved towards a duplicate, never towards a loss (THREATS R-08).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Deliver;
use super::attempt::{Doubt, Load, Sent};
use super::conn::Patience;
use super::giveup::{Failure, only};
use super::host::{Entry, Host};
use super::live::Live;
use super::queue::Said;
use crate::deliver::client::{Answers, Needs, Stage, Transaction, Trouble, Wire};
use crate::deliver::route::{Hop, Policy, Way};
use crate::deliver::settings::Delivery;
use crate::deliver::{Handover, schedule};
use crate::mail::{Parcel, Reply, Span, Timestamp};
use crate::spool::JobKey;

/// How long the answer after the final dot is awaited in the background (RFC 5321 §4.5.3.2.6).
const DOUBT: Duration = Duration::from_secs(600);
/// The spooled copy becomes due a little later than that, should this process not live to see it.
const DOUBT_DUE: Span = Span::minutes(11);
/// Of a remote text this much is passed on.
const TEXT: usize = 200;

impl Deliver {
    /// Hands a message to its next hop, or keeps it. The caller answers the sender with what comes back.
    pub async fn hand_over(self: &Arc<Self>, parcel: &Parcel, policy: &Arc<Policy>) -> Handover {
        self.hand_over_live(parcel, Live::default(), policy).await
    }

    /// As [`Deliver::hand_over`], in the transaction that [`Deliver::ask`] has opened for this message, if it did.
    pub async fn hand_over_live(self: &Arc<Self>, parcel: &Parcel, live: Live, policy: &Arc<Policy>) -> Handover {
        let outcome = match policy.way(&parcel.meta.destination) {
            Way::Hops(hops) if hops.first().is_some_and(|h| h.delivery == Delivery::CutThrough) => {
                self.cut_through(parcel, live, &hops, policy).await
            }
            _ => self.keep(parcel, String::new(), self.parts.clock.now(), policy).await,
        };
        self.parts.metrics.cut_through(match &outcome {
            Handover::Handed { .. } => "handed",
            Handover::Spooled { why, .. } if why.is_empty() => "queued",
            Handover::Spooled { .. } => "spooled",
            Handover::InDoubt { .. } => "in-doubt",
            Handover::Refused { .. } => "refused",
            Handover::Held { .. } => "held",
            Handover::Deferred { .. } => "deferred",
        });
        outcome
    }

    async fn cut_through(
        self: &Arc<Self>,
        parcel: &Parcel,
        live: Live,
        hops: &[Arc<Hop>],
        policy: &Arc<Policy>,
    ) -> Handover {
        let wire = match Wire::check(parcel) {
            Ok(wire) => wire,
            // Ours, not the sender's: its message was checked when it came.
            Err(error) => {
                tracing::error!(id = %parcel.meta.id, %error, "a message that must not leave");
                let reply = Reply::new(451, "4.3.0", "Temporary trouble here, please try again later");
                return Handover::Deferred { reply, why: error.to_string() };
            }
        };
        let to: Vec<usize> = (0..parcel.meta.recipients.len()).collect();
        let load = Load { parcel, to: &to, wire: &wire, account: None };
        let end = Instant::now() + policy.settings.cut_through_wait.as_std();
        let mut why = "no next hop is open".to_owned();
        let mut begun = live.for_message(parcel);
        for (place, hop) in hops.iter().enumerate() {
            // Each of several hops gets its share of the sender's patience.
            let share = u32::try_from(hops.len().saturating_sub(place)).unwrap_or(1).max(1);
            let by = || Patience::Until(Instant::now() + end.saturating_duration_since(Instant::now()) / share);
            if let Some(open) = begun.take_if(|open| open.hop == *hop) {
                let host = Arc::clone(&open.host);
                match self.finish_live(open, load, by(), policy).await {
                    // The line went while the sender was busy, and nothing of the message has left: as if there had
                    // been no transaction.
                    Err(Trouble::Lost(Stage::Data) | Trouble::NotReady(Stage::Data, _)) => {}
                    tried => match self.weigh(tried, parcel, hop, &host, policy).await {
                        Ok(outcome) => return outcome,
                        Err(trouble) if is_taken_perhaps(&trouble) => {
                            return self.keep_later(parcel, &trouble, policy).await;
                        }
                        Err(trouble) => {
                            why = trouble.to_string();
                            continue;
                        }
                    },
                }
            }
            let host = self.host(hop, policy);
            let _pass = match host.enter() {
                Entry::Open(pass) => pass,
                Entry::Shut(_, reason) => {
                    why = reason;
                    continue;
                }
            };
            let tried = self.try_hop(hop, &host, load, by(), policy).await;
            match self.weigh(tried, parcel, hop, &host, policy).await {
                Ok(outcome) => return outcome,
                Err(trouble) if is_taken_perhaps(&trouble) => return self.keep_later(parcel, &trouble, policy).await,
                Err(trouble) => why = trouble.to_string(),
            }
        }
        self.keep_later(parcel, &why, policy).await
    }

    /// What a try means for the sender; its trouble where another hop may do better.
    async fn weigh(
        self: &Arc<Self>,
        tried: Result<Sent, Trouble>,
        parcel: &Parcel,
        hop: &Hop,
        host: &Arc<Host>,
        policy: &Arc<Policy>,
    ) -> Result<Handover, Trouble> {
        Ok(match tried? {
            Sent::Answered(answers) => self.settle(parcel, hop, host, answers, policy).await,
            Sent::Unfit(reply) => Handover::Refused { reply, hop: label(hop) },
            Sent::Doubt(doubt) => self.keep_in_doubt(parcel, hop, host, *doubt, policy).await,
        })
    }

    /// Into the spool, to be tried again after the first pause.
    async fn keep_later(&self, parcel: &Parcel, why: impl ToString, policy: &Policy) -> Handover {
        let now = self.parts.clock.now();
        let due = schedule::next_attempt(&policy.settings, now, now, 1, self.jitter()).unwrap_or(now);
        self.keep(parcel, why.to_string(), due, policy).await
    }

    /// Into the spool; or back to the sender when the servers are known to refuse it (DESIGN §5a).
    async fn keep(&self, parcel: &Parcel, why: String, due: Timestamp, policy: &Policy) -> Handover {
        let to: Vec<usize> = (0..parcel.meta.recipients.len()).collect();
        let needs = Needs::of(parcel, &to, parcel.size_bytes());
        if let Some(reply) = self.foreseen(&parcel.meta.destination, needs, policy) {
            return Handover::Refused { reply, hop: "the next hop".to_owned() };
        }
        match self.parts.spool.accept(parcel, due).await {
            Ok(proof) => Handover::Spooled { proof, why },
            Err(error) => Self::deferred(&error),
        }
    }

    /// The hop answered: who was taken, who was refused, and who hears of it.
    async fn settle(&self, parcel: &Parcel, hop: &Hop, host: &Host, answers: Answers, policy: &Policy) -> Handover {
        let (mut taken, mut refused, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for (i, fate) in answers.fates.into_iter().enumerate() {
            match fate {
                Ok(()) => taken.push(i),
                Err(reply) if reply.is_temporary() => later.push((i, reply)),
                Err(reply) => refused.push((i, reply)),
            }
        }
        if taken.is_empty() {
            // One answer for all. A "not now" wins: the sender tries again, and nobody is lost.
            let reply = later.first().or(refused.first()).map(|(_, reply)| bland(reply));
            let reply = reply.unwrap_or_else(|| Reply::new(451, "4.3.0", "Please try again later"));
            return Handover::Refused { reply, hop: label(hop) };
        }
        // 250 is said for the whole message, so those who were not taken are made safe before it.
        if !later.is_empty() {
            let members: Vec<usize> = later.iter().map(|(i, _)| *i).collect();
            let now = self.parts.clock.now();
            let due = schedule::next_attempt(&policy.settings, now, now, 1, self.jitter()).unwrap_or(now);
            if let Err(error) = self.parts.spool.accept(&only(parcel, &members), due).await {
                return Self::deferred(&error);
            }
        }
        if !refused.is_empty() {
            let failures: Vec<Failure> = refused.iter().map(|(i, reply)| Failure::refused(*i, reply)).collect();
            if let Err(error) = self.give_up(parcel, &failures, policy).await {
                return Self::deferred(&error);
            }
        }
        if !self.reports_itself(hop, host) {
            self.tell_success(parcel, &taken, policy).await;
        }
        let reply = answers.answer.as_ref().map_or_else(|| Reply::new(250, "2.0.0", "Ok"), bland);
        Handover::Handed { reply, hop: label(hop), refused, later }
    }

    /// The hop has all of it and is silent: keep a copy, tell the sender 250, and go on waiting.
    async fn keep_in_doubt(
        self: &Arc<Self>,
        parcel: &Parcel,
        hop: &Hop,
        host: &Arc<Host>,
        doubt: Doubt,
        policy: &Arc<Policy>,
    ) -> Handover {
        let due = self.parts.clock.now() + DOUBT_DUE;
        let key = match self.parts.spool.accept_in_doubt(parcel, due).await {
            Ok(key) => key,
            Err(error) => return Self::deferred(&error),
        };
        let (this, parcel, host, policy) = (Arc::clone(self), parcel.clone(), Arc::clone(host), Arc::clone(policy));
        let silent = !self.reports_itself(hop, &host);
        tokio::spawn(async move {
            let said = this.await_doubt(key, &parcel, &host, doubt).await;
            if let Some(mut said) = said {
                if silent {
                    said.iter_mut().for_each(|(_, said)| said.relay());
                }
                this.conclude(key, &parcel, said, 0, false, &policy).await;
            }
        });
        Handover::InDoubt { key, hop: label(hop) }
    }

    /// What the hop says in the end; `None` when it says nothing, and the copy goes out.
    async fn await_doubt(&self, key: JobKey, parcel: &Parcel, host: &Host, doubt: Doubt) -> Option<Vec<(usize, Said)>> {
        let Doubt { mut conn, state, place } = doubt;
        let to: Vec<usize> = (0..parcel.meta.recipients.len()).collect();
        let mut tx = Transaction::resume(parcel, &to, state);
        match conn.last_answer(&mut tx, Instant::now() + DOUBT).await {
            Ok(()) => {
                let answers = tx.finish();
                conn.rest(&answers);
                host.give_back(conn);
                drop(place);
                Some(to.iter().copied().zip(answers.fates.into_iter().map(Said::from)).collect())
            }
            Err(trouble) => {
                tracing::info!(id = %parcel.meta.id, %trouble, "no answer after the final dot: sent again");
                self.parts.spool.put_back(key, self.parts.clock.now());
                None
            }
        }
    }
}

/// All of the message is there and the line was cut: another hop might make two of one.
fn is_taken_perhaps(trouble: &Trouble) -> bool {
    trouble.stage() == Stage::Dot && !trouble.is_answer()
}

fn label(hop: &Hop) -> String {
    if hop.host.contains(':') { format!("[{}]:{}", hop.host, hop.port) } else { format!("{}:{}", hop.host, hop.port) }
}

/// A hop's reply as our own: its class and codes, its text short, on one line and in ASCII.
pub(super) fn bland(reply: &Reply) -> Reply {
    let code = match reply.code() {
        code @ (250 | 450..=452 | 455 | 550..=556) => code,
        200..400 => 250,
        400..500 => 451,
        _ => 550,
    };
    let class = code / 100;
    let enhanced = match reply.enhanced() {
        "" => format!("{class}.0.0"),
        given => given.to_owned(),
    };
    let text: String =
        reply.text().chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(TEXT).collect();
    Reply::new(code, enhanced, if text.is_empty() { "Ok".to_owned() } else { text })
}
