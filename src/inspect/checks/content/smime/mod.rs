//! S/MIME: is the message signed, by whom, and may From be believed (RFC 8551, RFC 5652, RFC 8550).
//!
//! OpenSSL proves arithmetic and chains; identity, coverage, strength and revocation are this room's work
//! (THREATS T13, G-00 to G-10). The rules: the signed part is the root of the message, or the status is `partial`;
//! every SignerInfo must verify and chain; the hash is over the exact octets a reader sees; one of the signers'
//! addresses is From; validity counts at the time of receipt. Whatever is unclear is never `valid`.
//! A pure function of its arguments; in production it runs inside an inspector.

mod cms;
mod locate;
mod pdf;
pub mod run;
mod signer;
mod trust;

use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509;

pub use pdf::examine as examine_files;
pub(crate) use signer::addresses as certificate_addresses;
pub use trust::{TrustMaterial, TrustStore};

use self::cms::{Checked, Cms, Kind};
use self::locate::{Candidate, Form};
use self::trust::Use;
use crate::inspect::case::Signer;
use crate::inspect::{Finding, SmimeFact, SmimeStatus};
use crate::mail::mime::{Limits, Tree};
use crate::mail::{Mailbox, Timestamp, mime};

/// A signature larger than this is no signature (opaque content is bounded by the message itself).
const MAX_SIGNATURE_BYTES: usize = 1 << 20;
/// More certificates than this in one message are not looked at.
const MAX_CERTIFICATES: usize = 64;

/// Looks at a whole message. `from` is its one author, or `None` where it has none, several, or an unreadable one:
/// then no signature speaks for it. `now` is the time of receipt.
///
/// Findings: `smime.<status>` for every status but `none`; `smime.encrypted` for content that was not seen;
/// `smime.efail` for an encrypted part beside clear ones (G-10); `smime.compressed`.
#[must_use]
pub fn examine(
    raw: &[u8],
    tree: &Tree<'_>,
    trust: &TrustStore,
    from: Option<&Mailbox>,
    now: Timestamp,
) -> (SmimeFact, Vec<Finding>) {
    debug_assert!(tree.parts.first().is_none_or(|p| p.body.len() <= raw.len()), "the tree is of this message");
    let (mut fact, mut findings) = (SmimeFact::default(), Vec::new());
    let mut only_ciphertext = false;
    let measure = Measure { trust, from, now };
    for candidate in locate::candidates(tree) {
        let verdict = judge_candidate(tree, candidate, measure);
        if verdict.compressed {
            findings.push(Finding::new("smime.compressed").with(place(tree, candidate)));
        }
        if let Some(cover) = verdict.encrypted {
            fact.encrypted = true;
            if cover == Cover::Part || has_clear_siblings(tree, candidate.index) {
                findings.push(Finding::new("smime.efail").with(place(tree, candidate)));
            } else if fact.status == SmimeStatus::Valid || verdict.status == SmimeStatus::Valid {
                only_ciphertext = true;
            }
        }
        if verdict.status != SmimeStatus::None && fact.status == SmimeStatus::None {
            take(&mut fact, verdict, candidate.index, tree);
        }
    }
    if only_ciphertext && fact.status == SmimeStatus::Valid {
        // Whoever signs ciphertext need not know, or have written, the text inside.
        fact.status = SmimeStatus::Unverifiable;
        fact.detail = "the signature covers encrypted content only: who wrote it cannot be told".to_owned();
    }
    if fact.encrypted {
        findings.push(Finding::new("smime.encrypted").with("the content is encrypted and was not seen"));
    }
    if fact.status != SmimeStatus::None {
        findings.push(Finding::new(code(fact.status)).with(&fact.detail));
    }
    (fact, findings)
}

/// The content inside opaque signed data, so that other checks can look at it too; `None` for all other octets.
/// Costs nothing unless `der` begins like signed data.
#[must_use]
pub fn opaque_content(der: &[u8]) -> Option<Vec<u8>> {
    if der.first() != Some(&0x30) || memchr::memmem::find(der.get(..32)?, &SIGNED_DATA).is_none() {
        return None;
    }
    let cms = Cms::parse(der)?;
    if cms.kind() == Kind::Signed { cms.content() } else { None }
}

