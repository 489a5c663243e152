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
use crate::quarantine::{Entry, Held, Order, What};
use crate::report::record::retro::{Condemned, condemned};
use crate::session::desk::{Letter, Opening};
use crate::verdict::decide::is_about_sender;
use crate::verdict::{Action, Group, Judged, Ruled};

/// Looks again.
#[derive(Clone)]
pub(super) struct Recheck {
    pub examiner: Examiner,
    pub live: Arc<Live>,
    pub clock: Clock,
}

/// What a second look finds.
#[derive(Debug)]
pub(super) struct Again {
    pub judged: Judged,
    /// What of it speaks against delivering the message to these recipients.
    pub objections: Vec<String>,
    /// What would be done about it today, and malware.
    pub acting: Vec<String>,
    /// Seen is seen, whatever the agency does with it.
    pub malware: Vec<String>,
    /// Engines are configured and none looked.
    pub unseen: bool,
    /// It would be delivered with a tag.
    pub tagged: bool,
}

impl Again {
    /// Digests of parts that are malware.
    pub fn condemned(&self) -> Condemned {
        let case = self.judged.case();
        let lines = case.findings().iter().map(|finding| (finding.code.as_ref(), finding.detail.as_str()));
        condemned(&case.content().parts, lines)
    }
}

impl Recheck {
    /// Codes that speak against letting it go to whom `order` says; `Err`: it could not be looked at.
    pub async fn look(&self, entry: &Entry, keep: &Keep, order: &Order) -> Result<Vec<String>, String> {
        let recipients = if order.to.is_empty() { &entry.held.meta.recipients } else { &order.to };
        let again = self.again(entry, keep, recipients).await?;
        let mut found = again.objections;
        // What was found since it is held bars it also where today's engines cannot look.
        let later = entry.deeds.iter().filter(|deed| deed.what == What::Found).flat_map(|deed| &deed.codes);
        found.extend(later.filter(|code| code.starts_with("malware.")).cloned());
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// As if it came now for `recipients`; `Err`: it could not be looked at.
    pub async fn again(&self, entry: &Entry, keep: &Keep, recipients: &[Recipient]) -> Result<Again, String> {
        let (policy, held) = (self.live.current(), &entry.held);
        let mail = Mail::complete(envelope(held, recipients.to_vec(), self.clock.now()), raw(keep));
        let examined = self.examiner.examine_known(mail, &policy, held.auth.clone(), of_sender(held)).await;
        let judged = examined.map_err(|reply| reply.to_string())?.judge(&policy.compiled.verdict);
        let found = judged.case().findings().iter().map(|f| f.code.to_string());
        let mut malware: Vec<String> = found.filter(|code| code.starts_with("malware.")).collect();
        malware.sort();
        malware.dedup();
        let mut acting: Vec<String> = judged.groups().iter().flat_map(acting).collect();
        acting.extend(malware.iter().cloned());
        acting.sort();
        acting.dedup();
        let agency = recipients.first().map_or(&held.meta.destination, |to| &to.destination).agency();
        let verdict = &policy.compiled.verdict;
        let objections = objections(held, &acting, |code| verdict.acts_alone(agency, code));
        let unseen = ["engine.down", "engine.unscanned", "engine.skipped"].iter().any(|code| judged.case().has(code));
        let tagged = judged.groups().iter().any(|group| group.action == Action::Tag);
        Ok(Again { judged, objections, acting, malware, unseen, tagged })
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
