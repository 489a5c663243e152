//! The sending side of SMTP as (state, reply) to actions: no socket in here, so every state is a test.
//! [`Hello`] opens a connection (banner, EHLO, STARTTLS), [`Transaction`] carries one message over it, [`Replies`]
//! turns bytes into replies, [`Wire`] turns a message into the octets that leave. RFC 5321, 1870, 2920, 3030, 3207,
//! 3461, 6152, 6531, 8689.
//!
//! Invariants: nothing leaves with a bare CR or LF in it (promise 3); the first digit of a reply decides, whatever
//! the others say; octets behind the 220 of STARTTLS are an error (THREATS S-05).

pub mod abilities;
pub mod commands;
pub mod hello;
pub mod reply;
pub mod transaction;
pub mod wire;

#[cfg(test)]
mod tests;

pub use abilities::{Abilities, Needs};
pub use hello::Hello;
pub use reply::Replies;
pub use transaction::{Answers, Transaction};
pub use wire::Wire;

/// How far the conversation has come: what an error is about, and whether the message may have been taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    Connect,
    Banner,
    Hello,
    StartTls,
    Mail,
    Recipient,
    Data,
    Body,
    /// All octets of the message have left; only the answer is missing.
    Dot,
}

impl Stage {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Banner => "banner",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Body => "body",
            Self::Dot => "final dot",
        }
    }
}

/// What the caller does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Write what was put into `out` (possibly nothing), then read a reply.
    Read,
    /// Write what was put into `out`, then the message as [`Wire`], then read a reply.
    Body,
    /// The 220 of STARTTLS came and nothing behind it: begin TLS, then call [`Hello::secured`].
    StartTls,
    /// The conversation has come to its end.
    Done,
}

/// Trouble of the host or the link: says nothing about the message, which goes another way or waits.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("TLS is required here and the server does not offer STARTTLS")]
    NoTls,
    #[error("the server is not ready at {at}: {said}", at = .0.as_str(), said = .1)]
    NotReady(Stage, crate::mail::Reply),
    #[error("the server asks for a pause at {at}: {said}", at = .0.as_str(), said = .1)]
    Pressure(Stage, crate::mail::Reply),
    #[error("the server sent what is no SMTP reply at {at}: {said}", at = .0.as_str(), said = .1)]
    Nonsense(Stage, &'static str),
    #[error("the connection was lost at {}", .0.as_str())]
    Lost(Stage),
    #[error("no answer in time at {}", .0.as_str())]
    Slow(Stage),
}

impl Trouble {
    /// How far the conversation had come.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Connect(_) => Stage::Connect,
            Self::Tls(_) | Self::NoTls => Stage::StartTls,
            Self::NotReady(stage, _)
            | Self::Pressure(stage, _)
            | Self::Nonsense(stage, _)
            | Self::Lost(stage)
            | Self::Slow(stage) => *stage,
        }
    }
    /// Whether the server said it in a reply: then it did not take the message.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::NotReady(..) | Self::Pressure(..))
    }
    /// The label of metrics: few words, no remote text.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Tls(_) | Self::NoTls => "tls",
            Self::NotReady(..) => "not-ready",
            Self::Pressure(..) => "pressure",
            Self::Nonsense(..) => "nonsense",
            Self::Lost(_) => "lost",
            Self::Slow(_) => "slow",
        }
    }
}
