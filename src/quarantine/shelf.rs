//! What is held, why, until when, who may release it: pure decisions over entries.

use serde::{Deserialize, Serialize};

use super::file::{Entry, Release};
use super::{Held, Kind};
use crate::mail::{AgencyId, Parcel, Timestamp};

/// Which held messages to list. Everything that is set must fit; texts are found anywhere and without regard to case.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    pub agency: Option<AgencyId>,
    pub kind: Option<Kind>,
    /// Held at or after.
    pub since: Option<Timestamp>,
    /// Part of the envelope sender or of the From field.
    pub sender: Option<String>,
    /// Part of a recipient's address.
    pub recipient: Option<String>,
    /// Part of the subject.
    pub subject: Option<String>,
    /// Also what was released already.
    pub released: bool,
    /// At most so many, the newest first; 0 means [`MOST_LISTED`].
    pub limit: usize,
}

/// The longest list that is made.
pub const MOST_LISTED: usize = 1000;

impl Filter {
    #[must_use]
    pub fn limit(&self) -> usize {
        if self.limit == 0 { MOST_LISTED } else { self.limit.min(MOST_LISTED) }
    }

    #[must_use]
    pub fn fits(&self, entry: &Entry) -> bool {
        let held = &entry.held;
        let part = |wanted: &Option<String>, texts: &dyn Fn() -> String| {
            wanted.as_ref().is_none_or(|wanted| texts().contains(&folded(wanted)))
        };
        self.agency.as_ref().is_none_or(|agency| agency == held.meta.destination.agency())
            && self.kind.is_none_or(|kind| kind == held.kind)
            && self.since.is_none_or(|since| held.held_at >= since)
            && (self.released || entry.released.is_none())
            && part(&self.sender, &|| sender_text(held))
            && part(&self.recipient, &|| recipient_text(held))
            && part(&self.subject, &|| folded(&held.meta.subject))
    }
}

/// As texts are compared.
#[must_use]
pub fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// What `--sender` looks at.
#[must_use]
pub fn sender_text(held: &Held) -> String {
    folded(&format!("{}\n{}", held.meta.sender, held.from))
}

/// What `--recipient` looks at.
#[must_use]
pub fn recipient_text(held: &Held) -> String {
    let all: Vec<String> = held.meta.recipients.iter().map(|recipient| recipient.mailbox.to_string()).collect();
    folded(&all.join("\n"))
}

impl Kind {
    /// The word in lists and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::Spam => "spam",
            Self::Phish => "phish",
            Self::Policy => "policy",
            Self::Unscannable => "unscannable",
            Self::Undeliverable => "undeliverable",
        }
    }
    pub const ALL: [Self; 6] =
        [Self::Malware, Self::Spam, Self::Phish, Self::Policy, Self::Unscannable, Self::Undeliverable];
}

/// The parcel as it leaves the quarantine. Not a byte of what was held changes, so signatures still verify; one trace
/// field stands before it. The five days of delivery count from now.
#[must_use]
pub fn released_parcel(mut parcel: Parcel, key: &str, now: Timestamp) -> Parcel {
    let mut head = format!("X-Luytre-Released: {}; id={key}\r\n", now.rfc3339()).into_bytes();
    head.extend_from_slice(&parcel.head);
    parcel.head = head.into();
    parcel.meta.received_at = now;
    parcel
}

/// Whether a message may be released now; otherwise who did it before.
pub fn may_release(entry: &Entry) -> Result<(), Release> {
    entry.released.clone().map_or(Ok(()), Err)
}
