//! 3. May this sender write to these recipients.

pub mod alias;
pub mod known;
pub mod list;
pub mod metrics;
pub mod relay;
pub mod run;
pub mod settings;

use crate::listen::ClientFacts;
use crate::mail::{Destination, MailId, MailParams, Recipient, ReversePath, Timestamp};
use crate::session::desk::Letter;

/// Sender and recipients that were allowed under the policy pinned for this message.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    id: MailId,
    received_at: Timestamp,
    client: ClientFacts,
    helo: String,
    esmtp: bool,
    sender: ReversePath,
    params: MailParams,
    recipients: Vec<Recipient>,
}

impl Envelope {
    /// Called when DATA or BDAT begins, with what the relay decision allowed.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "one maker, each argument a different type")]
    pub const fn open(
        id: MailId,
        received_at: Timestamp,
        client: ClientFacts,
        helo: String,
        esmtp: bool,
        sender: ReversePath,
        params: MailParams,
        recipients: Vec<Recipient>,
    ) -> Self {
        Self { id, received_at, client, helo, esmtp, sender, params, recipients }
    }
    /// From what the session gathered.
    #[must_use]
    pub fn of(letter: Letter) -> Self {
        let Letter { opening: o, recipients } = letter;
        Self::open(o.id, o.received_at, o.client, o.helo, o.esmtp, o.sender, o.params, recipients)
    }
    #[must_use]
    pub const fn id(&self) -> MailId {
        self.id
    }
    #[must_use]
    pub const fn received_at(&self) -> Timestamp {
        self.received_at
    }
    #[must_use]
    pub const fn client(&self) -> &ClientFacts {
        &self.client
    }
    /// The name the client gave; grammar was checked, nothing else.
    #[must_use]
    pub fn helo(&self) -> &str {
        &self.helo
    }
    #[must_use]
    pub const fn is_esmtp(&self) -> bool {
        self.esmtp
    }
    #[must_use]
    pub const fn sender(&self) -> &ReversePath {
        &self.sender
    }
    #[must_use]
    pub const fn params(&self) -> &MailParams {
        &self.params
    }
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }
    /// The destinations in order of first appearance, each with the indices of its recipients.
    #[must_use]
    pub fn groups(&self) -> Vec<(Destination, Vec<usize>)> {
        let mut groups: Vec<(Destination, Vec<usize>)> = Vec::new();
        for (i, recipient) in self.recipients.iter().enumerate() {
            match groups.iter_mut().find(|(destination, _)| *destination == recipient.destination) {
                Some((_, members)) => members.push(i),
                None => groups.push((recipient.destination.clone(), vec![i])),
            }
        }
        groups
    }
}
