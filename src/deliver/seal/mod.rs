//! The last hand on a message: what is taken out, what is put in front, and our signatures.
//!
//! Order (DESIGN decision 9): everything was verified before; then change, S/MIME-sign, DKIM-sign. The body of
//! inward mail is never touched and never copied; outward mail gets a new body only when it is S/MIME-signed, and
//! signed or encrypted content is not touched at all. Pure functions; time and ids come from the envelope.

mod dkim;
mod header;
mod inward;
mod keys;
mod outward;
pub mod run;
mod sevenbit;
mod smime;

use bytes::Bytes;

use crate::mail::{Parcel, Timestamp};

pub use self::inward::{Inward, inward};
pub use self::keys::{Algorithm, DkimPair, SealKeys, SmimePair, new_key};
pub use self::outward::{Note, Outward, outward};

/// A message as it leaves: the octets on the wire are `head` (empty line included) and then `body`.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub head: Bytes,
    pub body: Bytes,
    /// What was left undone; empty for inward mail.
    pub notes: Vec<Note>,
}

/// The head of a report of ours under the signatures of its author's domain (see [`SealKeys::signing_domain`]).
///
/// # Errors
/// A key that does not sign.
pub fn report(parcel: &Parcel, keys: &SealKeys, now: Timestamp) -> Result<Bytes, SealError> {
    let fields = parcel.head.strip_suffix(b"\r\n").unwrap_or(&parcel.head);
    let Some(domain) = keys.signing_domain() else { return Ok(parcel.head.clone()) };
    let hash = dkim::body_hash(&parcel.body);
    let mut head = Vec::with_capacity(parcel.head.len().saturating_add(1024));
    for pair in keys.dkim.iter().filter(|pair| domain.is_within(&pair.domain)) {
        head.extend(dkim::sign(pair, fields, &hash, now)?);
    }
    head.extend_from_slice(&parcel.head);
    Ok(head.into())
}

/// Why a message could not be sealed. Our own trouble: it waits, it is not refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    #[error("the DKIM key {0} did not sign: {1}")]
    Dkim(String, String),
    #[error("the S/MIME key did not sign: {0}")]
    Smime(String),
}

#[cfg(test)]
mod tests;
