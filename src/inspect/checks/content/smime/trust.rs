//! Whom we believe: certificates and CRLs that the operator put into the trust folder.
//!
//! A certificate in the trust folder is trusted, root or not: a chain may end there, and nowhere else. Certificates
//! of a sub-folder `pool/` are no anchors: they only fill the gaps of messages that carry nothing but the signer
//! (DOMAIN §3). A store without any CRL judges without revocation and says so. As soon as one CRL lies in the
//! folder, revocation is in use: a certificate whose issuer has a CRL there, or that names a CRL or OCSP source
//! itself, is checked, and where no fresh CRL covers it the answer is `unknown-revocation` (DESIGN §7).
//! RFC 5280 §6; path building and its arithmetic are OpenSSL's.

use std::cmp::Ordering;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKeyRef, Public};
use openssl::stack::{Stack, StackRef};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509Crl, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult};
use serde::{Deserialize, Serialize};

use super::cms;
use crate::inspect::SmimeStatus;
use crate::mail::Timestamp;

/// Links of a chain, anchor included; real ones have three or four.
const MAX_DEPTH: i32 = 10;
/// OpenSSL's level for 112 bits: RSA 2048, SHA-256 (RFC 8551 §2.2, THREATS G-08).
const AUTH_LEVEL: i32 = 2;

/// The content of the trust folder as DER. Made in the main process, handed to inspectors, which see no files.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrustMaterial {
    pub anchors: Vec<Vec<u8>>,
    /// Intermediate certificates that help building chains.
    pub pool: Vec<Vec<u8>>,
    pub crls: Vec<Vec<u8>>,
}

impl TrustMaterial {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Takes one file in: PEM (any number of certificates and CRLs) or DER (one of either).
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn add(&mut self, bytes: &[u8], pooled: bool) -> Result<(), String> {
        let certificates = if pooled { &mut self.pool } else { &mut self.anchors };
        if !bytes.windows(10).any(|w| w == b"-----BEGIN") {
            if X509::from_der(bytes).is_ok() {
                certificates.push(bytes.to_vec());
            } else if X509Crl::from_der(bytes).is_ok() {
                self.crls.push(bytes.to_vec());
            } else {
                return Err("this is neither a certificate nor a CRL, in PEM or in DER".to_owned());
            }
            return Ok(());
        }
        let mut found = 0;
        for block in pem_blocks(bytes) {
            let label = block.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
            let broken = |what: &str| format!("the {what} number {} in this file cannot be read", found + 1);
            match label {
                b"-----BEGIN CERTIFICATE-----" | b"-----BEGIN TRUSTED CERTIFICATE-----" => {
                    let der = X509::from_pem(block).and_then(|c| c.to_der()).map_err(|_| broken("certificate"))?;
                    certificates.push(der);
                }
                b"-----BEGIN X509 CRL-----" => {
                    let der = X509Crl::from_pem(block).and_then(|c| c.to_der()).map_err(|_| broken("CRL"))?;
                    self.crls.push(der);
                }
                _ => continue,
            }
            found += 1;
        }
        if found == 0 { Err("there is no certificate and no CRL in this PEM file".to_owned()) } else { Ok(()) }
    }
}

/// The `-----BEGIN … -----END …` blocks of a PEM file, each up to the next BEGIN.
fn pem_blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = memchr::memmem::find_iter(bytes, b"-----BEGIN").collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).map(move |(start, end)| bytes.get(start..end).unwrap_or_default())
}

/// Anchors, helpers and CRLs, parsed once.
pub struct TrustStore {
    anchors: Vec<X509>,
    pool: Vec<X509>,
    crls: Vec<X509Crl>,
    /// `None` when OpenSSL could not make them: then nobody is believed.
    stores: Option<Stores>,
}

/// What OpenSSL looks paths and revocation up in.
struct Stores {
    mail: X509Store,
    document: X509Store,
    revocation: X509Store,
}

/// What was signed: what a certificate must be made for depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// RFC 8550 §4.4.
    Mail,
    /// RFC 9336 §3.1: authorities name many purposes for it, or none.
    Document,
}

