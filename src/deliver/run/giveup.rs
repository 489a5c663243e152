//! When a recipient will not get its copy: a report to a sender that was vouched for, else the copy is held.
//! No backscatter: a sender that nobody vouched for gets nothing (THREATS S-30); a report that cannot be delivered
//! is held, never reported. A report that leaves for the Internet is signed with the agency's DKIM key where there is one.

use super::Deliver;
use super::host::Host;
use crate::deliver::bounce::{self, Item, Kind, Report};
use crate::deliver::route::{Hop, Policy};
use crate::deliver::seal;
use crate::mail::{Destination, Mailbox, Parcel, Reply};
use crate::spool::SpoolError;

/// One recipient of a message, and why it has no copy.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Index into the parcel's recipients.
    pub recipient: usize,
    /// RFC 3463.
    status: String,
    /// What the hop answered, or what we met; one sentence.
    pub said: String,
    is_reply: bool,
}

impl Failure {
    pub fn refused(recipient: usize, reply: &Reply) -> Self {
        let status = match reply.enhanced() {
            "" => "5.0.0".to_owned(),
            given => given.to_owned(),
        };
        Self { recipient, status, said: reply.to_string(), is_reply: true }
    }
    pub fn expired(recipient: usize, why: String) -> Self {
        // RFC 3463 §3.5, X.4.7: delivery time expired.
        Self { recipient, status: "5.4.7".to_owned(), said: why, is_reply: false }
    }
    pub fn delayed(recipient: usize, why: String) -> Self {
        Self { recipient, status: "4.4.7".to_owned(), said: why, is_reply: false }
    }
    /// Not a failure: it was passed on.
    fn relayed(recipient: usize) -> Self {
        Self { recipient, status: "2.0.0".to_owned(), said: String::new(), is_reply: false }
    }
}

/// The same message for some of its recipients.
pub(super) fn only(parcel: &Parcel, members: &[usize]) -> Parcel {
    let mut part = parcel.clone();
    part.meta.recipients = members.iter().filter_map(|i| parcel.meta.recipients.get(*i)).cloned().collect();
    part
}

impl Deliver {
    /// Returns when every failure is either reported (its report is in the spool) or held.
    pub(super) async fn give_up(
        &self,
        parcel: &Parcel,
        failures: &[Failure],
        policy: &Policy,
    ) -> Result<(), SpoolError> {
        if failures.is_empty() {
            return Ok(());
        }
        let sender = reportable(parcel);
        let (told, silent): (Vec<&Failure>, Vec<&Failure>) = failures.iter().partition(|f| {
            let wanted = parcel.meta.recipients.get(f.recipient).is_some_and(|r| r.notify.failure);
            sender.is_some() && wanted
        });
        if !silent.is_empty() {
            let members: Vec<usize> = silent.iter().map(|f| f.recipient).collect();
            let because = silent.first().map_or("", |f| f.said.as_str());
            let held = self.parts.undeliverable.hold(&only(parcel, &members), because).await;
            held.map_err(|error| SpoolError::Disk(std::io::Error::other(error)))?;
            let (id, of) = (parcel.meta.id, members.len());
            tracing::info!(%id, of, because, "held: its sender cannot be told");
            self.parts.metrics.report("held");
        }
        if let Some(sender) = sender.filter(|_| !told.is_empty()) {
            self.report(Kind::Failed, sender, parcel, &told, policy).await?;
            self.parts.metrics.report("bounced");
        }
        Ok(())
    }

    /// Tells the sender that its message waits; false when that is still to be done.
    pub(super) async fn warn(&self, parcel: &Parcel, waiting: &[Failure], policy: &Policy) -> bool {
        let Some(sender) = reportable(parcel) else { return true };
        let recipients = &parcel.meta.recipients;
        let told = waiting.iter().filter(|f| recipients.get(f.recipient).is_some_and(|r| r.notify.delay));
        let told: Vec<&Failure> = told.collect();
        if told.is_empty() {
            return true;
        }
        match self.report(Kind::Delayed, sender, parcel, &told, policy).await {
            Ok(()) => {
                self.parts.metrics.report("delayed");
                true
            }
            Err(error) => {
                tracing::warn!(id = %parcel.meta.id, %error, "a delay could not be reported");
                false
            }
        }
    }

