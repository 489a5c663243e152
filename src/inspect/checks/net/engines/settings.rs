//! `[[engine]]` and `[engines]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inspect::WantsParts;
use crate::mail::{ByteSize, Span};

/// `[[engine]]`: one virus engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// In metrics, findings and receipts.
    pub id: String,
    pub kind: Kind,
    /// `host:port` or `unix:/path`; none for `command`.
    #[serde(default)]
    pub address: String,
    /// For one question, waiting for a connection included.
    #[serde(default = "timeout")]
    pub timeout: Span,
    #[serde(default)]
    pub role: Role,
    /// By its kind where nothing is said: see [`Engine::sees`].
    #[serde(default)]
    pub sees: Option<Sees>,
    /// Questions at one time.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Larger octet strings are not shown to it: for that engine they were not scanned.
    #[serde(default = "largest")]
    pub largest: ByteSize,
    /// ICAP: the path of the service.
    #[serde(default)]
    pub service: String,
    /// SAVAPI: the product id of the licence.
    #[serde(default)]
    pub product: String,
    /// Command: a scanner whose words, codes and pattern are known.
    #[serde(default)]
    pub preset: String,
    /// Command: program and arguments; `{file}` is the file, `{folder}` its folder.
    #[serde(default)]
    pub command: Vec<String>,
    /// Command: exit codes that say clean.
    #[serde(default)]
    pub clean: Vec<i32>,
    /// Command: exit codes that say infected.
    #[serde(default)]
    pub infected: Vec<i32>,
    /// Command: a regular expression; where it matches the output, something was found, and its first group is the name.
    #[serde(default)]
    pub pattern: String,
    /// Command: whom the program runs as; only where the gateway may change users.
    #[serde(default)]
    pub user: String,
}

/// The protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Clamd,
    Icap,
    KasperskyAveserver,
    KasperskyKlms,
    KasperskyScanEngine,
    Avg,
    Sssp,
    Fprot,
    Savapi,
    Avast,
    Command,
}

/// Backups are asked when every primary failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    Primary,
    Backup,
}

/// What is shown to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sees {
    /// The whole message only: it must take it apart itself, and cannot open what needs a password.
    Message,
    /// The message, and beside it what an engine that opens mail and archives cannot find there: what was behind a password,
    /// and what only other readings of an ambiguous message show.
    Both,
    /// Every part but the text of the letter, and what an engine cannot open. The message only where something about it is
    /// odd, so that it could hide a part from us.
    Attachments,
    /// Every part and every member of an archive as we opened them; the message as with `attachments`.
    Parts,
    /// The message, and every attachment and member beside it.
    All,
}

impl Sees {
    /// Whether it sees the whole of every message.
    #[must_use]
    pub const fn message(self) -> bool {
        matches!(self, Self::Message | Self::Both | Self::All)
    }
    /// Which parts it sees.
    #[must_use]
    pub const fn level(self) -> WantsParts {
        match self {
            Self::Message => WantsParts::None,
            Self::Both => WantsParts::Hidden,
            Self::Attachments => WantsParts::Attached,
            Self::All => WantsParts::Opened,
            Self::Parts => WantsParts::All,
        }
    }
}

impl Engine {
    /// What it is shown: engines that are known to open mail and archives get them whole, others everything we opened too.
    #[must_use]
    pub fn sees(&self) -> Sees {
        let opens_mail = matches!(self.kind, Kind::Clamd | Kind::KasperskyKlms | Kind::KasperskyScanEngine);
        self.sees.unwrap_or(if opens_mail { Sees::Both } else { Sees::All })
    }
}

const fn timeout() -> Span {
    Span::seconds(10)
}
const fn connections() -> usize {
    4
}
/// clamd's own StreamMaxLength and MaxFileSize are 25 and 100 MB as it ships.
const fn largest() -> ByteSize {
    ByteSize::mib(100)
}

/// `[engines]`: what holds for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engines {
    /// What mail gets that no engine scanned.
    pub when_down: WhenDown,
    /// With `defer`: engines that are down longer than this make mail be taken and held until they are back.
    pub hold_after: Span,
    /// Clean verdicts kept; 0: none.
    pub remember: usize,
    pub remember_for: Span,
    /// Where engines that read files find them: memory, not a disk.
    pub folder: PathBuf,
}

impl Default for Engines {
    fn default() -> Self {
        Self {
            when_down: WhenDown::Defer,
            // A sender tries for days; people ask after hours.
            hold_after: Span::hours(4),
            remember: 100_000,
            remember_for: Span::hours(1),
            folder: "/dev/shm".into(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// 451: the sender keeps it and tries again.
    #[default]
    Defer,
    Quarantine,
    /// Delivered with a tag that says so.
    Tag,
}
