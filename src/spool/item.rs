//! One record on its way into the log.

use bytes::Bytes;

use super::frame::{Header, Kind, State};
use super::index::{Entry, Hand};
use super::segment::checksum;
use super::sieve::Mark;
use super::{JobKey, SpoolError};
use crate::mail::Parcel;

/// A record to be written. The expensive part (JSON, checksums) is done by whoever makes it, not by the committer.
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: Kind,
    /// `None` for a new message: the log gives it a key.
    pub key: Option<JobKey>,
    pub state: State,
    /// Whose hands a new message is in.
    pub hand: Hand,
    /// Whether the caller may only be answered after a sync.
    pub durable: bool,
    /// The index already knows: this is written a second time because the first could not be trusted.
    pub applied: bool,
    /// Whose the message is.
    pub mark: Mark,
    text: Bytes,
    meta_len: u32,
    head: Bytes,
    body: Bytes,
    text_crc: u32,
    bytes_crc: u32,
}

impl Item {
    /// A parcel to be kept. The bytes are shared, not copied.
    pub fn accepted(parcel: &Parcel, state: State, hand: Hand) -> Result<Self, SpoolError> {
        let meta = serde_json::to_vec(&parcel.meta).map_err(|error| SpoolError::Damaged(error.to_string()))?;
        let whole = parcel.size_bytes().saturating_add(meta.len() as u64);
        if whole > u64::from(u32::MAX / 2) {
            return Err(SpoolError::Disk(std::io::ErrorKind::FileTooLarge.into()));
        }
        let parts = (parcel.head.clone(), parcel.body.clone());
        let mark = Mark::of(parcel.meta.destination.agency());
        Ok(Self { mark, ..Self::new(Kind::Accepted, None, &meta, state, hand, parts, true) })
    }

    /// A message that moves ahead in the log.
    #[must_use]
    pub fn copied(key: u64, entry: &Entry, meta: &[u8], state: State, head: Bytes, body: Bytes) -> Self {
        let item = Self::new(Kind::Copied, Some(JobKey(key)), meta, state, entry.hand, (head, body), true);
        Self { mark: entry.mark, ..item }
    }

    /// A change of a message that is there.
    #[must_use]
    pub fn change(kind: Kind, key: JobKey, state: State, durable: bool) -> Self {
        Self::new(kind, Some(key), &[], state, Hand::Waiting, (Bytes::new(), Bytes::new()), durable)
    }

    fn new(
        kind: Kind,
        key: Option<JobKey>,
        meta: &[u8],
        state: State,
        hand: Hand,
        (head, body): (Bytes, Bytes),
        durable: bool,
    ) -> Self {
        let mut text = meta.to_vec();
        if !matches!(kind, Kind::Done | Kind::Removed) {
            text.extend_from_slice(&state.encode());
        }
        let (text_crc, bytes_crc) = (crc32fast::hash(&text), checksum(&head, &body));
        let (text, meta_len) = (Bytes::from(text), length(meta));
        Self {
            kind,
            key,
            state,
            hand,
            durable,
            applied: false,
            mark: Mark::default(),
            text,
            meta_len,
            head,
            body,
            text_crc,
            bytes_crc,
        }
    }

    /// The same for a second writing, after the index and the caller know of it.
    #[must_use]
    pub fn told(&self) -> Self {
        Self { applied: true, ..self.clone() }
    }

    /// The frame's header, for a place in a segment synced up to `synced`.
    #[must_use]
    pub fn header(&self, nonce: u64, key: u64, synced: u64) -> Header {
        Header {
            kind: self.kind,
            mark: self.mark,
            nonce,
            key,
            synced,
            meta_len: self.meta_len,
            state_len: length(&self.text).saturating_sub(self.meta_len),
            head_len: length(&self.head),
            body_len: length(&self.body),
            text_crc: self.text_crc,
            bytes_crc: self.bytes_crc,
        }
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> [&[u8]; 3] {
        [&self.text, &self.head, &self.body]
    }

    /// Room it takes in a segment, octets.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.header(0, 0, 0).span()
    }
}

/// `accepted` has made sure that every piece fits.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
