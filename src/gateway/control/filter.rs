//! Which messages of the queue are meant.

use serde::{Deserialize, Serialize};

use crate::mail::{AgencyId, MailId, Timestamp};
use crate::spool::sieve::Sieve;
use crate::spool::{Job, JobKey};

/// How far a message has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// By an operator.
    Held,
    /// Tried already, and put off.
    Deferred,
    /// Not tried yet.
    New,
}

impl State {
    pub const ALL: [Self; 3] = [Self::Held, Self::Deferred, Self::New];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Deferred => "deferred",
            Self::New => "new",
        }
    }

    const fn of(job: &Job) -> Self {
        match (job.held, job.tries) {
            (true, _) => Self::Held,
            (false, 0) => Self::New,
            (false, _) => Self::Deferred,
        }
    }
}

/// Everything that is set must fit; texts are found anywhere and without regard to case.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueFilter {
    /// This message, all its parcels.
    pub id: Option<MailId>,
    /// This parcel.
    pub key: Option<JobKey>,
    pub agency: Option<AgencyId>,
    /// Part of the address of a recipient who still waits.
    pub to: Option<String>,
    /// Part of the sender's address; `<>` is the null sender, of reports.
    pub from: Option<String>,
    /// The domain of a recipient who still waits, or a host that the last answer names.
    pub host: Option<String>,
    /// Taken before this moment.
    pub before: Option<Timestamp>,
    pub state: Option<State>,
}

impl QueueFilter {
    /// Whether nothing is set: all messages are meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What of it can be told without reading a message.
    #[must_use]
    pub fn sieve(&self) -> Sieve {
        let held = self.state.map(|state| state == State::Held);
        Sieve { agency: self.agency.clone(), before: self.before, held }
    }

    #[must_use]
    pub fn fits(&self, job: &Job) -> bool {
        let lower = |text: &str| text.to_lowercase();
        let to = |wanted: &String| job.pending.iter().any(|p| lower(&p.mailbox.to_string()).contains(&lower(wanted)));
        let from = |wanted: &String| match job.meta.sender.mailbox() {
            None => wanted == "<>",
            Some(mailbox) => lower(&mailbox.to_string()).contains(&lower(wanted)),
        };
        let host = |wanted: &String| {
            let wanted = lower(wanted);
            job.pending.iter().any(|p| p.mailbox.domain().as_str() == wanted || lower(&p.last).contains(&wanted))
        };
        self.id.is_none_or(|id| id == job.meta.id)
            && self.key.is_none_or(|key| key == job.key)
            && self.agency.as_ref().is_none_or(|agency| agency == job.meta.destination.agency())
            && self.to.as_ref().is_none_or(to)
            && self.from.as_ref().is_none_or(from)
            && self.state.is_none_or(|state| state == State::of(job))
            && self.host.as_ref().is_none_or(host)
            && self.before.is_none_or(|before| job.meta.received_at < before)
    }
}
