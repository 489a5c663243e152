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
