//! Signatures inside PDF files (ISO 32000-2 §12.8, ETSI EN 319 142-1), held against the same trust folder as S/MIME and
//! judged with the same floors. The structure of the file is the work of the reader of PDF; here is the arithmetic.
//!
//! A file is worth what its worst signature is worth. It is `modified` when anything but proofs of validity came behind
//! the last signature that holds, or when a later signer changed more than an earlier one allows.

use std::fmt::Write as _;

use openssl::hash::{MessageDigest, hash};

use super::cms::{Cms, Kind};
use super::trust::Use;
use super::{TrustStore, Verdict, judge_signers, severity};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::document::{self, Change, Signature};
use crate::inspect::{Finding, SmimeStatus};
use crate::mail::Timestamp;

/// Signed files of one message that are looked at.
const FILES: usize = 20;
/// Octets of one signature: lists of revoked certificates may lie in it.
const SIGNATURE: usize = 8 << 20;
/// Octets that are hashed for one message.
const HASHED: usize = 512 << 20;

/// The worst of all signed PDF files among `objects`, and a finding for each, `pdf.signature-<status>`.
pub fn examine(
    objects: &[Object<'_>],
    budget: &Budget,
    trust: &TrustStore,
    now: Timestamp,
) -> (SmimeStatus, Vec<Finding>) {
    let (mut worst, mut findings, mut left) = (SmimeStatus::None, Vec::new(), HASHED);
    for object in objects.iter().filter(|o| o.kind == "application/pdf") {
        let signatures = document::signatures(&object.data, budget);
        let Some(verdict) = judge(&object.data, &signatures, trust, now, &mut left) else { continue };
        let name: String = object.name().chars().take(80).collect();
        let detail = format!("{}: {name:?} {}", object.path, verdict.detail);
        findings.push(Finding::new(code(verdict.status)).with(detail));
        if severity(verdict.status) > severity(worst) {
            worst = verdict.status;
        }
        if findings.len() >= FILES {
            break;
        }
    }
    (worst, findings)
}

const fn code(status: SmimeStatus) -> &'static str {
    match status {
        SmimeStatus::None => "pdf.signature-none",
        SmimeStatus::Valid => "pdf.signature-valid",
        SmimeStatus::Altered => "pdf.signature-altered",
        SmimeStatus::Modified => "pdf.signature-modified",
        SmimeStatus::Expired => "pdf.signature-expired",
        SmimeStatus::Revoked => "pdf.signature-revoked",
        SmimeStatus::UnknownRevocation => "pdf.signature-unknown-revocation",
        SmimeStatus::Untrusted => "pdf.signature-untrusted",
        SmimeStatus::WrongSender => "pdf.signature-wrong-sender",
        SmimeStatus::Weak => "pdf.signature-weak",
        SmimeStatus::Partial => "pdf.signature-partial",
        SmimeStatus::Malformed => "pdf.signature-malformed",
        SmimeStatus::Unverifiable => "pdf.signature-unverifiable",
    }
}

/// All signatures of one file together; `None` when it has none but time stamps.
fn judge(
    data: &[u8],
    signatures: &[Signature],
    trust: &TrustStore,
    now: Timestamp,
    left: &mut usize,
) -> Option<Verdict> {
    let consents: Vec<&Signature> = signatures.iter().filter(|s| !s.is_time_stamp()).collect();
    let mut verdicts: Vec<Verdict> = consents.iter().map(|s| check(data, s, trust, now, left)).collect();
    // Whoever signed the whole file vouches for what others added before; whether that one is trusted counts by itself.
    let vouched = consents
        .iter()
        .zip(&verdicts)
        .any(|(s, v)| s.later <= Change::Validation && severity(v.status) < severity(SmimeStatus::Unverifiable));
    for (signature, verdict) in consents.iter().zip(&mut verdicts) {
        let fine = signature.later <= Change::Validation || (vouched && signature.later <= signature.allows);
        if signature.fault.is_none() && !fine && severity(verdict.status) < severity(SmimeStatus::Modified) {
            verdict.status = SmimeStatus::Modified;
            verdict.detail = format!("the file was changed after it was signed ({})", words(signature.later));
        }
    }
    let signers: Vec<String> = verdicts.iter().flat_map(|v| &v.signers).map(|s| s.subject.clone()).take(4).collect();
    let mut worst = verdicts.into_iter().max_by_key(|v| severity(v.status))?;
    let mut detail = format!("is signed by {}: {}", signers.join("; "), worst.status);
    if signers.is_empty() {
        detail = format!("holds a signature: {}", worst.status);
    }
    if !worst.detail.is_empty() {
        let _ = write!(detail, ", {}", worst.detail);
    }
    worst.detail = detail;
    Some(worst)
}

const fn words(change: Change) -> &'static str {
    match change {
        Change::None | Change::Validation => "nothing that counts",
        Change::Form => "fields or signatures",
        Change::Note => "notes",
        Change::Content => "its content",
    }
}

/// One signature by itself, over what it covers.
fn check(data: &[u8], signature: &Signature, trust: &TrustStore, now: Timestamp, left: &mut usize) -> Verdict {
    if let Some(fault) = signature.fault {
        return Verdict::bad(SmimeStatus::Malformed, fault);
    }
    if signature.contents.iter().all(|b| *b == 0) {
        return Verdict::bad(SmimeStatus::Unverifiable, "its signature is empty");
    }
    let pieces: Vec<&[u8]> = signature.covered.iter().filter_map(|range| data.get(range.clone())).collect();
    let octets = pieces.concat();
    let Some(rest) = left.checked_sub(octets.len()).filter(|_| signature.contents.len() <= SIGNATURE) else {
        return Verdict::bad(SmimeStatus::Unverifiable, "there is too much to be hashed");
    };
    *left = rest;
    let cms = Cms::parse(&signature.contents).filter(|cms| cms.kind() == Kind::Signed);
    let Some(cms) = cms else { return Verdict::bad(SmimeStatus::Malformed, "its signature is no CMS signed-data") };
    match signature.coding.as_str() {
        "adbe.pkcs7.detached" | "ETSI.CAdES.detached" => judge_signers(cms, Some(&octets), trust, now, Use::Document),
        "adbe.pkcs7.sha1" => by_digest(cms, &octets, trust, now),
        other => Verdict::bad(SmimeStatus::Unverifiable, format!("its coding {other:?} is not known")),
    }
}

/// ISO 32000-1 §12.8.3.3: the signed content is the SHA-1 digest of the file.
fn by_digest(cms: Cms, octets: &[u8], trust: &TrustStore, now: Timestamp) -> Verdict {
    let digest = hash(MessageDigest::sha1(), octets).map(|d| d.to_vec()).unwrap_or_default();
    if cms.content() != Some(digest) {
        return Verdict::bad(SmimeStatus::Altered, "the content is not what was signed");
    }
    let mut verdict = judge_signers(cms, None, trust, now, Use::Document);
    if severity(verdict.status) < severity(SmimeStatus::Weak) {
        (verdict.status, verdict.detail) = (SmimeStatus::Weak, "digest sha1 is below the floor".to_owned());
    }
    verdict
}

#[cfg(test)]
mod tests;
