//! The second look at held mail before it goes: with the rules, engines and policy of today.
//!
//! Who sent it was found out when it came, and is taken from there: address and DNS of that hour are gone. What acts today
//! and did not act when it was held, and malware always, stops the release; so does what the policy would take out or
//! write anew, because a release changes nothing. An officer may force it, with a reason.

use std::sync::Arc;

use bytes::Bytes;

use crate::env::Clock;
use crate::envelope::Envelope;
use crate::inspect::Finding;
use crate::intake::Mail;
use crate::listen::{ClientFacts, Role};
use crate::mail::{Destination, Recipient, Timestamp};
use crate::pipeline::Examiner;
use crate::policy::Live;
use crate::quarantine::shelf::objections;
use crate::quarantine::store::Keep;
use crate::quarantine::{Entry, Held, Order};
use crate::session::desk::{Letter, Opening};
use crate::verdict::decide::is_about_sender;
use crate::verdict::{Action, Group, Ruled};

/// Looks again.
pub(super) struct Recheck {
    pub examiner: Examiner,
    pub live: Arc<Live>,
    pub clock: Clock,
}

impl Recheck {
    /// Codes that speak against letting it go to whom `order` says; `Err`: it could not be looked at.
    pub async fn look(&self, entry: &Entry, keep: &Keep, order: &Order) -> Result<Vec<String>, String> {
        let (policy, held) = (self.live.current(), &entry.held);
        let recipients = if order.to.is_empty() { &held.meta.recipients } else { &order.to };
        let mail = Mail::complete(envelope(held, recipients.clone(), self.clock.now()), raw(keep));
        let examined = self.examiner.examine_known(mail, &policy, held.auth.clone(), of_sender(held)).await;
        let verdict = &policy.compiled.verdict;
        let judged = examined.map_err(|reply| reply.to_string())?.judge(verdict);
        let mut acting: Vec<String> = judged.groups().iter().flat_map(acting).collect();
        // Seen is seen, whatever the agency does with it.
        acting
            .extend(judged.case().findings().iter().map(|f| f.code.to_string()).filter(|c| c.starts_with("malware.")));
        acting.sort();
        acting.dedup();
        let agency = recipients.first().map_or(&held.meta.destination, |to| &to.destination).agency();
        Ok(objections(held, &acting, |code| verdict.acts_alone(agency, code)))
    }
}

/// What would be done about it today: held or refused for these, or not delivered as it is.
fn acting(group: &Group) -> Vec<String> {
    let mut codes: Vec<String> = group.strip.iter().map(Ruled::code).collect();
    codes.extend(group.copy.map(|_| "mime.ambiguous".to_owned()));
    if group.would.unwrap_or(group.action) >= Action::Quarantine {
        codes.extend(group.because.iter().cloned());
    }
    codes
}

/// Findings about its sender, as they were.
fn of_sender(held: &Held) -> Vec<Finding> {
    held.codes.iter().filter(|code| is_about_sender(code)).map(|code| Finding::new(code.clone())).collect()
}

/// The message as it came, where that is known.
fn raw(keep: &Keep) -> Bytes {
    let head = if keep.original.is_empty() { &keep.parcel.head } else { &keep.original };
    [&head[..], &keep.parcel.body].concat().into()
}

fn envelope(held: &Held, recipients: Vec<Recipient>, now: Timestamp) -> Envelope {
    let ip = held.client_ip.parse().unwrap_or(std::net::IpAddr::from([127, 0, 0, 1]));
    let address = std::net::SocketAddr::new(ip, 0);
    let role = if matches!(held.meta.destination, Destination::Outward(_)) { Role::Relay } else { Role::Mx };
    let client = ClientFacts { address, local: address, role, tls: None };
    let opening = Opening {
        id: held.meta.id,
        received_at: now,
        client,
        helo: held.helo.clone(),
        esmtp: true,
        sender: held.meta.sender.clone(),
        params: held.meta.params.clone(),
    };
    Envelope::of(Letter { opening, recipients })
}
