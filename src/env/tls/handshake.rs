//! Why a handshake with a client failed: what OpenSSL says, sorted into the few causes an operator can act on.

use std::fmt;
use std::io;

use openssl::ssl;

/// Stable words, for events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// No version that both speak.
    Version,
    /// No cipher, group or signature that both know.
    Cipher,
    /// The client does not believe our certificate, or showed none that can be read.
    Certificate,
    /// The client went away.
    Closed,
    /// It took too long.
    Timeout,
    /// What came is no TLS.
    Protocol,
    /// Trouble of ours.
    Ours,
}

impl Cause {
    pub const ALL: [Self; 7] =
        [Self::Version, Self::Cipher, Self::Certificate, Self::Closed, Self::Timeout, Self::Protocol, Self::Ours];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Cipher => "cipher",
            Self::Certificate => "certificate",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Ours => "ours",
        }
    }
}

/// A handshake that came to nothing. What OpenSSL says holds no words of the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandshakeError {
    pub cause: Cause,
    pub detail: String,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.as_str(), self.detail)
    }
}

impl std::error::Error for HandshakeError {}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        Self::other(error)
    }
}

impl HandshakeError {
    #[must_use]
    pub fn timeout() -> Self {
        Self { cause: Cause::Timeout, detail: "the client took too long".to_owned() }
    }

    pub(super) fn ours(error: impl fmt::Display) -> Self {
        Self { cause: Cause::Ours, detail: error.to_string() }
    }
}

impl From<ssl::Error> for HandshakeError {
    fn from(error: ssl::Error) -> Self {
        let Some(first) = error.ssl_error().and_then(|stack| stack.errors().first()) else {
            return Self { cause: Cause::Closed, detail: "the client closed the connection".to_owned() };
        };
        let detail = first.reason().unwrap_or("a handshake error").to_owned();
        Self { cause: cause_of(first.reason_code()), detail }
    }
}

/// OpenSSL's reasons (`sslerr.h`); from 1000 on the alert that the client sent (RFC 8446 §6).
const fn cause_of(reason: i32) -> Cause {
    match reason {
        // Unknown protocol, unsupported protocol, too high, too low; alert protocol_version.
        252 | 258 | 166 | 396 | 1070 => Cause::Version,
        // No ciphers, no shared cipher, no suitable signature, key share, group or digest; alerts handshake_failure,
        // insufficient_security.
        181 | 183 | 193 | 101 | 118 | 295 | 297 | 324 | 376 | 410 | 1040 | 1071 => Cause::Cipher,
        // What the client showed could not be read or proven; alerts 41 to 49, 112 to 116.
        123 | 134 | 135 | 199 | 1041..=1049 | 1112..=1116 => Cause::Certificate,
        // End of file; alerts close_notify and user_canceled.
        294 | 1000 | 1090 => Cause::Closed,
        _ => Cause::Protocol,
    }
}