/// id-signedData, 1.2.840.113549.1.7.2, with tag and length.
const SIGNED_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// The finding code of a status.
#[must_use]
pub const fn code(status: SmimeStatus) -> &'static str {
    match status {
        SmimeStatus::None => "smime.none",
        SmimeStatus::Valid => "smime.valid",
        SmimeStatus::Altered => "smime.altered",
        SmimeStatus::Modified => "smime.modified",
        SmimeStatus::Expired => "smime.expired",
        SmimeStatus::Revoked => "smime.revoked",
        SmimeStatus::UnknownRevocation => "smime.unknown-revocation",
        SmimeStatus::Untrusted => "smime.untrusted",
        SmimeStatus::WrongSender => "smime.wrong-sender",
        SmimeStatus::Weak => "smime.weak",
        SmimeStatus::Partial => "smime.partial",
        SmimeStatus::Malformed => "smime.malformed",
        SmimeStatus::Unverifiable => "smime.unverifiable",
    }
}

/// What one candidate is worth by itself.
#[derive(Default)]
struct Verdict {
    status: SmimeStatus,
    detail: String,
    signers: Vec<Signer>,
    /// Encrypted content: all of it, or a part beside clear ones.
    encrypted: Option<Cover>,
    compressed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    Whole,
    Part,
}

impl Verdict {
    fn bad(status: SmimeStatus, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), ..Self::default() }
    }
}

/// The first signature found speaks; below the root it covers a part only (G-05).
fn take(fact: &mut SmimeFact, verdict: Verdict, index: usize, tree: &Tree<'_>) {
    fact.signers = verdict.signers;
    if index == 0 {
        (fact.status, fact.detail) = (verdict.status, verdict.detail);
        return;
    }
    let path = tree.parts.get(index).map_or("", |p| p.path.as_str());
    fact.status = SmimeStatus::Partial;
    fact.detail = format!("only part {path} is signed, not the message ({}: {})", verdict.status, verdict.detail);
}

fn place(tree: &Tree<'_>, candidate: Candidate) -> String {
    format!("part {}", tree.parts.get(candidate.index).map_or("", |p| p.path.as_str()))
}

/// Whether a reader would show this part beside others: every container above it but multipart/signed does.
fn has_clear_siblings(tree: &Tree<'_>, index: usize) -> bool {
    locate::ancestors(tree, index).any(|p| p.content_type != "multipart/signed")
}

/// What a signature is held against.
#[derive(Clone, Copy)]
struct Measure<'a> {
    trust: &'a TrustStore,
    /// The author it has to speak for.
    from: Option<&'a Mailbox>,
    now: Timestamp,
}

fn judge_candidate(tree: &Tree<'_>, candidate: Candidate, measure: Measure<'_>) -> Verdict {
    let Some(part) = tree.parts.get(candidate.index) else { return Verdict::default() };
    let mut verdict = match candidate.form {
        Form::Detached => judge_detached(tree, candidate.index, measure),
        Form::Opaque => judge_opaque(&part.decoded, measure),
    };
    // Another reader may see other parts than those that were hashed (M-02).
    let ambiguous = tree.oddities.iter().any(|o| o.code == "mime.ambiguous" && o.path == part.path);
    if verdict.status == SmimeStatus::Valid && ambiguous {
        verdict.status = SmimeStatus::Malformed;
        verdict.detail = "the structure of the signed part can be read in several ways".to_owned();
    }
    verdict
}

fn judge_detached(tree: &Tree<'_>, index: usize, measure: Measure<'_>) -> Verdict {
    let Some(part) = tree.parts.get(index) else { return Verdict::default() };
    let children: Vec<_> = locate::children(tree, index).map(|(_, child)| child).collect();
    let [content, signature, rest @ ..] = children.as_slice() else {
        return Verdict::bad(SmimeStatus::Malformed, "multipart/signed without a signature part");
    };
    if !locate::is_signature_type(&signature.content_type) {
        let detail = format!("the second part of multipart/signed is {}", signature.content_type);
        return Verdict::bad(SmimeStatus::Unverifiable, detail);
    }
    let Some(octets) = locate::signed_octets(part.body, part.param("boundary").unwrap_or("")) else {
        return Verdict::bad(SmimeStatus::Malformed, "the delimiters of multipart/signed are not well formed");
    };
    // What we hash must be what a reader shows (G-06).
    if !octets.ends_with(content.body) {
        return Verdict::bad(SmimeStatus::Malformed, "the signed part can be read in two ways");
    }
    if signature.decoded.len() > MAX_SIGNATURE_BYTES {
        return Verdict::bad(SmimeStatus::Malformed, "the signature is larger than 1 MiB");
    }
    let mut verdict = match Cms::parse(&signature.decoded) {
        Some(cms) if cms.kind() == Kind::Signed => judge_signed(cms, Some(octets), measure),
        _ => Verdict::bad(SmimeStatus::Malformed, "the signature part is no CMS signed-data"),
    };
    if !rest.is_empty() && verdict.status == SmimeStatus::Valid {
        verdict.status = SmimeStatus::Partial;
        verdict.detail = "parts behind the signature are not signed".to_owned();
    }
    verdict
}

