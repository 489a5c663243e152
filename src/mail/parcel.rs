//! A message ready to be carried: final header bytes, the untouched body, and for whom.
//! Deliver sends parcels, the spool and the quarantine keep them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Destination, MailId, Recipient, ReversePath, Timestamp, transaction::MailParams};

/// One message for one destination. The bytes on the wire are `head` followed by `body`,
/// CRLF line ends throughout, not dot-stuffed.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub meta: ParcelMeta,
    /// The header section as it leaves, empty line included.
    pub head: Bytes,
    pub body: Bytes,
}

/// Everything of a parcel but its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParcelMeta {
    pub id: MailId,
    /// When we took it; five days count from here.
    pub received_at: Timestamp,
    pub sender: ReversePath,
    pub recipients: Vec<Recipient>,
    pub destination: Destination,
    pub params: MailParams,
    /// Whether SPF or DKIM vouched for the sender: only then may a bounce go back (no backscatter, THREATS S-30).
    pub sender_authenticated: bool,
    /// Subject for operators' lists, decoded and cut at 200 characters.
    pub subject: String,
}

impl Parcel {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        (self.head.len() as u64).saturating_add(self.body.len() as u64)
    }
}
