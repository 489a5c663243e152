//! The desk: the trait through which a session asks the pipeline for answers.
//!
//! A session knows SMTP and nothing of agencies, policies or checks. At MAIL FROM it opens a transaction (which pins
//! the policy), asks about each recipient, pours the bytes into a [`Basin`] and hands over the finished [`Letter`]
//! for the one reply that counts (RFC 5321 §6.1). Each method may take its time; the session's timers go on outside.

use std::future::Future;

use bytes::Bytes;

use crate::env::tls::handshake::HandshakeError;
use crate::listen::ClientFacts;
use crate::listen::stress::Turn;
use crate::mail::{
    AgencyId, MailId, MailParams, Mailbox, Recipient, Reply, ReversePath, Timestamp, transaction::Notify,
};

/// Everything said before the first recipient.
#[derive(Clone, Debug)]
pub struct Opening {
    pub id: MailId,
    /// When MAIL FROM came.
    pub received_at: Timestamp,
    pub client: ClientFacts,
    pub helo: String,
    pub esmtp: bool,
    pub sender: ReversePath,
    pub params: MailParams,
}

/// One RCPT TO: to whom, and the parameters of RFC 3461 that travel with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub target: Target,
    /// ORCPT as written, xtext kept encoded.
    pub original: Option<String>,
    pub notify: Notify,
}

/// Whom a RCPT TO names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `<postmaster>` without a domain: ours (RFC 5321 §4.5.1).
    Postmaster,
    Mailbox(Mailbox),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// A complete transaction whose bytes have arrived.
#[derive(Clone, Debug)]
pub struct Letter {
    pub opening: Opening,
    /// At least one.
    pub recipients: Vec<Recipient>,
}

/// A refusal before the message was handed over: what a receipt and a counter need.
#[derive(Clone, Debug)]
pub struct Refusal<'a> {
    pub id: MailId,
    pub at: Timestamp,
    pub client: &'a ClientFacts,
    pub helo: &'a str,
    pub sender: Option<&'a ReversePath>,
    /// With a refused RCPT TO.
    pub recipient: Option<&'a str>,
    pub reason: Reason,
    pub reply: &'a Reply,
}

/// A sender on a relay listener that suddenly sends far more than it ever does (DOMAIN R17).
#[derive(Clone, Debug)]
pub struct Sudden<'a> {
    pub at: Timestamp,
    /// The transaction in which it was noticed.
    pub opening: &'a Opening,
    /// The account that logged in, the fingerprint of a client certificate, or an address.
    pub account: &'a str,
    pub agency: &'a AgencyId,
}

/// Why the session said no, as a metric label and in logs. Stable words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    Connections,
    Proxy,
    /// Banned, or too many connections in a short time.
    Guard,
    Pregreet,
    Helo,
    Sender,
    Recipient,
    Recipients,
    LineEnds,
    Size,
    Limits,
    Loop,
    Protocol,
    Pipelining,
    StartTls,
    Auth,
    Errors,
    Junk,
    Timeout,
    Resources,
    Shutdown,
    /// The message itself, after it was looked at. Said by the desk, never by the session.
    Content,
}

impl Reason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Proxy => "proxy",
            Self::Guard => "guard",
            Self::Pregreet => "pregreet",
            Self::Helo => "helo",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Recipients => "recipients",
            Self::LineEnds => "line_ends",
            Self::Size => "size",
            Self::Limits => "limits",
            Self::Loop => "loop",
            Self::Protocol => "protocol",
            Self::Pipelining => "pipelining",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Errors => "errors",
            Self::Junk => "junk",
            Self::Timeout => "timeout",
            Self::Resources => "resources",
            Self::Shutdown => "shutdown",
            Self::Content => "content",
        }
    }
    /// Whether a message was turned away, so that somebody may ask why: such refusals get an id and a receipt.
    #[must_use]
    pub const fn concerns_mail(self) -> bool {
        matches!(
            self,
            Self::Helo
                | Self::Sender
                | Self::Recipient
                | Self::LineEnds
                | Self::Size
                | Self::Limits
                | Self::Loop
                | Self::Resources
        )
    }
}

