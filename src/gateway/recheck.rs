//! The second look at held mail before it goes: with the rules and engines of today.
//!
//! Who sent it was found out when it came; address and DNS of that hour are gone, so only the content is looked at
//! again. What is found then and was not known when it was held, and malware always, stops the release; an officer may
//! force it, with a reason.

use std::sync::Arc;

use bytes::Bytes;

use crate::env::Clock;
use crate::envelope::Envelope;
use crate::inspect::AuthFacts;
use crate::intake::Mail;
use crate::listen::{ClientFacts, Role};
use crate::pipeline::Examiner;
use crate::policy::Live;
use crate::quarantine::shelf::objections;
use crate::quarantine::store::Keep;
use crate::quarantine::{Entry, Held, What};
use crate::session::desk::{Letter, Opening};
use crate::verdict::Action;

/// Looks again.
pub(super) struct Recheck {
    pub examiner: Examiner,
    pub live: Arc<Live>,
    pub clock: Clock,
}

/// What a second look says.
#[derive(Debug)]
pub(super) struct Again {
    /// Codes that hold or refuse mail today, malware among them whatever the agency does with it.
    pub acting: Vec<String>,
    pub malware: Vec<String>,
    /// Engines are configured and none looked.
    pub unseen: bool,
    /// Nothing would hold it, take out a part or write it anew.
    pub passes: bool,
    /// It would be delivered with a tag.
    pub tagged: bool,
}

impl Recheck {
    /// Codes that speak against letting it go; `Err`: it could not be looked at.
    pub async fn look(&self, entry: &Entry, keep: &Keep) -> Result<Vec<String>, String> {
        let mut objections = objections(&entry.held, &self.again(entry, keep).await?.acting);
        // What was found since it is held bars it also where today's engines cannot look.
        let found = entry.deeds.iter().filter(|deed| deed.what == What::Found).flat_map(|deed| &deed.codes);
        objections.extend(found.filter(|code| code.starts_with("malware.")).cloned());
        objections.sort();
        objections.dedup();
        Ok(objections)
    }

    pub async fn again(&self, entry: &Entry, keep: &Keep) -> Result<Again, String> {
        let policy = self.live.current();
        let mail = Mail::complete(envelope(&entry.held, self.clock.now()), raw(keep));
        let examined = self.examiner.examine_known(mail, &policy, AuthFacts::default(), Vec::new()).await;
        let judged = examined.map_err(|reply| reply.to_string())?.judge(&policy.compiled.verdict);
        let acted = judged.groups().iter().filter(|group| group.would.unwrap_or(group.action) >= Action::Quarantine);
        let mut acting: Vec<String> = acted.flat_map(|group| group.because.iter().cloned()).collect();
        // Seen is seen, whatever the agency does with it.
        let found = judged.case().findings();
        let mut malware: Vec<String> =
            found.iter().map(|f| f.code.to_string()).filter(|code| code.starts_with("malware.")).collect();
        malware.sort();
        malware.dedup();
        let unseen = ["engine.down", "engine.unscanned", "engine.skipped"].iter().any(|code| judged.case().has(code));
        acting.extend(malware.iter().cloned());
        acting.sort();
        acting.dedup();
        let groups = judged.groups();
        let is_whole = groups.iter().all(|group| group.strip.is_empty() && group.copy.is_none());
        Ok(Again {
            passes: acting.is_empty() && is_whole && !unseen,
            tagged: groups.iter().any(|group| group.action == Action::Tag),
            acting,
            malware,
            unseen,
        })
    }
}

/// The message as it came, where that is known.
fn raw(keep: &Keep) -> Bytes {
    let head = if keep.original.is_empty() { &keep.parcel.head } else { &keep.original };
    [&head[..], &keep.parcel.body].concat().into()
}

fn envelope(held: &Held, now: crate::mail::Timestamp) -> Envelope {
    let ip = held.client_ip.parse().unwrap_or(std::net::IpAddr::from([127, 0, 0, 1]));
    let address = std::net::SocketAddr::new(ip, 0);
    let client = ClientFacts { address, local: address, role: Role::Mx, tls: None };
    let opening = Opening {
        id: held.meta.id,
        received_at: now,
        client,
        helo: String::new(),
        esmtp: true,
        sender: held.meta.sender.clone(),
        params: held.meta.params.clone(),
    };
    Envelope::of(Letter { opening, recipients: held.meta.recipients.clone() })
}
