//! The receipt log: append-only JSON lines with a hash chain, one file a day (`receipts/2026-11-21.jsonl`).
//!
//! Each line is `{"n":…,"prev":"…","at":"…","kind":"…","data":{…},"hash":"…"}`: its number, the hash of the line
//! before, when, what, and SHA-256 over all that. Whoever changes, drops or swaps a line breaks the chain from there
//! on ([`chain::verify`]). A message's receipt is one line; what becomes of it later are further lines with its id.
//! Writing never stops mail: lines wait in a bounded queue, and a counter tells of those that found it full
//! ([`run::Log`]).

pub mod chain;
pub mod run;
pub mod search;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::mail::MailId;
use crate::verdict::receipt::{Outcome, Receipt};

pub use run::Log;

/// What a line tells.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "kebab-case")]
pub enum Entry {
    /// A message was judged.
    Receipt(Box<Receipt>),
    /// What became of it.
    Outcome(Update),
    /// A refusal before there was a message.
    Refused(Refusal),
    /// What an officer or the gateway itself did: with held mail, with the emergency bypass, with keys.
    Act(Act),
    /// Something about the log itself: a start, lines that were lost, a torn line that was set aside.
    Note(Note),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Update {
    pub id: MailId,
    pub outcome: Outcome,
}

/// A refusal at RCPT TO or before: it has an id too (DESIGN §5a).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub id: MailId,
    pub time: String,
    pub client: String,
    pub helo: String,
    pub sender: String,
    pub recipient: String,
    pub reply: String,
}

/// Who did what to which thing, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Act {
    /// Dotted and stable: `quarantine.shown`, `bypass.on`.
    pub what: String,
    pub about: String,
    pub by: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    pub text: String,
}

impl Entry {
    /// The message it speaks of.
    #[must_use]
    pub fn id(&self) -> Option<MailId> {
        match self {
            Self::Receipt(receipt) => Some(receipt.id),
            Self::Outcome(update) => Some(update.id),
            Self::Refused(refusal) => Some(refusal.id),
            Self::Note(_) | Self::Act(_) => None,
        }
    }
}
