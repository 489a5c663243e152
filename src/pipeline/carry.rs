//! Doing what was decided, group by group: hand over, keep, hold or refuse; and the one reply that follows.

use std::sync::Arc;

use bytes::Bytes;

use super::Pipeline;
use crate::deliver::seal::{self, Inward, Note, Outward, Sealed};
use crate::deliver::settings::Profile;
use crate::deliver::{Handover, Live};
use crate::mail::{Destination, Language, Parcel, ParcelMeta, Recipient, Reply, Span, Timestamp};
use crate::policy::Policy;
use crate::quarantine::{Held, HeldKey, Kind};
use crate::verdict::{Action, Group, Judged, receipt};

/// What became of one group of recipients.
#[derive(Debug)]
pub(super) enum Done {
    /// The next hop has it; its name and what it said.
    Handed {
        hop: String,
        reply: Reply,
    },
    /// In the spool; why, when it was meant to go straight on.
    Spooled {
        why: String,
    },
    Held {
        key: HeldKey,
    },
    /// On the shelf, for delivery found nobody whom it may reach; why.
    Stray {
        why: String,
    },
    /// Not taken, by policy: the sender keeps it.
    Refused,
    /// The next hop said no, and this is its answer.
    HopRefused {
        hop: String,
        reply: Reply,
    },
    /// Our own trouble: the sender keeps it and tries again.
    Trouble {
        reply: Reply,
        why: String,
    },
}

impl Done {
    /// The word in the receipt.
    const fn state(&self) -> &'static str {
        match self {
            Self::Handed { .. } => "delivered",
            Self::Spooled { .. } => "spooled",
            Self::Held { .. } | Self::Stray { .. } => "quarantined",
            Self::Refused | Self::HopRefused { .. } => "refused",
            Self::Trouble { .. } => "deferred",
        }
    }

    fn clause(&self) -> String {
        match self {
            Self::Handed { hop, reply } => format!("handed to {hop}: {reply}"),
            Self::Spooled { why } if why.is_empty() => "queued".to_owned(),
            Self::Spooled { why } => format!("queued: {why}"),
            Self::Held { key } => format!("held in quarantine as {key}"),
            Self::Stray { why } => format!("held in quarantine: {why}"),
            Self::Refused => "refused".to_owned(),
            Self::HopRefused { hop, reply } => format!("{hop} refused: {reply}"),
            Self::Trouble { why, .. } => format!("not taken, trouble here: {why}"),
        }
    }
}

/// One group's copy: what became of it, and what its seal left undone.
#[derive(Debug)]
struct Carried {
    done: Done,
    notes: Vec<Note>,
}

impl From<Done> for Carried {
    fn from(done: Done) -> Self {
        Self { done, notes: Vec::new() }
    }
}

/// What became of the whole message: the groups that were reached, in order.
#[derive(Debug)]
pub(super) struct Outcome(Vec<Carried>);

impl Pipeline {
    pub(super) async fn carry_out(&self, judged: &Judged, live: Live, policy: &Arc<Policy>) -> Outcome {
        // A refusal is the whole message's: where one group is refused and another not, `judge` made it a hold.
        if matches!(judged.strictest(), Action::Reject | Action::Defer) {
            return Outcome(judged.groups().iter().map(|_| Done::Refused.into()).collect());
        }
        // Cut-through is possible for a message that stays whole; a transaction opened for anything else is given up.
        let mut live = (judged.groups().len() == 1).then_some(live);
        let mut carried = Vec::with_capacity(judged.groups().len());
        for group in judged.groups() {
            let one = self.carry_group(judged, group, live.take(), policy).await;
            let failed = matches!(one.done, Done::Trouble { .. });
            carried.push(one);
            if failed {
                // The sender will send all of it again; what is safe already arrives twice, which is better than never.
                break;
            }
        }
        Outcome(carried)
    }

