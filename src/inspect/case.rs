//! A message and what is known of it: what the verdict looks at. Plain data; no crate's own types.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Finding;
use super::checks::net::engines::outcome::EngineFact;
use crate::intake::Mail;
use crate::mail::{Mailbox, ReversePath};

/// A message with its evidence.
#[derive(Clone, Debug)]
pub struct Case {
    mail: Mail,
    auth: AuthFacts,
    content: ContentFacts,
    findings: Vec<Finding>,
    released: Released,
    engines: Vec<EngineFact>,
}

impl Case {
    /// Made by `inspect::run` when every check has run or left a finding that says it did not.
    #[must_use]
    pub fn closed(mail: Mail, auth: AuthFacts, content: ContentFacts, findings: Vec<Finding>) -> Self {
        Self { mail, auth, content, findings, released: Released::default(), engines: Vec::new() }
    }
    /// With what left the cage.
    #[must_use]
    pub fn with_released(self, released: Released) -> Self {
        Self { released, ..self }
    }
    /// With what the virus engines were asked and said.
    #[must_use]
    pub fn with_engines(self, engines: Vec<EngineFact>) -> Self {
        Self { engines, ..self }
    }
    /// Which virus engine of which version saw how much, and what it said.
    #[must_use]
    pub fn engines(&self) -> &[EngineFact] {
        &self.engines
    }
    /// Octets that the inspector handed out: parts, members, a rewritten message.
    #[must_use]
    pub const fn released(&self) -> &Released {
        &self.released
    }
    #[must_use]
    pub const fn mail(&self) -> &Mail {
        &self.mail
    }
    #[must_use]
    pub const fn auth(&self) -> &AuthFacts {
        &self.auth
    }
    #[must_use]
    pub const fn content(&self) -> &ContentFacts {
        &self.content
    }
    /// Of all checks, content and network.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.findings.iter().any(|f| f.code == code)
    }
}

/// A result word of RFC 8601 §2.7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthResult {
    #[default]
    None,
    Neutral,
    Pass,
    Fail,
    SoftFail,
    Policy,
    TempError,
    PermError,
}

impl AuthResult {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for AuthResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What SPF, DKIM, DMARC, ARC and reverse DNS say of the sender.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AuthFacts {
    /// The one mailbox of the one From field; `None` when there is none, several, or none that can be read.
    pub from: Option<Mailbox>,
    /// Reverse DNS confirmed forward (RFC 8601 §2.7.3), and the name.
    pub iprev: AuthResult,
    pub iprev_name: Option<String>,
    pub spf_helo: AuthResult,
    /// Of MAIL FROM; of postmaster@HELO when MAIL FROM is null (RFC 7208 §2.4).
    pub spf: AuthResult,
    /// The domain the `spf` result speaks of.
    pub spf_domain: Option<String>,
    pub spf_detail: String,
    /// The pass is one that nearly everybody gets; it vouches for nothing (THREATS A-09).
    pub spf_permissive: bool,
    pub dkim: Vec<DkimFact>,
    pub arc: AuthResult,
    pub arc_detail: String,
    pub dmarc: DmarcFact,
}

impl AuthFacts {
    /// Pass when any signature passes, else the first result, else none.
    #[must_use]
    pub fn dkim_result(&self) -> AuthResult {
        if self.dkim.iter().any(|d| d.result == AuthResult::Pass) {
            return AuthResult::Pass;
        }
        self.dkim.first().map_or(AuthResult::None, |d| d.result)
    }
    /// Whether someone vouched for the envelope sender: a bounce to it is no backscatter.
    #[must_use]
    pub fn vouches_for(&self, sender: &ReversePath) -> bool {
        let Some(domain) = sender.domain() else { return false };
        (self.spf == AuthResult::Pass && !self.spf_permissive)
            || self.dkim.iter().any(|d| {
                d.result == AuthResult::Pass
                    && crate::mail::Domain::parse(&d.domain).is_ok_and(|signer| domain.is_within(&signer))
            })
    }
}

/// One DKIM-Signature field.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DkimFact {
    pub result: AuthResult,
    /// `d=`
    pub domain: String,
    /// `s=`
    pub selector: String,
    /// `a=`
    pub algorithm: String,
    /// The first characters of `b=`, to tell signatures apart (RFC 6008).
    pub signature_start: String,
    /// Why it did not pass.
    pub detail: String,
}

/// The DMARC outcome (RFC 9989).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DmarcFact {
    pub result: AuthResult,
    /// The policy that applies to this From domain after p, sp, np and t are weighed.
    pub policy: DmarcPolicy,
    /// The domain whose record was used.
    pub domain: Option<String>,
    pub spf_aligned: bool,
    pub dkim_aligned: bool,
    /// With temperror: a reject policy is known or cannot be excluded, so the message must wait (DESIGN §7).
    pub must_wait: bool,
    pub detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    #[default]
    None,
    Quarantine,
    Reject,
}

/// Which parts of a message the virus engines are shown; each level holds those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum WantsParts {
    #[default]
    None,
    /// What an engine that opens mail and archives does not find in the whole message: what was behind a password, what
    /// lies three containers deep, and other readings of an ambiguous message.
    Hidden,
    /// And every part of the message but the text of the letter, as it is attached.
    Attached,
    /// And every member of an archive or document.
    Opened,
    /// And the text of the letter.
    All,
}

