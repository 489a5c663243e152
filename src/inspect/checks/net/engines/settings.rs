//! `[[engine]]` and `[engines]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inspect::WantsParts;
use crate::mail::{ByteSize, KeyPin, Span};

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
    /// Under TLS from the first octet (ICAP's port 11344); for engines on other machines.
    #[serde(default)]
    pub tls: bool,
    /// Authorities in PEM that may vouch for it, besides the system's.
    #[serde(default)]
    pub tls_ca: PathBuf,
    /// Keys of a certificate that no authority vouches for; where there are some, nothing else counts.
    #[serde(default)]
    pub tls_pins: Vec<KeyPin>,
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
    /// ICAP: how the service is asked; the way that it offers where nothing is said.
    #[serde(default)]
    pub method: Option<Method>,
    /// A program that prints the version of engine and signatures, where the engine cannot tell it: without a version nothing
    /// is remembered of it, and new signatures are not noticed.
    #[serde(default)]
    pub version_command: Vec<String>,
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
    /// Its older daemon.
    FprotHttp,
    Savapi,
    Avast,
    Command,
}

/// ICAP's ways of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// As if the octets came from a server.
    Respmod,
    /// As if they went to one.
    Reqmod,
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
    /// Held messages that are shown to the engines again, a minute: those that no engine had scanned, and after new
    /// signatures. 0: none, until an officer releases them.
    pub rescan_rate: u32,
    /// After new signatures or rules: what was held for no longer than this. 0: nothing.
    pub rescan_held: Span,
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
            // A fraction of what the engines do for mail on its way.
            rescan_rate: 120,
            // New malware is in most signatures within days.
            rescan_held: Span::hours(7 * 24),
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
