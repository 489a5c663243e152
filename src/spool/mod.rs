//! 7. Durable keeping: a segmented append-only log with group commit (DESIGN decision 3).
//!
//! Mail is written once, behind what came before, into preallocated segment files (`frame`, `segment`, `nursery`); one
//! committer writes and syncs for all who wait (`log`), an index in memory says what is due (`index`), old segments are
//! freed in order and their last live mail moves ahead (`reclaim`), and every start reads the log back (`recover`).
//!
//! Others hold a [`Spool`], a handle on an [`Engine`]: the narrow trait behind which this log, or another way to keep mail,
//! stands.

mod damage;
pub mod engine;
mod fault;
pub mod frame;
mod handle;
mod index;
mod item;
mod jobs;
mod log;
pub mod metrics;
mod nursery;
mod reclaim;
pub mod recover;
pub mod run;
mod scan;
mod segment;
pub mod settings;
pub mod sieve;
#[cfg(test)]
mod tests;
mod warm;

use serde::{Deserialize, Serialize};

use crate::mail::{Mailbox, ParcelMeta, Reply, Timestamp};

pub use engine::Engine;
pub use handle::Spool;
pub use index::Hand;
pub use recover::Recovery;

/// Proof that a parcel is safe with the engine. Made only by [`Spool::accept`].
#[derive(Debug)]
pub struct Spooled {
    pub(in crate::spool) id: crate::mail::MailId,
}

impl Spooled {
    #[must_use]
    pub const fn id(&self) -> crate::mail::MailId {
        self.id
    }
}

/// A message in the durable queue, without its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Several parcels of one message (one a destination) share `meta.id`; this key is unique.
    pub key: JobKey,
    pub meta: ParcelMeta,
    /// Still to be delivered, with what each waits for.
    pub pending: Vec<Pending>,
    pub size_bytes: u64,
    pub tries: u32,
    pub next_attempt: Timestamp,
    pub held: bool,
    /// When a delay warning was sent (RFC 3461 DELAY), if one was.
    pub warned: bool,
}

/// Position of a job in the log's order; also what `luytre queue` shows beside the message id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobKey(pub u64);

/// One recipient that has not got its copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Index into `meta.recipients`.
    pub recipient: usize,
    pub mailbox: Mailbox,
    /// The last answer or error, one sentence; empty before the first attempt.
    pub last: String,
}

/// What one attempt did to one recipient.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// The next hop took it.
    Done,
    /// For ever refused: bounced, held or dropped as the caller already arranged durably.
    Failed(String),
    /// To be tried again.
    Later(String),
}

/// The result of one attempt, recorded durably.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    /// By index into `meta.recipients`.
    pub fates: Vec<(usize, Fate)>,
    /// When to try the rest again.
    pub next_attempt: Timestamp,
    pub warned: bool,
}

/// Why the spool could not keep a message. The session answers 451 or 452; the sender still has it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the disk is full")]
    Full,
    #[error("the disk failed: {0}")]
    Disk(std::io::Error),
    #[error("the spool is closed")]
    Closed,
    #[error("there is no message {0} in the spool")]
    Unknown(String),
    #[error("the record is damaged: {0}")]
    Damaged(String),
    /// Nothing was read and nothing changed.
    #[error(
        "{file} was written by a newer version (format {format}, this one knows {}); start that version again, or let it \
         deliver its queue before going back",
        frame::VERSION
    )]
    Newer { file: String, format: u8 },
}

impl SpoolError {
    /// For the sender, who still has the message (RFC 3463 §3.4).
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Full => Reply::new(452, "4.3.1", "Not enough disk space here now, please try again later"),
            _ => Reply::new(451, "4.3.0", "Temporary trouble here, please try again later"),
        }
    }

    /// The same error for another of the callers that one failed commit has.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Closed => Self::Closed,
            Self::Disk(error) => Self::Disk(log::copy_of(error)),
            Self::Unknown(text) => Self::Unknown(text.clone()),
            Self::Damaged(text) => Self::Damaged(text.clone()),
            Self::Newer { file, format } => Self::Newer { file: file.clone(), format: *format },
        }
    }
}
