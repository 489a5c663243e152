//! Message tracking: the lines of the log put together to one receipt a message, and questions to them.

use std::collections::{BTreeMap, VecDeque};

use super::chain::open;
use super::{Entry, Refusal};
use crate::mail::{MailId, Span};
use crate::verdict::Action;
use crate::verdict::receipt::Receipt;

/// What is asked; empty asks for everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    pub id: Option<MailId>,
    /// Part of the envelope sender, any case.
    pub sender: Option<String>,
    /// Part of any recipient, any case.
    pub recipient: Option<String>,
    pub action: Option<Action>,
    /// RFC 3339 or a beginning of it (`2026-11-21`): not before.
    pub since: Option<String>,
    /// Not after; `2026-11-21` takes in that whole day.
    pub until: Option<String>,
    /// Part of Message-ID.
    pub message_id: Option<String>,
    pub limit: Option<usize>,
}

/// A message, or a refusal before there was one.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Found {
    Message(Box<Receipt>),
    Refusal(Refusal),
}

impl Query {
    fn takes_time(&self, time: &str) -> bool {
        let cut = |bound: &str| time.get(..bound.len().min(time.len())).unwrap_or(time).to_owned();
        self.since.as_ref().is_none_or(|s| time >= s.as_str()) && self.until.as_ref().is_none_or(|u| cut(u) <= *u)
    }

    fn takes(&self, receipt: &Receipt) -> bool {
        let part = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|w| text.to_lowercase().contains(&w.to_lowercase()))
        };
        self.id.is_none_or(|id| id == receipt.id)
            && part(&self.sender, &receipt.sender)
            && part(&self.message_id, &receipt.message_id)
            && self.action.is_none_or(|a| receipt.groups.iter().any(|g| g.action == a))
            && (self.recipient.is_none() || receipt.recipients.iter().any(|r| part(&self.recipient, r)))
            && self.takes_time(&receipt.time)
    }

    fn takes_refusal(&self, refusal: &Refusal) -> bool {
        let part = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|w| text.to_lowercase().contains(&w.to_lowercase()))
        };
        self.id.is_none_or(|id| id == refusal.id)
            && part(&self.sender, &refusal.sender)
            && part(&self.recipient, &refusal.recipient)
            && self.action.is_none_or(|a| a == Action::Reject)
            && self.message_id.is_none()
            && self.takes_time(&refusal.time)
    }
}

impl Query {
    /// The first day whose file can hold an answer: `2026-11-21`, or "" for all.
    #[must_use]
    pub fn from_day(&self) -> String {
        // A clock may have been set back a little between the arrival of a message and its receipt.
        let of_id = self.id.map(|id| (id.time() - Span::days(1)).rfc3339());
        of_id.max(self.since.clone()).unwrap_or_default().chars().take("2026-11-21".len()).collect()
    }
}

/// Answers `query` over the lines of a log in their order; damaged ones are passed over (`luytre log verify` tells).
/// Holds at most twice as many messages as are wanted.
#[must_use]
pub fn search(lines: impl Iterator<Item = impl AsRef<str>>, query: &Query) -> Vec<Found> {
    let wanted = query.limit.unwrap_or(usize::MAX);
    let mut messages: BTreeMap<MailId, Receipt> = BTreeMap::new();
    let mut refusals: VecDeque<Refusal> = VecDeque::new();
    let id = query.id.map(|id| id.to_string());
    for line in lines {
        // Parsing is the cost: a line that cannot hold the id is not read.
        if id.as_ref().is_some_and(|id| !line.as_ref().contains(id.as_str())) {
            continue;
        }
        let Ok(line) = open(line.as_ref()) else { continue };
        match line.entry {
            Entry::Receipt(receipt) if query.takes(&receipt) => {
                messages.insert(receipt.id, *receipt);
                // Ids begin with the time: the first is the oldest, and the newest are wanted.
                if messages.len() > wanted {
                    messages.pop_first();
                }
            }
            Entry::Outcome(update) => {
                if let Some(receipt) = messages.get_mut(&update.id) {
                    receipt.outcome.push(update.outcome);
                }
            }
            Entry::Refused(refusal) if query.takes_refusal(&refusal) => {
                refusals.push_back(refusal);
                if refusals.len() > wanted {
                    refusals.pop_front();
                }
            }
            _ => {}
        }
    }
    let mut found: Vec<Found> = messages.into_values().map(|r| Found::Message(Box::new(r))).collect();
    found.extend(refusals.into_iter().map(Found::Refusal));
    found.sort_by(|a, b| a.time().cmp(b.time()));
    let extra = found.len().saturating_sub(wanted);
    found.drain(..extra);
    found
}

impl Found {
    #[must_use]
    pub fn time(&self) -> &str {
        match self {
            Self::Message(receipt) => &receipt.time,
            Self::Refusal(refusal) => &refusal.time,
        }
    }
}