    /// Whether this server reports to senders by itself: then what they asked for (NOTIFY) went to it with the message.
    pub(super) fn reports_itself(&self, hop: &Hop, host: &Host) -> bool {
        hop.traits().dsn && host.abilities().is_some_and(|can| can.dsn)
    }

    /// Tells a sender that asked for it (NOTIFY=SUCCESS) that its message was passed on to a server from which it will
    /// hear nothing (RFC 3461 §5.2.2). The message is gone, so trouble here is only written down.
    pub(super) async fn tell_success(&self, parcel: &Parcel, relayed: &[usize], policy: &Policy) {
        let Some(sender) = reportable(parcel) else { return };
        let wanted = |i: &&usize| parcel.meta.recipients.get(**i).is_some_and(|r| r.notify.success);
        let told: Vec<Failure> = relayed.iter().filter(wanted).map(|i| Failure::relayed(*i)).collect();
        if told.is_empty() {
            return;
        }
        match self.report(Kind::Relayed, sender, parcel, &told.iter().collect::<Vec<_>>(), policy).await {
            Ok(()) => self.parts.metrics.report("relayed"),
            Err(error) => tracing::warn!(id = %parcel.meta.id, %error, "a success could not be reported"),
        }
    }

    async fn report(
        &self,
        kind: Kind,
        sender: &Mailbox,
        parcel: &Parcel,
        failures: &[&Failure],
        policy: &Policy,
    ) -> Result<(), SpoolError> {
        let now = self.parts.clock.now();
        let recipients = &parcel.meta.recipients;
        let destination = policy.destination_of(sender.domain(), parcel.meta.destination.agency());
        let outward = matches!(destination, Destination::Outward(_));
        // What we met on the way inside is not for strangers.
        let inside = outward && matches!(parcel.meta.destination, Destination::Agency(_));
        let items: Vec<Item<'_>> = failures
            .iter()
            .filter_map(|f| {
                let recipient = recipients.get(f.recipient)?;
                let said = if inside && !f.is_reply { "" } else { f.said.as_str() };
                Some(Item { recipient, status: &f.status, said, is_reply: f.is_reply })
            })
            .collect();
        let keys = if outward { policy.seals(destination.agency()) } else { None };
        let signer = keys.and_then(|keys| keys.signing_domain()).map(|domain| format!("postmaster@{domain}"));
        let report = Report {
            kind,
            id: self.parts.dice.mail_id(now),
            now,
            hostname: &policy.hostname,
            from: &signer.clone().unwrap_or_else(|| format!("mailer-daemon@{}", policy.hostname)),
            language: policy.language,
            original: parcel,
            sender,
            destination,
            items: &items,
            until: parcel.meta.received_at + policy.settings.give_up,
        };
        let mut parcel = bounce::build(&report);
        if let (Some(keys), true) = (keys, signer.is_some()) {
            match seal::report(&parcel, keys, now) {
                Ok(head) => parcel.head = head,
                // Unsigned is better than untold.
                Err(error) => tracing::error!(%error, "a report leaves without a signature"),
            }
        }
        self.parts.spool.accept(&parcel, now).await.map(|_| ())
    }
}

/// Who may be told: a sender that is not `<>`, and that SPF or DKIM vouched for or that wrote from an agency's
/// own network.
fn reportable(parcel: &Parcel) -> Option<&Mailbox> {
    let meta = &parcel.meta;
    let known = meta.sender_authenticated || matches!(meta.destination, Destination::Outward(_));
    meta.sender.mailbox().filter(|_| known)
}
