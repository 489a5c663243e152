//! 8a. Held mail: stored and synced before 250, described by itself; SQL is only an index over it.

pub mod file;
pub mod metrics;
pub mod run;
pub mod settings;
pub mod shelf;
mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::mail::{ParcelMeta, Timestamp};

pub use file::{Entry, HeldKey, Release};
pub use run::Shelf;
pub use shelf::Filter;

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
}
