//! Asks an agency's server whether a mailbox exists: MAIL FROM:<>, RCPT TO, and goodbye. One question at a time a host,
//! with patience for a server that is slow on purpose, for it takes us for a guesser.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Deliver;
use super::conn::{Conn, Patience};
use super::host::Host;
use crate::deliver::callout::meaning;
use crate::deliver::client::{Stage, Trouble};
use crate::deliver::route::{Hop, Policy, Way};
use crate::envelope::known::Answer;
use crate::mail::{Destination, Mailbox};

/// A tarpit answers within 15 seconds or so; waiting for a turn counts too. Senders wait five minutes for us.
const PATIENCE: Duration = Duration::from_secs(40);

/// A server that did not answer is left alone for so long.
const QUIET: Duration = Duration::from_secs(60);

/// Whose turn it is to ask a host, and until when it is left alone. As many as there are configured hosts.
#[derive(Debug, Default)]
pub(super) struct Turns(tokio::sync::Mutex<HashMap<(String, u16), Turn>>);

type Turn = Arc<tokio::sync::Mutex<Option<Instant>>>;

impl Turns {
    async fn of(&self, hop: &Hop) -> Turn {
        Arc::clone(self.0.lock().await.entry((hop.host.clone(), hop.port)).or_default())
    }
}

impl Deliver {
    /// What the first of the destination's servers that answers says about a mailbox.
    pub async fn call_out(&self, destination: &Destination, mailbox: &Mailbox, policy: &Policy) -> Answer {
        let Way::Hops(hops) = policy.way(destination) else { return Answer::Unsure };
        let deadline = Instant::now() + PATIENCE;
        for hop in hops.iter() {
            let turn = self.callouts.of(hop).await;
            // Somebody else asks it: our turn comes, or time is over.
            let Ok(mut quiet_until) = timeout_at(deadline, turn.lock()).await else { return Answer::Unsure };
            let host = self.host(hop, policy);
            if quiet_until.is_some_and(|until| Instant::now() < until) || host.shut().is_some() {
                continue;
            }
            // One of the connections that the host may have; that it is busy says nothing against it.
            let Ok(Some(_place)) = timeout_at(deadline, host.place()).await else { return Answer::Unsure };
            match self.ask_hop(hop, &host, mailbox, policy, deadline).await {
                Ok(answer) => return answer,
                Err(trouble) => {
                    *quiet_until = Some(Instant::now() + QUIET);
                    tracing::info!(hop = %hop.host, port = hop.port, %trouble, "a recipient could not be asked about");
                }
            }
        }
        Answer::Unsure
    }

    async fn ask_hop(
        &self,
        hop: &Hop,
        host: &Host,
        mailbox: &Mailbox,
        policy: &Policy,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        // RFC 6531 would have to be offered; the delivery will say.
        if !mailbox.is_ascii() {
            return Ok(Answer::Unsure);
        }
        let mut conn = self.open(hop, host, None, Patience::Until(deadline), policy).await?;
        let answer = question(&mut conn, mailbox, deadline).await;
        conn.quit().await;
        answer
    }
}

/// As if a report were to follow. A server that would not hear of a null sender has said nothing about the mailbox.
async fn question(conn: &mut Conn, mailbox: &Mailbox, deadline: Instant) -> Result<Answer, Trouble> {
    let mail = conn.mail(deadline, |out| out.extend_from_slice(b"MAIL FROM:<>\r\n")).await?;
    if !mail.is_positive() {
        return Ok(Answer::Unsure);
    }
    let line = format!("RCPT TO:<{mailbox}>\r\n");
    let reply = conn.ask(Stage::Recipient, deadline, |out| out.extend_from_slice(line.as_bytes())).await?;
    Ok(meaning(&reply))
}
