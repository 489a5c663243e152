//! 6. Findings to a decision: pure arithmetic.

pub mod decide;
pub mod receipt;
pub mod score;
pub mod settings;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::inspect::Case;
use crate::mail::Destination;

pub use crate::inspect::rules::Mode;
pub use decide::judge;
pub use receipt::Receipt;

/// What happens to one group of recipients, from mildest to strictest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Deliver,
    Tag,
    Quarantine,
    Defer,
    Reject,
}

impl Action {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Tag => "tag",
            Self::Quarantine => "quarantine",
            Self::Defer => "defer",
            Self::Reject => "reject",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A finding with its weight: one line of "why".
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Weighed {
    pub code: String,
    pub score: f64,
    pub mode: Mode,
    pub detail: String,
    /// `rules/spam/vn.toml:12` for a rule; empty for a built-in weight.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub source: String,
}

/// The decision for one group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Group {
    pub destination: Destination,
    /// Indices into the envelope's recipients.
    pub recipients: Vec<usize>,
    pub action: Action,
    pub score: f64,
    pub weighed: Vec<Weighed>,
    /// The codes that caused the action, most important first.
    pub because: Vec<String>,
    /// With `observe`: what would have been done.
    pub would: Option<Action>,
    /// The recipients get a copy that was written anew, not the octets that came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub copy: Option<Copied>,
}

/// A copy that an inspector made beside the facts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Copied {
    /// The same content in the one form that every client reads alike.
    Canonical,
}

impl Copied {
    /// The path of its octets among what left the cage, and the word in X-Luytre-Rewritten.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
        }
    }
}

/// A message with its decision. `deliver` takes nothing else, so mail that skipped inspection does not compile.
#[derive(Clone, Debug)]
pub struct Judged {
    case: Case,
    groups: Vec<Group>,
    policy_hash: String,
}

impl Judged {
    #[must_use]
    pub const fn case(&self) -> &Case {
        &self.case
    }
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
    /// The octets that a group's recipients get.
    #[must_use]
    pub fn octets(&self, group: &Group) -> Bytes {
        let original = || self.case.mail().raw().clone();
        let Some(copy) = group.copy else { return original() };
        self.case.released().message(copy.as_str()).unwrap_or_else(original)
    }
    /// Of the policy that decided: hex, as in the receipt.
    #[must_use]
    pub fn policy_hash(&self) -> &str {
        &self.policy_hash
    }
    /// Over all groups (`scan --json` prints it).
    #[must_use]
    pub fn strictest(&self) -> Action {
        self.groups.iter().map(|g| g.action).max().unwrap_or(Action::Defer)
    }
}
