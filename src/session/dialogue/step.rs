//! What the dialogue asks of its surroundings: one reply at most, then one thing to do.

use crate::mail::{MailId, MailParams, Reply, ReversePath, Span};
use crate::session::desk::{Opening, Reason, Request};
use crate::session::sasl::{Mechanism, Response};

/// One answer of the dialogue.
#[derive(Debug)]
pub struct Step {
    pub say: Option<Said>,
    pub next: Next,
    /// How long the answer waits; for clients that guess.
    pub delay: Span,
}

/// A reply, and for refusals what they are about.
#[derive(Debug)]
pub struct Said {
    pub reply: Reply,
    pub reason: Option<Reason>,
    /// The message that was refused, where it had an id already.
    pub id: Option<MailId>,
    /// Its sender and the rest, where the refusal ended the transaction.
    pub opening: Option<Opening>,
    /// The recipient that was refused.
    pub recipient: Option<String>,
}

/// What to do when the reply is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Read the next command.
    Read,
    /// Ask the desk about a sender, then `opened`.
    Open(ReversePath, MailParams),
    /// Ask the desk about a recipient, then `checked`.
    Check(Request),
    /// Ask the desk to send what waits for a node, then `turned`.
    Turn(String),
    /// Read the message up to `CRLF . CRLF`, then `ended`.
    Data,
    /// Read so many octets, then `chunk_ended` or `ended`.
    Chunk {
        size: u64,
        last: bool,
    },
    /// Read so many octets, drop them, and only then say the reply.
    Swallow {
        size: u64,
    },
    /// The TLS handshake, then `secured`.
    StartTls,
    /// The exchange of AUTH, then `authenticated`.
    Authenticate {
        mechanism: Mechanism,
        initial: Option<Response>,
    },
    Close,
}

/// Whether bytes had already arrived behind the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    Nothing,
    Bytes,
}

/// For what a client let us wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    Command,
    Data,
    /// Words now and then, and no mail.
    Session,
}

impl Step {
    pub(super) fn say(reply: Reply) -> Self {
        Self {
            say: Some(Said { reply, reason: None, id: None, opening: None, recipient: None }),
            next: Next::Read,
            delay: Span::ZERO,
        }
    }

    pub(super) fn refuse(reply: Reply, reason: Reason) -> Self {
        Self {
            say: Some(Said { reply, reason: Some(reason), id: None, opening: None, recipient: None }),
            next: Next::Read,
            delay: Span::ZERO,
        }
    }

    pub(in crate::session) fn close(reply: Reply, reason: Reason) -> Self {
        Self { next: Next::Close, ..Self::refuse(reply, reason) }
    }

    pub(super) const fn go(next: Next) -> Self {
        Self { say: None, next, delay: Span::ZERO }
    }

    pub(super) fn then(mut self, next: Next) -> Self {
        self.next = next;
        self
    }

    pub(super) fn with_id(mut self, id: MailId) -> Self {
        if let Some(said) = &mut self.say {
            said.id = Some(id);
        }
        self
    }

    /// Names the recipient that a refusal speaks of.
    pub fn naming(mut self, recipient: String) -> Self {
        if let Some(said) = &mut self.say {
            said.recipient = Some(recipient);
        }
        self
    }

    pub(super) fn about(mut self, opening: Option<Opening>) -> Self {
        if let (Some(said), Some(opening)) = (&mut self.say, opening) {
            said.id = Some(opening.id);
            said.opening = Some(opening);
        }
        self
    }

    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        self.say.as_ref().map(|said| &said.reply)
    }
}