    /// `live`: the message is handed over while its sender waits.
    async fn carry_group(&self, judged: &Judged, group: &Group, live: Option<Live>, policy: &Arc<Policy>) -> Carried {
        if group.strip.is_empty() {
            return self.carry_octets(judged, judged.octets(group), group, live, policy).await;
        }
        let (mail, mut instead) = (judged.case().mail(), group.clone());
        (instead.action, instead.strip, instead.copy) = (Action::Quarantine, Vec::new(), None);
        match self.parts.examiner.strip(mail, policy, &group.strip).await {
            Ok(raw) => {
                // The original is safe before anything else of the message is let go.
                let held = self.carry_octets(judged, mail.raw().clone(), &instead, None, policy).await;
                if !matches!(held.done, Done::Held { .. }) {
                    return held;
                }
                self.carry_octets(judged, raw, group, live, policy).await
            }
            Err(why) => {
                tracing::info!(id = %mail.envelope().id(), why, "parts could not be taken out; the message is held");
                self.carry_octets(judged, mail.raw().clone(), &instead, None, policy).await
            }
        }
    }

    async fn carry_octets(
        &self,
        judged: &Judged,
        raw: Bytes,
        group: &Group,
        live: Option<Live>,
        policy: &Arc<Policy>,
    ) -> Carried {
        let sealed = match self.seal(judged, raw, group, policy).await {
            Ok(sealed) => sealed,
            Err(why) => {
                tracing::error!(id = %judged.case().mail().envelope().id(), why, "a message could not be signed");
                let reply = Reply::new(451, "4.7.0", "Temporary trouble here, please try again later");
                return Done::Trouble { reply, why }.into();
            }
        };
        let parcel = Parcel { meta: meta(judged, group), head: sealed.head, body: sealed.body };
        let done = if group.action == Action::Quarantine {
            self.hold(judged, group, &parcel, policy).await
        } else {
            self.send_on(&parcel, live, policy).await
        };
        Carried { done, notes: sealed.notes }
    }

    /// To the next hop while the sender waits, where this is the only copy; else into the queue.
    async fn send_on(&self, parcel: &Parcel, live: Option<Live>, policy: &Policy) -> Done {
        match self.parts.deliver.send(parcel, live, &policy.compiled.deliver).await {
            Handover::Handed { reply, hop, .. } => Done::Handed { hop, reply },
            Handover::Spooled { why, .. } => Done::Spooled { why },
            Handover::InDoubt { hop, .. } => Done::Spooled { why: format!("{hop} has not answered yet") },
            Handover::Held { why } => Done::Stray { why },
            Handover::Refused { reply, hop } => Done::HopRefused { hop, reply },
            Handover::Deferred { reply, why } => Done::Trouble { reply, why },
        }
    }

    async fn seal(&self, judged: &Judged, raw: Bytes, group: &Group, policy: &Arc<Policy>) -> Result<Sealed, String> {
        let case = judged.case();
        let hostname = policy.hostname.as_str();
        if let Destination::Agency(id) = &group.destination {
            let profile =
                policy.agency(id).and_then(|a| a.next_hops.first()).map_or(Profile::Generic, |hop| hop.profile);
            let facts = Inward {
                hostname,
                envelope: case.mail().envelope(),
                auth: case.auth(),
                smime: &case.content().smime,
                group,
                profile,
            };
            return Ok(seal::inward(&raw, &facts));
        }
        // Signing is work for the signers' threads: RSA takes longer than everything else of a message.
        let (policy, agency) = (Arc::clone(policy), group.destination.agency().clone());
        let (mail, from, now) = (case.mail().clone(), case.auth().from.clone(), self.parts.clock.now());
        let job = move || {
            let keys = policy.compiled.seals(&agency);
            let facts = Outward {
                hostname: policy.hostname.as_str(),
                envelope: mail.envelope(),
                from: from.as_ref(),
                keys,
                now,
            };
            seal::outward(&raw, &facts).map_err(|e| e.to_string())
        };
        self.parts.signers.run(Span::seconds(10), job).await.map_err(|e| e.to_string())?
    }