fn judge_opaque(der: &[u8], measure: Measure<'_>) -> Verdict {
    let Some(cms) = Cms::parse(der) else {
        return Verdict::bad(SmimeStatus::Malformed, "the part is no CMS object");
    };
    match cms.kind() {
        Kind::Encrypted => Verdict { encrypted: Some(Cover::Whole), ..Verdict::default() },
        Kind::Compressed => Verdict { compressed: true, ..Verdict::default() },
        Kind::Other => Verdict::bad(SmimeStatus::Malformed, "the CMS object is of a type that mail does not use"),
        Kind::Signed => {
            let content = cms.content();
            if content.is_none() && cms.signer_count() == 0 {
                return Verdict::default(); // certs-only (RFC 8551 §3.8): no signature at all.
            }
            let Some(content) = content else {
                return Verdict::bad(SmimeStatus::Malformed, "an opaque signature without content");
            };
            let mut verdict = judge_signed(cms, None, measure);
            verdict.encrypted = holds_encrypted(&content);
            verdict
        }
    }
}

/// Sign-and-encrypt the other way round: the signed content is an encrypted part, or has one among others.
fn holds_encrypted(content: &[u8]) -> Option<Cover> {
    let tree = mime::parse(content, &Limits::default());
    let encrypted = |c: &&Candidate| {
        let part = tree.parts.get(c.index).filter(|_| c.form == Form::Opaque);
        part.and_then(|p| Cms::parse(&p.decoded)).is_some_and(|inner| inner.kind() == Kind::Encrypted)
    };
    let candidates = locate::candidates(&tree);
    let found = candidates.iter().find(encrypted)?;
    Some(if has_clear_siblings(&tree, found.index) { Cover::Part } else { Cover::Whole })
}

/// A signature over a message: it must speak for the author too (G-01).
fn judge_signed(cms: Cms, octets: Option<&[u8]>, measure: Measure<'_>) -> Verdict {
    let Measure { trust, from, now } = measure;
    let mut verdict = judge_signers(cms, octets, trust, now, Use::Mail);
    if severity(verdict.status) < severity(SmimeStatus::WrongSender) && !speaks_for(&verdict.signers, from) {
        let names: Vec<&str> = verdict.signers.iter().flat_map(|s| &s.addresses).map(String::as_str).collect();
        let author = from.map_or_else(|| "no single author".to_owned(), ToString::to_string);
        verdict.status = SmimeStatus::WrongSender;
        let names = if names.is_empty() { "a certificate without an address".to_owned() } else { names.join(", ") };
        verdict.detail = format!("signed by {names}, From is {author}");
    }
    verdict
}

/// Every SignerInfo by itself, then all of them together (G-02, G-03).
fn judge_signers(mut cms: Cms, octets: Option<&[u8]>, trust: &TrustStore, now: Timestamp, of: Use) -> Verdict {
    let carried = cms.certificates();
    match cms.signer_count() {
        0 => return Verdict::bad(SmimeStatus::Unverifiable, "the signature has no signer"),
        n if n > cms::MAX_SIGNERS => return Verdict::bad(SmimeStatus::Malformed, format!("{n} signers")),
        _ if carried.len() > MAX_CERTIFICATES => {
            return Verdict::bad(SmimeStatus::Malformed, format!("{} certificates", carried.len()));
        }
        _ => {}
    }
    let embedded = octets.is_some() && cms.content().is_some();
    let mut verdict = Verdict { status: SmimeStatus::Valid, ..Verdict::default() };
    for checked in cms.check(octets, &trust.known()) {
        let (status, detail) = judge_signer(&checked, &carried, trust, now, of);
        if let Some(certificate) = &checked.certificate {
            verdict.signers.push(signer::describe(certificate, checked.digest, status));
        }
        if severity(status) >= severity(verdict.status) {
            (verdict.status, verdict.detail) = (status, detail);
        }
    }
    if severity(verdict.status) < severity(SmimeStatus::Altered) && embedded {
        // RFC 8551 §3.5.3.1: eContent is absent; a reader that shows it shows something else (G-06).
        verdict.status = SmimeStatus::Malformed;
        verdict.detail = "the detached signature carries content of its own".to_owned();
    }
    verdict
}