/// What the chain of one certificate is worth: a status, and a sentence for operators.
pub type Judgement = (SmimeStatus, String);

impl TrustStore {
    /// Certificates that OpenSSL cannot read are left out; [`TrustMaterial::add`] has reported them already.
    #[must_use]
    pub fn from_der(material: &TrustMaterial) -> Self {
        let parse =
            |list: &[Vec<u8>]| -> Vec<X509> { list.iter().filter_map(|der| X509::from_der(der).ok()).collect() };
        let anchors = parse(&material.anchors);
        let stores = Stores::over(&anchors).ok();
        let crls = material.crls.iter().filter_map(|der| X509Crl::from_der(der).ok()).collect();
        Self { anchors, pool: parse(&material.pool), crls, stores }
    }

    /// Believes nobody: every signature is at best `untrusted`.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_der(&TrustMaterial::default())
    }

    /// Helpers and anchors: where a signer's certificate may be found when the message does not carry it.
    pub(super) fn known(&self) -> Vec<X509> {
        self.pool.iter().chain(&self.anchors).cloned().collect()
    }

    /// Judges the chain of `certificate` at `now` (the time of receipt; signingTime is the signer's own claim and
    /// proves nothing, THREATS G-07). `carried` came with the message: helpers, never anchors (G-09).
    pub(super) fn judge(&self, certificate: &X509Ref, carried: &[X509], now: Timestamp, of: Use) -> Judgement {
        self.try_judge(certificate, carried, now, of)
            .unwrap_or_else(|e| (SmimeStatus::Untrusted, format!("the chain could not be built: {e}")))
    }

    fn try_judge(
        &self,
        certificate: &X509Ref,
        carried: &[X509],
        now: Timestamp,
        of: Use,
    ) -> Result<Judgement, ErrorStack> {
        let Some(stores) = &self.stores else {
            return Ok((SmimeStatus::Untrusted, "there is no trust store".to_owned()));
        };
        let paths = match of {
            Use::Mail => &stores.mail,
            Use::Document => &stores.document,
        };
        let mut helpers = Stack::new()?;
        for helper in carried.iter().chain(&self.pool) {
            helpers.push(helper.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        let (result, chain) = context.init(paths, certificate, &helpers, |c| {
            cms::set_time(c, now.seconds());
            c.verify_cert()?;
            let chain: Vec<X509> = c.chain().map(|s| s.iter().map(ToOwned::to_owned).collect()).unwrap_or_default();
            Ok((c.error(), chain))
        })?;
        if result != X509VerifyResult::OK {
            return Ok((status_of(result), format!("{} ({})", result.error_string(), subject(certificate))));
        }
        if of == Use::Document && !cms::signs_documents(certificate) {
            let detail = format!("the certificate is not made for signing ({})", subject(certificate));
            return Ok((SmimeStatus::Untrusted, detail));
        }
        if let Some(weak) = chain.iter().find(|c| c.public_key().is_ok_and(|key| weak_key(&key).is_some())) {
            return Ok((SmimeStatus::Weak, format!("the key of {} is below the floor", subject(weak))));
        }
        self.revocation(&stores.revocation, &chain, &helpers, now)
    }

    /// RFC 5280 §6.3 for each certificate but the anchor.
    fn revocation(
        &self,
        store: &X509Store,
        chain: &[X509],
        helpers: &StackRef<X509>,
        now: Timestamp,
    ) -> Result<Judgement, ErrorStack> {
        if self.crls.is_empty() {
            let note = "revocation was not checked: the trust store holds no CRL";
            return Ok((SmimeStatus::Valid, note.to_owned()));
        }
        let mut note = String::new();
        for certificate in chain.iter().take(chain.len().saturating_sub(1)) {
            let listed = self.crls.iter().any(|crl| {
                crl.issuer_name().try_cmp(certificate.issuer_name()).is_ok_and(|order| order == Ordering::Equal)
            });
            if !listed && !names_revocation_source(certificate) {
                note = format!("no CRL covers {} and it names none", subject(certificate));
                continue;
            }
            let mut context = X509StoreContext::new()?;
            let result = context.init(store, certificate, helpers, |c| {
                cms::set_time(c, now.seconds());
                cms::verify_with_crls(c, &self.crls)
            })?;
            if result != X509VerifyResult::OK {
                let status = match status_of(result) {
                    SmimeStatus::Revoked => SmimeStatus::Revoked,
                    // The path was good without revocation: whatever fails now is the CRL's fault.
                    _ => SmimeStatus::UnknownRevocation,
                };
                return Ok((status, format!("{} ({})", result.error_string(), subject(certificate))));
            }
        }
        Ok((SmimeStatus::Valid, note))
    }
}

impl Stores {
    fn over(anchors: &[X509]) -> Result<Self, ErrorStack> {
        Ok(Self {
            mail: store(anchors, Check::Path(Use::Mail))?,
            document: store(anchors, Check::Path(Use::Document))?,
            revocation: store(anchors, Check::Revocation)?,
        })
    }
}

/// What OpenSSL looks anchors up in; made once, for looking-up sorts it.
fn store(anchors: &[X509], check: Check) -> Result<X509Store, ErrorStack> {
    let mut param = X509VerifyParam::new()?;
    // A chain may end at any certificate of the store; it holds only what the operator trusts.
    let mut flags = X509VerifyFlags::PARTIAL_CHAIN;
    param.set_depth(MAX_DEPTH);
    match check {
        Check::Path(of) => {
            if of == Use::Mail {
                param.set_purpose(X509PurposeId::SMIME_SIGN)?;
            }
            param.set_auth_level(AUTH_LEVEL);
            flags |= X509VerifyFlags::POLICY_CHECK;
            cms::accept_any_policy(&mut param);
        }
        Check::Revocation => {
            flags |= X509VerifyFlags::CRL_CHECK | X509VerifyFlags::EXTENDED_CRL_SUPPORT;
            flags |= X509VerifyFlags::USE_DELTAS;
        }
    }
    param.set_flags(flags)?;
    let mut builder = X509StoreBuilder::new()?;
    for anchor in anchors {
        builder.add_cert(anchor.clone())?;
    }
    builder.set_param(&param)?;
    Ok(builder.build())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    Path(Use),
    Revocation,
}

fn names_revocation_source(certificate: &X509Ref) -> bool {
    cms::has_extension(certificate, Nid::CRL_DISTRIBUTION_POINTS)
        || certificate.ocsp_responders().is_ok_and(|list| !list.is_empty())
}

/// RSA 2048, P-256 and Edwards curves are the floor (THREATS G-08); DSA is not on the list of DOMAIN §3.
pub(super) fn weak_key(key: &PKeyRef<Public>) -> Option<String> {
    let bits = key.bits();
    let (name, good) = match key.id() {
        Id::RSA => ("RSA", bits >= 2048),
        Id::RSA_PSS => ("RSA-PSS", bits >= 2048),
        Id::EC => ("EC", bits >= 256),
        Id::ED25519 | Id::ED448 => return None,
        Id::DSA => ("DSA", false),
        _ => ("unknown", false),
    };
    (!good).then(|| format!("{name} key of {bits} bits"))
}

/// From `openssl/x509_vfy.h`; the numbers are part of its interface.
fn status_of(result: X509VerifyResult) -> SmimeStatus {
    match result.as_raw() {
        0 => SmimeStatus::Valid,
        9 | 10 => SmimeStatus::Expired,
        23 => SmimeStatus::Revoked,
        3 | 5 | 8 | 11 | 12 | 15 | 16 | 33 | 35 | 36 | 44 | 54 => SmimeStatus::UnknownRevocation,
        66..=68 => SmimeStatus::Weak,
        _ => SmimeStatus::Untrusted,
    }
}

pub(super) fn subject(certificate: &X509Ref) -> String {
    super::signer::name(certificate.subject_name())
}
