//! The control socket: length-framed JSON over a Unix socket in data_dir, owner and group only (DESIGN §5a).
//!
//! A frame is its length as four octets, big end first, and that many octets of JSON. A client sends a [`Request`] and
//! gets one [`Reply`], as often as it likes on one connection. Both sizes are bounded, long lists come in pages and a
//! message in pieces, so neither side ever holds more than a few mebibytes for the other.

pub mod client;
pub mod filter;
pub mod peer;
pub mod serve;
pub mod stores;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::deliver::Standing;
use crate::mail::Span;
use crate::quarantine::{Cursor, Entry, Filter as HeldFilter, HeldKey};
use crate::spool::{Job, JobKey};
pub use filter::{QueueFilter, State};

/// The longest request.
pub const MOST_REQUEST: usize = 64 << 10;
/// The longest reply.
pub const MOST_REPLY: usize = 16 << 20;
/// Jobs in one page.
pub const PAGE: usize = 100;

/// Name of the request that writes out all receipts.
pub const FLUSH_RECEIPTS: &str = "flush-receipts";

/// Name of the request for the state of the virus engines.
pub const ENGINES: &str = "engines";

/// Where the socket stands.
#[must_use]
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// What can be asked of the gateway. Who asks is known from the socket; `sudo` is who the command says it was started by,
/// empty for the same user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// A page of the queue behind `after`.
    QueueList {
        #[serde(default)]
        filter: QueueFilter,
        #[serde(default)]
        after: Option<JobKey>,
    },
    QueueJob {
        key: JobKey,
    },
    /// Makes waiting jobs due now; all of them when no keys are given.
    QueueRetry {
        keys: Option<Vec<JobKey>>,
    },
    QueueHold {
        keys: Vec<JobKey>,
        held: bool,
    },
    QueueRemove {
        keys: Vec<JobKey>,
    },
    QuarantineList {
        #[serde(default)]
        filter: HeldFilter,
    },
    /// Description and header section.
    QuarantineShow {
        key: HeldKey,
    },
    /// Octets of the message from `offset` on, 1 MiB at most; none at its end.
    QuarantineRead {
        key: HeldKey,
        offset: u64,
        #[serde(default)]
        sudo: String,
        #[serde(default)]
        reason: String,
    },
    QuarantineRelease(Errand),
    QuarantineRemove {
        key: HeldKey,
        #[serde(default)]
        sudo: String,
        reason: String,
    },
    /// The key file and the names of the keys in it.
    QuarantineKeys,
    /// A new master key; what is held is sealed anew.
    QuarantineRotate {
        #[serde(default)]
        sudo: String,
        reason: String,
    },
    /// `span`: for how long.
    BypassOn {
        span: Span,
        #[serde(default)]
        sudo: String,
        reason: String,
    },
    BypassOff {
        #[serde(default)]
        sudo: String,
        reason: String,
    },
    BypassStatus,
    /// What `luytre retro` found: how many deliveries, and a line for each of the first.
    RetroDone {
        #[serde(default)]
        sudo: String,
        found: usize,
        about: Vec<String>,
    },
    Reload,
    Status,
    /// For rooms that this one does not know.
    Other {
        name: String,
        #[serde(default)]
        body: serde_json::Value,
    },
}

/// An officer's wish to let a message go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errand {
    pub key: HeldKey,
    #[serde(default)]
    pub sudo: String,
    pub reason: String,
    /// Somebody else instead of its recipients.
    #[serde(default)]
    pub to: Vec<String>,
    /// Whatever the second look at it finds.
    #[serde(default)]
    pub force: bool,
}

/// What the gateway answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// `next`: go on behind this key. `standings`: what each job waits for, in the same order, where that is known.
    Jobs {
        jobs: Vec<Job>,
        next: Option<JobKey>,
        #[serde(default)]
        standings: Vec<Standing>,
    },
    /// How many messages it happened to.
    Done {
        count: usize,
    },
    Held {
        entries: Vec<Entry>,
        /// Go on behind this one.
        #[serde(default)]
        next: Option<Cursor>,
    },
    Message {
        entry: Box<Entry>,
        /// The header section; octets that are not UTF-8 are replaced.
        headers: String,
    },
    /// `octets` in base64; empty at the end.
    Piece {
        octets: String,
    },
    Value {
        value: serde_json::Value,
    },
    /// It did not happen, and why, for the operator.
    Failed {
        why: String,
    },
}

impl Reply {
    pub fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed { why: why.to_string() }
    }
}