fn speaks_for(signers: &[Signer], from: Option<&Mailbox>) -> bool {
    from.is_some_and(|from| signers.iter().any(|s| signer::speaks_for(&s.addresses, from)))
}

/// One SignerInfo: found, intact, chained, strong.
fn judge_signer(
    checked: &Checked,
    carried: &[X509],
    trust: &TrustStore,
    now: Timestamp,
    of: Use,
) -> (SmimeStatus, String) {
    let Some(certificate) = &checked.certificate else {
        return (SmimeStatus::Unverifiable, "the signer's certificate is not in the message".to_owned());
    };
    if !checked.intact {
        // Not checked is not altered: OpenSSL 3.0 has no CMS signatures with Edwards curves (RFC 8419), and some
        // keys it cannot read at all (DSA with inherited parameters).
        let edwards = |key: PKey<Public>| matches!(key.id(), Id::ED25519 | Id::ED448);
        let unusable = certificate.public_key().map_or(true, edwards);
        return if unusable || digest_strength(checked.digest) == Strength::Unknown {
            (SmimeStatus::Unverifiable, "the signature algorithm is not supported".to_owned())
        } else {
            (SmimeStatus::Altered, "the content is not what was signed".to_owned())
        };
    }
    let (status, detail) = trust.judge(certificate, carried, now, of);
    if severity(status) >= severity(SmimeStatus::Weak) {
        return (status, detail);
    }
    if digest_strength(checked.digest) != Strength::Good {
        let name = checked.digest.long_name().unwrap_or("unknown");
        return (SmimeStatus::Weak, format!("digest {name} is below the floor"));
    }
    match certificate.public_key().ok().as_ref().and_then(|key| trust::weak_key(key)) {
        Some(weak) => (SmimeStatus::Weak, weak),
        None => (status, detail),
    }
}

#[derive(PartialEq, Eq)]
enum Strength {
    Good,
    Weak,
    Unknown,
}

/// SHA-256 and longer, SHA-3 (RFC 8551 §2.1, RFC 8702).
fn digest_strength(digest: Nid) -> Strength {
    match digest {
        Nid::SHA256 | Nid::SHA384 | Nid::SHA512 | Nid::SHA3_256 | Nid::SHA3_384 | Nid::SHA3_512 => Strength::Good,
        Nid::SHA1 | Nid::SHA224 | Nid::MD5 | Nid::RIPEMD160 => Strength::Weak,
        _ => Strength::Unknown,
    }
}

/// Which status speaks for the message when several could: the one that says most against it.
const fn severity(status: SmimeStatus) -> u8 {
    match status {
        SmimeStatus::None => 0,
        SmimeStatus::Valid => 1,
        SmimeStatus::UnknownRevocation => 2,
        SmimeStatus::Weak => 3,
        SmimeStatus::WrongSender => 4,
        SmimeStatus::Partial => 5,
        SmimeStatus::Expired => 6,
        SmimeStatus::Untrusted => 7,
        SmimeStatus::Revoked => 8,
        SmimeStatus::Unverifiable => 9,
        SmimeStatus::Malformed => 10,
        SmimeStatus::Modified => 11,
        SmimeStatus::Altered => 12,
    }
}

/// Certificates for people: name, addresses, dates, and what their chain is worth; one line each.
#[must_use]
pub fn describe_certificates(der: &[Vec<u8>], trust: &TrustStore, now: Timestamp) -> Vec<String> {
    let parsed: Vec<X509> = der.iter().filter_map(|der| X509::from_der(der).ok()).collect();
    let line = |certificate: &X509| {
        let (status, detail) = trust.judge(certificate, &parsed, now, Use::Mail);
        let who = signer::describe(certificate, Nid::UNDEF, status);
        let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
        format!(
            "{} [{}], issued by {}, serial {}, {} to {}: {status}{detail}",
            who.subject.escape_debug(),
            who.addresses.join(", ").escape_debug(),
            who.issuer.escape_debug(),
            who.serial,
            who.not_before,
            who.not_after
        )
    };
    parsed.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
