//! Virus engines of other makers, each behind one trait, many at once (DOMAIN §2.6, §2.7).
//!
//! Every engine gets the whole message, its parts, or both. Any hit wins. An answer that is neither "clean" nor
//! "infected" — an error, a lapsed licence, a limit, a silence — is never "clean": the message was not scanned by that
//! engine. Backups are asked when every primary failed. Where no engine scanned it, the message waits with its sender
//! (DESIGN §7).
//!
//! An adapter ([`Engine`]) is a protocol over a [`Talk`]: it touches no socket and no clock. [`run::Engines`] holds the
//! connections, the health and the memory of verdicts. What the answers come to is arithmetic ([`outcome`]).

pub mod avast;
pub mod aveserver;
pub mod avg;
pub mod clamd;
pub mod command;
pub mod door;
pub mod fprot;
pub mod health;
pub mod icap;
pub mod klms;
pub mod memory;
pub mod metrics;
pub mod outcome;
pub mod run;
pub mod savapi;
pub mod scanengine;
pub mod settings;
pub mod sssp;
#[cfg(test)]
mod tests;

use std::pin::Pin;

use bytes::Bytes;

use crate::env::talk::Talk;

/// The longest line or list of headers that an engine may answer with.
pub const ANSWER: usize = 64 << 10;

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Octets to be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// As in the list of parts; empty for the whole message.
    pub path: String,
    pub bytes: Bytes,
    /// SHA-256; none where nothing is remembered of it.
    pub digest: Option<[u8; 32]>,
    /// The file that holds the octets, for engines that read files; empty for others.
    pub file: String,
}

/// What an engine says of octets that it looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Clean,
    /// By the engine's name for it.
    Infected(String),
    /// No virus found; something the engine's own policy objects to.
    Objects(Objection, String),
}

/// What engines report beside viruses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Objection {
    /// It could not look inside.
    Encrypted,
    /// A limit of the engine kept it from looking at everything.
    Limit,
    Macros,
}

/// Why an engine did not look.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it broke the connection")]
    Cut,
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
    #[error("it reports an error: {0}")]
    Error(String),
    #[error("its licence does not cover this: {0}")]
    Licence(String),
    /// About these octets, not about the engine.
    #[error("the data is larger than it takes: {0}")]
    TooLarge(String),
    #[error("it is down: {0}")]
    Down(String),
    #[error("all its connections are in use")]
    Busy,
    /// Nothing is known of these octets; on a new connection it is asked in another way.
    #[error("it wants to be asked in another way")]
    AskAgain,
}

impl Trouble {
    /// The word in metrics and receipts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::Nonsense(_) => "nonsense",
            Self::Error(_) => "error",
            Self::Licence(_) => "licence",
            Self::TooLarge(_) => "too-large",
            Self::Down(_) => "down",
            Self::Busy => "busy",
            Self::AskAgain => "ask-again",
        }
    }

    /// Text of an engine, cut and without controls.
    fn shown(text: impl AsRef<str>) -> String {
        text.as_ref().trim().chars().filter(|c| !c.is_control()).take(200).collect()
    }
    pub(super) fn nonsense(text: impl AsRef<str>) -> Self {
        Self::Nonsense(Self::shown(text))
    }
    /// An error in the engine's own words; those that speak of a licence are told apart, for they do not pass.
    pub(super) fn error(text: impl AsRef<str>) -> Self {
        let shown = Self::shown(text);
        let lower = shown.to_ascii_lowercase();
        let lapsed = ["licen", "expired", "activation", "subscription"].iter().any(|word| lower.contains(word));
        if lapsed { Self::Licence(shown) } else { Self::Error(shown) }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData => Self::Nonsense("it says more than an answer".to_owned()),
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::BrokenPipe => Self::Cut,
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// What an engine says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// Program and signatures, as one text: another text, other verdicts. Empty: it does not say.
    pub version: String,
    /// When its signatures were made, Unix seconds; `None`: it does not say.
    pub signatures_at: Option<i64>,
}

/// A protocol of an engine.
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Once for each new connection.
    fn greet<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<(), Trouble>>;
    /// One look; the connection may be used again after an answer when [`Self::keeps`] says so.
    fn scan<'a>(&'a self, talk: &'a mut Talk, subject: &'a Subject) -> Pending<'a, Result<Seen, Trouble>>;
    /// Version and age, where the protocol has a question for it. Also the test whether it lives.
    fn about<'a>(&'a self, talk: &'a mut Talk) -> Pending<'a, Result<About, Trouble>>;
    fn keeps(&self) -> bool {
        false
    }
    /// Whether it reads a file instead of octets on the connection.
    fn reads_files(&self) -> bool {
        false
    }
}

/// An answer, and what came with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub answer: Answer,
    /// The engine's version where every answer bears it (ICAP's ISTag).
    pub version: Option<String>,
    /// The engine ends the connection.
    pub closes: bool,
}

impl From<Answer> for Seen {
    fn from(answer: Answer) -> Self {
        Self { answer, version: None, closes: false }
    }
}

/// A name fit for a finding's code: `malware.win.test.eicar-hdb-1`.
#[must_use]
pub fn code_of(name: &str) -> String {
    let mut out: String = name
        .trim()
        .chars()
        .take(100)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c.to_ascii_lowercase() } else { '-' })
        .collect();
    while out.contains("--") {
        out = out.replace("--", "-");
    }
    let trimmed = out.trim_matches(['-', '.']);
    if trimmed.is_empty() { "unnamed".to_owned() } else { trimmed.to_owned() }
}
