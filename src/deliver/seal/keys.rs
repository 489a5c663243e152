//! The agency's keys for outgoing mail, parsed and checked when configuration loads.

use std::fmt;

use openssl::pkey::{Id, PKey, Private};
use openssl::x509::X509;

use crate::inspect::checks::content::smime::certificate_addresses;
use crate::mail::{Domain, Mailbox, Timestamp};

/// `a=` of a DKIM signature (RFC 6376 §3.3, RFC 8463).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    RsaSha256,
    Ed25519Sha256,
}

impl Algorithm {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
    /// `k=` of the key record (RFC 6376 §3.6.1, RFC 8463 §4.2).
    #[must_use]
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

/// One DKIM key under its selector.
pub struct DkimPair {
    pub(super) domain: Domain,
    pub(super) selector: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: PKey<Private>,
}

impl DkimPair {
    /// From PEM (PKCS#8 or PKCS#1).
    ///
    /// # Errors
    /// A sentence: no key, an encrypted one, RSA below 2048 bits (RFC 8301 §3.2), another algorithm, a bad selector.
    pub fn parse(domain: Domain, selector: &str, pem: &[u8]) -> Result<Self, String> {
        if !is_selector(selector) {
            return Err(format!("\"{selector}\" is not a selector: use letters, digits, - and dots (RFC 6376 §3.1)"));
        }
        let key = read_key(pem)?;
        let algorithm = match key.id() {
            Id::RSA if key.bits() < 2048 => {
                return Err(format!("the RSA key has {} bits, at least 2048 are needed", key.bits()));
            }
            // Verifiers must take up to 4096 bits and may refuse more (RFC 8301 §3.2).
            Id::RSA if key.bits() > 4096 => {
                return Err(format!("the RSA key has {} bits, verifiers take 4096 at most", key.bits()));
            }
            Id::RSA => Algorithm::RsaSha256,
            Id::ED25519 => Algorithm::Ed25519Sha256,
            _ => return Err("the key is neither RSA nor Ed25519".to_owned()),
        };
        Ok(Self { domain, selector: selector.to_ascii_lowercase(), algorithm, key })
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where the public key is published.
    #[must_use]
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The TXT record's text (RFC 6376 §3.6.1; Ed25519 as the bare 32 octets of RFC 8463 §4.2).
    ///
    /// # Errors
    /// OpenSSL's own words.
    pub fn record_value(&self) -> Result<String, String> {
        use base64::Engine as _;
        let octets = match self.algorithm {
            Algorithm::RsaSha256 => self.key.public_key_to_der(),
            Algorithm::Ed25519Sha256 => self.key.raw_public_key(),
        };
        let octets = octets.map_err(|e| e.to_string())?;
        let encoded = base64::engine::general_purpose::STANDARD.encode(octets);
        Ok(format!("v=DKIM1; k={}; p={encoded}", self.algorithm.key_type()))
    }
}

impl fmt::Debug for DkimPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DkimPair({}, {})", self.record_name(), self.algorithm.as_str())
    }
}

fn is_selector(selector: &str) -> bool {
    !selector.is_empty() && selector.len() <= 63 && Domain::parse(selector).is_ok()
}

fn read_key(pem: &[u8]) -> Result<PKey<Private>, String> {
    if memchr::memmem::find(pem, b"ENCRYPTED").is_some() {
        return Err("the key is encrypted with a password: store it without one, readable by the gateway only".into());
    }
    PKey::private_key_from_pem(pem).map_err(|_| "there is no private key in PEM form in this file".to_owned())
}

/// The agency's certificate with its key.
pub struct SmimePair {
    pub(super) certificate: X509,
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
    addresses: Vec<String>,
    not_after: Timestamp,
}

impl SmimePair {
    /// `certificates`: PEM, the signer first, then its chain.
    ///
    /// # Errors
    /// A sentence: nothing to read, or a key that belongs to another certificate.
    pub fn parse(certificates: &[u8], key: &[u8]) -> Result<Self, String> {
        let mut chain = X509::stack_from_pem(certificates)
            .map_err(|_| "a certificate in this file cannot be read".to_owned())?
            .into_iter();
        let certificate = chain.next().ok_or("there is no certificate in PEM form in this file")?;
        let key = read_key(key)?;
        let public = certificate.public_key().map_err(|e| format!("the certificate has no usable key: {e}"))?;
        if !public.public_eq(&key) {
            return Err("the key does not belong to the first certificate of the file".to_owned());
        }
        match key.id() {
            Id::RSA if key.bits() >= 2048 => {}
            Id::EC if key.bits() >= 256 => {}
            // OpenSSL 3.0 cannot make CMS signatures with Edwards curves, and few mail programs read them.
            _ => return Err("the key must be RSA with 2048 bits or more, or EC with P-256 or P-384".to_owned()),
        }
        let not_after = openssl::asn1::Asn1Time::from_unix(0)
            .and_then(|epoch| epoch.diff(certificate.not_after()))
            .map_err(|e| format!("the certificate's end date cannot be read: {e}"))?;
        let not_after = Timestamp::from_seconds(i64::from(not_after.days) * 86_400 + i64::from(not_after.secs));
        let addresses = certificate_addresses(&certificate);
        Ok(Self { certificate, chain: chain.collect(), key, addresses, not_after })
    }

    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether the certificate stands for senders of this domain: one of its addresses is there, or it has none.
    #[must_use]
    pub(super) fn serves(&self, from: &Mailbox) -> bool {
        self.addresses.is_empty()
            || self.addresses.iter().any(|a| Mailbox::parse(a).is_ok_and(|m| m.domain() == from.domain()))
    }
}

impl fmt::Debug for SmimePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmimePair({})", self.addresses.join(", "))
    }
}

/// All keys of one agency. Empty: mail goes out unsigned.
#[derive(Debug, Default)]
pub struct SealKeys {
    pub dkim: Vec<DkimPair>,
    pub smime: Option<SmimePair>,
}

impl SealKeys {
    /// The domain in whose name reports are written and signed.
    #[must_use]
    pub fn signing_domain(&self) -> Option<&Domain> {
        self.dkim.first().map(|pair| &pair.domain)
    }
    /// Whether there is anything to sign with: without, sealing is cheap and needs no thread pool.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.dkim.is_empty() && self.smime.is_none()
    }
}

/// A fresh private key in PKCS#8 PEM: RSA with 2048 bits, or Ed25519.
///
/// # Errors
/// OpenSSL's own words.
pub fn new_key(ed25519: bool) -> Result<Vec<u8>, String> {
    let key =
        if ed25519 { PKey::generate_ed25519() } else { openssl::rsa::Rsa::generate(2048).and_then(PKey::from_rsa) };
    key.and_then(|key| key.private_key_to_pem_pkcs8()).map_err(|e| e.to_string())
}
