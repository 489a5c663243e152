//! When a recipient will not get its copy: a report to a sender that was vouched for, else the copy is held.
//! No backscatter: a sender that nobody vouched for gets nothing (THREATS S-30); a report that cannot be delivered
//! is held, never reported.

use super::Deliver;
use crate::deliver::bounce::{self, Item, Kind, Report};
use crate::deliver::route::Policy;
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
            self.parts.metrics.report("held");
        }
        if let Some(sender) = sender.filter(|_| !told.is_empty()) {
            self.report(Kind::Failed, sender, parcel, &told, policy).await?;
            self.parts.metrics.report("bounced");
        }
        Ok(())
    }

    /// Tells the sender that its message waits; false when that could not be done, or need not be.
    pub(super) async fn warn(&self, parcel: &Parcel, waiting: &[Failure], policy: &Policy) -> bool {
        let Some(sender) = reportable(parcel) else { return false };
        let recipients = &parcel.meta.recipients;
        let told = waiting.iter().filter(|f| recipients.get(f.recipient).is_some_and(|r| r.notify.delay));
        let told: Vec<&Failure> = told.collect();
        if told.is_empty() {
            return false;
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
        let items: Vec<Item<'_>> = failures
            .iter()
            .filter_map(|f| {
                let recipient = recipients.get(f.recipient)?;
                Some(Item { recipient, status: &f.status, said: &f.said, is_reply: f.is_reply })
            })
            .collect();
        let report = Report {
            kind,
            id: self.parts.dice.mail_id(now),
            now,
            hostname: &policy.hostname,
            language: policy.language,
            original: parcel,
            sender,
            destination: policy.destination_of(sender.domain(), parcel.meta.destination.agency()),
            items: &items,
            until: parcel.meta.received_at + policy.settings.give_up,
        };
        self.parts.spool.accept(&bounce::build(&report), now).await.map(|_| ())
    }
}

/// Who may be told: a sender that is not `<>`, and that SPF or DKIM vouched for or that wrote from an agency's
/// own network.
fn reportable(parcel: &Parcel) -> Option<&Mailbox> {
    let meta = &parcel.meta;
    let known = meta.sender_authenticated || matches!(meta.destination, Destination::Outward(_));
    meta.sender.mailbox().filter(|_| known)
}
