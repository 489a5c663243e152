//! Store, list, release, expire. The only maker of Shelved.

use super::Held;
use crate::mail::{MailId, Parcel};

/// Why the quarantine could not keep or find a message.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("the disk failed: {0}")]
    Disk(#[from] std::io::Error),
    #[error("there is no message {0} in the quarantine")]
    Unknown(String),
    #[error("the stored message is damaged: {0}")]
    Damaged(String),
}

/// Proof that a message is held and synced.
#[derive(Debug)]
pub struct Shelved {
    id: MailId,
}

impl Shelved {
    #[must_use]
    pub const fn id(&self) -> MailId {
        self.id
    }
}

/// The store of held mail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf;

impl Shelf {
    /// Returns when bytes and description are synced.
    pub async fn hold(&self, _parcel: &Parcel, _held: Held) -> Result<Shelved, ShelfError> {
        Err(ShelfError::Unknown(String::new()))
    }
}
