//! 8a. Held mail: sealed and synced before 250, described by itself; SQL is only an index over it.
//!
//! `file` and `sealed` are the two formats, `open` reads either, `store` is the folder; `shelf` decides, `run` acts.
//! Nothing that names a person or a subject stands on the disk in clear (DOMAIN R38).

pub mod file;
pub mod metrics;
mod open;
pub mod run;
mod sealed;
pub mod settings;
pub mod shelf;
pub mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::inspect::AuthFacts;
use crate::mail::{ParcelMeta, Timestamp};

pub use file::{Deed, Entry, HeldKey, What};
pub use run::Shelf;
pub use shelf::{Cursor, Filter, Order, Page};

/// Why a message is held, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Malware,
    Spam,
    Phish,
    Policy,
    Unscannable,
    Undeliverable,
}

/// What is known of a held message; stored beside its bytes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Held {
    pub meta: ParcelMeta,
    pub kind: Kind,
    /// Codes of the findings that caused it, most important first.
    pub because: Vec<String>,
    pub score: f64,
    pub held_at: Timestamp,
    pub expires_at: Timestamp,
    pub size_bytes: u64,
    pub from: String,
    pub client_ip: String,
    #[serde(default)]
    pub helo: String,
    /// What was found out about its sender when it came: for a second look, which cannot find it out again.
    #[serde(default)]
    pub auth: AuthFacts,
    /// Every finding it had, whatever it was worth; a second look is compared with these.
    #[serde(default)]
    pub codes: Vec<String>,
    /// SHA-256 of the message as it came, hex; empty where only the copy to be sent is known.
    #[serde(default)]
    pub sha256: String,
}