    async fn hold(&self, judged: &Judged, group: &Group, parcel: &Parcel, policy: &Policy) -> Done {
        let now = self.parts.clock.now();
        let envelope = judged.case().mail().envelope();
        let held = Held {
            meta: parcel.meta.clone(),
            kind: kind(group),
            because: group.because.clone(),
            score: group.score,
            held_at: now,
            expires_at: now + policy.quarantine.keep,
            size_bytes: parcel.size_bytes(),
            from: judged.case().auth().from.as_ref().map(ToString::to_string).unwrap_or_default(),
            client_ip: envelope.client().address.ip().to_string(),
            helo: envelope.helo().to_owned(),
            auth: judged.case().auth().clone(),
            codes: codes(group),
            sha256: String::new(),
        };
        match self.parts.shelf.hold_original(parcel, held, judged.case().mail().raw()).await {
            Ok(shelved) => Done::Held { key: shelved.key() },
            Err(error) => {
                tracing::error!(id = %envelope.id(), %error, "the quarantine could not keep a message");
                Done::Trouble { reply: error.reply(), why: error.to_string() }
            }
        }
    }
}

fn meta(judged: &Judged, group: &Group) -> ParcelMeta {
    let case = judged.case();
    let envelope = case.mail().envelope();
    let of_group = |i: &usize| -> Option<Recipient> { envelope.recipients().get(*i).cloned() };
    ParcelMeta {
        id: envelope.id(),
        received_at: envelope.received_at(),
        sender: envelope.sender().clone(),
        recipients: group.recipients.iter().filter_map(of_group).collect(),
        destination: group.destination.clone(),
        params: envelope.params().clone(),
        // A relay client was admitted by its address and its sender by its domain: it may hear of failures.
        sender_authenticated: envelope.client().role == crate::listen::Role::Relay
            || case.auth().vouches_for(envelope.sender()),
        subject: case.content().subject.chars().take(200).collect(),
    }
}

/// Every finding, whatever it was worth: a second look before a release is compared with these.
fn codes(group: &Group) -> Vec<String> {
    group.weighed.iter().map(|line| line.code.clone()).take(200).collect()
}

fn kind(group: &Group) -> Kind {
    let because = |prefix: &str| group.because.iter().any(|code| code.starts_with(prefix));
    if because("malware.") {
        Kind::Malware
    } else if because("dmarc.") || because("from.") {
        Kind::Phish
    } else if ["archive.", "unpack.", "mime.", "inspect.", "smime.", "engine.", "office.encrypted", "pdf.encrypted"]
        .into_iter()
        .any(because)
    {
        Kind::Unscannable
    } else if because("attachment.") || because("yara.") || because("policy.") {
        Kind::Policy
    } else {
        Kind::Spam
    }
}

impl Outcome {
    /// The final reply. It carries the receipt id, whatever it says.
    pub(super) fn reply(&self, judged: &Judged, language: Language) -> Reply {
        let id = judged.case().mail().envelope().id();
        for carried in &self.0 {
            match &carried.done {
                Done::Refused => return judged.refusal(language),
                Done::Trouble { reply, .. } => return reply.clone().line(format!("[{id}]")),
                Done::HopRefused { reply, .. } => {
                    return Reply::new(reply.code(), reply.enhanced().to_owned(), format!("{} [{id}]", reply.text()));
                }
                Done::Handed { .. } | Done::Spooled { .. } | Done::Held { .. } | Done::Stray { .. } => {}
            }
        }
        Reply::new(250, "2.0.0", format!("Accepted / Da nhan [{id}]"))
    }

    /// For the receipt: one outcome a group that was reached.
    pub(super) fn records(&self, judged: &Judged, reply: &Reply, at: Timestamp) -> Vec<receipt::Outcome> {
        let envelope = judged.case().mail().envelope();
        let name = |i: &usize| envelope.recipients().get(*i).map(|r| r.mailbox.to_string());
        let one = |(carried, group): (&Carried, &Group)| {
            let recipients = group.recipients.iter().filter_map(name).collect();
            let detail = match &carried.done {
                Done::Refused => reply.to_string(),
                other => other.clause(),
            };
            let notes = carried.notes.iter().map(|note| note.as_str().to_owned()).collect();
            receipt::Outcome::new(at, carried.done.state(), recipients, detail).with_notes(notes)
        };
        self.0.iter().zip(judged.groups()).map(one).collect()
    }

    /// What the seals left undone, over all groups.
    pub(super) fn notes(&self) -> impl Iterator<Item = Note> {
        self.0.iter().flat_map(|carried| carried.notes.iter().copied())
    }

    /// For the log: one clause a group.
    pub(super) fn summary(&self) -> String {
        self.0.iter().map(|carried| carried.done.clause()).collect::<Vec<_>>().join("; ")
    }
}