/// Octets that left the cage beside the facts, and what they are. The octets themselves are in [`Released`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outgoing {
    pub kind: OutgoingKind,
    /// For the engines that want this level or a higher one; `None` for a message.
    pub level: WantsParts,
    /// Where they lie in the memory handed out.
    pub offset: u64,
    pub length: u64,
    /// Of the octets, hex, as the inspector says.
    pub sha256: String,
    /// As in the list of parts; for a message, how it was written anew: `canonical`.
    pub path: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum OutgoingKind {
    /// A decoded part of the message, or another reading of one.
    Part,
    /// A member of a container, decrypted and unpacked.
    Member,
    /// The whole message, rewritten: a canonical copy, one without some of its parts.
    Message,
}

/// What left the cage with one message.
#[derive(Clone, Debug, Default)]
pub struct Released {
    items: Vec<Outgoing>,
    bytes: Bytes,
}

impl Released {
    /// `bytes` is the memory that `items` speak of. `None` when an item lies outside it: the inspector lies.
    #[must_use]
    pub fn new(items: Vec<Outgoing>, bytes: Bytes) -> Option<Self> {
        let released = Self { items, bytes };
        let whole = released.items.iter().all(|item| released.slice(item).is_some());
        whole.then_some(released)
    }

    fn slice(&self, item: &Outgoing) -> Option<Bytes> {
        let start = usize::try_from(item.offset).ok()?;
        let end = start.checked_add(usize::try_from(item.length).ok()?)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }

    /// Every item with its octets (no copy), in the order they were put out.
    pub fn iter(&self) -> impl Iterator<Item = (&Outgoing, Bytes)> {
        self.items.iter().filter_map(|item| Some((item, self.slice(item)?)))
    }

    /// The octets of the first item of a kind: `Message` for the rewritten one.
    #[must_use]
    pub fn first(&self, kind: OutgoingKind) -> Option<Bytes> {
        self.iter().find(|(item, _)| item.kind == kind).map(|(_, bytes)| bytes)
    }

    /// The whole message as it was written anew in the way that `path` names.
    #[must_use]
    pub fn message(&self, path: &str) -> Option<Bytes> {
        self.iter().find(|(item, _)| item.kind == OutgoingKind::Message && item.path == path).map(|(_, bytes)| bytes)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// What an inspector answers: everything known of the content. Crosses the process border as postcard.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ContentFacts {
    pub findings: Vec<Finding>,
    /// Rule patterns that hit, by their number in the rule set.
    pub atoms: Vec<AtomHit>,
    pub parts: Vec<PartFact>,
    pub smime: SmimeFact,
    /// Decoded Subject, NFC, cut at 998 characters.
    pub subject: String,
    /// Host names and URLs seen in text, HTML and headers; at most 500, each cut at 2,000 octets.
    pub urls: Vec<String>,
    /// What left the cage beside these facts.
    pub outgoing: Vec<Outgoing>,
}

/// A rule pattern that hit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AtomHit {
    pub atom: u32,
    pub count: u32,
    /// What matched, cut at 80 characters, for the receipt.
    pub sample: String,
}

/// One part of the message, found at any depth.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PartFact {
    /// `1`, `2/inner.zip/a.exe`: MIME position, then names inside containers.
    pub path: String,
    /// File name, decoded and normalised; empty when there is none.
    pub name: String,
    /// True type by content, as a media type.
    #[serde(rename = "type")]
    pub kind: String,
    pub declared_type: String,
    pub bytes: u64,
    /// Of the decoded octets, hex.
    pub sha256: String,
}

/// The S/MIME verdict (DESIGN §5a).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SmimeFact {
    pub status: SmimeStatus,
    pub signers: Vec<Signer>,
    /// One sentence for operators.
    pub detail: String,
    /// The message is encrypted (EnvelopedData, AuthEnvelopedData): its content was not seen.
    pub encrypted: bool,
    /// The worst of the signatures inside PDF files; findings `pdf.signature-<status>` say more of each file.
    #[serde(default)]
    pub pdf_status: SmimeStatus,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Signer {
    pub subject: String,
    pub issuer: String,
    pub serial: String,
    pub addresses: Vec<String>,
    pub not_before: String,
    pub not_after: String,
    pub digest: String,
    pub status: SmimeStatus,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmimeStatus {
    #[default]
    None,
    Valid,
    Altered,
    /// The signature holds for an older state of the file (PDF only).
    Modified,
    Expired,
    Revoked,
    UnknownRevocation,
    Untrusted,
    WrongSender,
    Weak,
    Partial,
    Malformed,
    Unverifiable,
}

impl SmimeStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Valid => "valid",
            Self::Altered => "altered",
            Self::Modified => "modified",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UnknownRevocation => "unknown-revocation",
            Self::Untrusted => "untrusted",
            Self::WrongSender => "wrong-sender",
            Self::Weak => "weak",
            Self::Partial => "partial",
            Self::Malformed => "malformed",
            Self::Unverifiable => "unverifiable",
        }
    }
    /// The word in Authentication-Results (DESIGN §5a, RFC 7281).
    #[must_use]
    pub const fn result(self) -> AuthResult {
        match self {
            Self::None => AuthResult::None,
            Self::Valid => AuthResult::Pass,
            Self::Altered | Self::Modified | Self::WrongSender | Self::Revoked | Self::Expired | Self::Partial => {
                AuthResult::Fail
            }
            Self::Weak | Self::Untrusted => AuthResult::Policy,
            Self::UnknownRevocation => AuthResult::TempError,
            Self::Malformed | Self::Unverifiable => AuthResult::PermError,
        }
    }
}

impl fmt::Display for SmimeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