/// The bytes of a message could not be kept: a trouble of ours, so 4xx.
#[derive(Debug, thiserror::Error)]
pub enum BasinError {
    #[error("the temporary file of a message: {0}")]
    File(#[from] std::io::Error),
    #[error("the memory for messages is closed")]
    Closed,
}

/// Where the bytes of one message go while they arrive.
pub trait Basin: Send {
    /// Waits until `bytes` more may be poured. While it waits the socket is not read.
    fn reserve(&mut self, bytes: usize) -> impl Future<Output = Result<(), BasinError>> + Send;
    /// Takes bytes: those reserved, or a few more where line ends are mended.
    fn pour(&mut self, bytes: &[u8]);
    /// All of them.
    fn finish(self) -> impl Future<Output = Result<Bytes, BasinError>> + Send;
}

/// What answers a session's questions. One desk serves all sessions.
pub trait Desk: Send + Sync + 'static {
    /// What the desk wants to remember from MAIL FROM on: the pinned policy, whose client it is.
    type Transaction: Send + 'static;
    type Basin: Basin + 'static;

    /// Somebody connected: whether it is greeted at all. Must not block.
    fn welcome(&self, client: &ClientFacts) -> Result<(), Reply> {
        let _ = client;
        Ok(())
    }
    /// Waits as long as this client should wait for the banner, and again for the answer to HELO.
    fn hold_back(&self, client: &ClientFacts) -> impl Future<Output = ()> + Send {
        let _ = client;
        std::future::ready(())
    }
    /// Whether this is somebody who is never slowed or hurried. Must not block.
    fn trusts(&self, client: &ClientFacts) -> bool {
        let _ = client;
        false
    }
    /// How much of the memory for messages is in use.
    fn memory_used_percent(&self) -> u32 {
        0
    }
    /// Stress begins or ends. Must not block.
    fn stressed(&self, turn: Turn, at: Timestamp) {
        let _ = (turn, at);
    }
    /// MAIL FROM: pins the policy, or refuses.
    fn open(&self, opening: &Opening) -> impl Future<Output = Result<Self::Transaction, Reply>> + Send;
    /// RCPT TO: where it leads, or a refusal.
    fn recipient(
        &self,
        transaction: &mut Self::Transaction,
        opening: &Opening,
        request: Request,
    ) -> impl Future<Output = Result<Recipient, Reply>> + Send;
    /// An empty basin for the bytes that follow.
    fn basin(&self, transaction: &Self::Transaction) -> Self::Basin;
    /// The whole message; the reply is the final one. Once called it runs to its end even if the client goes away.
    fn take(&self, transaction: Self::Transaction, letter: Letter, raw: Bytes) -> impl Future<Output = Reply> + Send;
    /// ETRN (RFC 1985): whether mail that waits for `node` is sent now. A desk without a queue has none to send.
    fn turn(&self, client: &ClientFacts, node: &str) -> impl Future<Output = Reply> + Send {
        let _ = (client, node);
        async { Reply::new(251, "2.0.0", "No messages are waiting") }
    }
    /// Something was refused, whatever it was. Must not block.
    fn noticed(&self, refusal: &Refusal<'_>) {
        let _ = refusal;
    }
    /// A TLS handshake came to nothing; the connection is over. Must not block.
    fn handshake_failed(&self, client: &ClientFacts, error: &HandshakeError, at: Timestamp) {
        let _ = (client, error, at);
    }
    /// Somebody's mail is taken, and an officer should look at it. Must not block.
    fn sudden(&self, sudden: &Sudden<'_>) {
        let _ = sudden;
    }
    /// Something was refused before that. Must not block; called for [`Reason::concerns_mail`] only.
    fn refused(&self, refusal: &Refusal<'_>);
}
