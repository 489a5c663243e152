//! Asks an agency's server whether a mailbox exists: MAIL FROM:<>, RCPT TO, and goodbye. One question at a time a host,
//! with patience for a server that is slow on purpose, for it takes us for a guesser.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Deliver;
use super::conn::Patience;
use crate::deliver::callout::meaning;
use crate::deliver::client::Trouble;
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
    pub async fn inquire(&self, destination: &Destination, mailbox: &Mailbox, policy: &Policy) -> Answer {
        let Way::Hops(hops) = policy.way(destination) else { return Answer::Unsure };
        let deadline = Instant::now() + PATIENCE;
        for hop in hops.iter() {
            let turn = self.callouts.of(hop).await;
            // Somebody else asks it: our turn comes, or time is over.
            let Ok(mut quiet_until) = timeout_at(deadline, turn.lock()).await else { return Answer::Unsure };
            if quiet_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            match self.ask_hop(hop, mailbox, policy, deadline).await {
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
        mailbox: &Mailbox,
        policy: &Policy,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let host = self.host(hop, policy);
        let mut conn = self.open(hop, &host, None, Patience::Until(deadline), policy).await?;
        let answer = conn.inquire(mailbox, deadline).await;
        conn.quit().await;
        Ok(answer?.as_ref().map_or(Answer::Unsure, meaning))
    }
}
