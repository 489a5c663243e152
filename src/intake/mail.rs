//! A complete message: envelope plus bytes. Holding one proves that all bytes are here, within the limits,
//! CRLF throughout; the sender still owns the message.

use bytes::Bytes;

use crate::envelope::Envelope;

/// Envelope and raw message (RFC 5322 octets, dot-unstuffed, CRLF line ends).
#[derive(Clone, Debug)]
pub struct Mail {
    envelope: Envelope,
    raw: Bytes,
}

impl Mail {
    /// `raw` may be heap memory or a mapped temporary file (`Bytes::from_owner`).
    #[must_use]
    pub const fn complete(envelope: Envelope, raw: Bytes) -> Self {
        Self { envelope, raw }
    }
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }
}
