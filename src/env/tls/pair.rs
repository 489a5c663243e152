//! A certificate and its key as files, looked at before anything uses them: can they be read, do they belong
//! together, until when do they hold. Plain types only: `policy` and `doctor` ask, and know nothing of OpenSSL.

use openssl::asn1::Asn1Time;
use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::mail::Timestamp;

/// What a certificate says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// DNS names of the subject alternative name, else the common name.
    pub names: Vec<String>,
}

/// Why a pair cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PairError {
    #[error("this is no certificate that can be read: {0}")]
    Certificate(String),
    #[error("this is no private key that can be read (without a password): {0}")]
    Key(String),
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// The first certificate of a PEM file.
pub fn certificate(pem: &[u8]) -> Result<CertificateFacts, PairError> {
    let certificate = first(pem)?;
    let bad = |e: openssl::error::ErrorStack| PairError::Certificate(e.to_string());
    let epoch = Asn1Time::from_unix(0).map_err(bad)?;
    let when = |time: &openssl::asn1::Asn1TimeRef| {
        let since = epoch.diff(time).map_err(bad)?;
        Ok(Timestamp::from_seconds(i64::from(since.days) * 86_400 + i64::from(since.secs)))
    };
    let mut names: Vec<String> =
        certificate.subject_alt_names().iter().flatten().filter_map(|name| name.dnsname().map(str::to_owned)).collect();
    if names.is_empty() {
        let common = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME).next();
        names.extend(common.and_then(|e| e.data().to_string().ok()).map(|s| s.to_string()));
    }
    Ok(CertificateFacts {
        not_before: when(certificate.not_before())?,
        not_after: when(certificate.not_after())?,
        names,
    })
}

/// Whether `key` is the private key of the first certificate in `pem`.
pub fn belong_together(pem: &[u8], key: &[u8]) -> Result<(), PairError> {
    let certificate = first(pem)?;
    // An empty password keeps OpenSSL from asking at the terminal.
    let key = PKey::private_key_from_pem_passphrase(key, b"").map_err(|e| PairError::Key(e.to_string()))?;
    let public = certificate.public_key().map_err(|e| PairError::Certificate(e.to_string()))?;
    if public.public_eq(&key) { Ok(()) } else { Err(PairError::Mismatch) }
}

fn first(pem: &[u8]) -> Result<X509, PairError> {
    X509::from_pem(pem).map_err(|e| PairError::Certificate(e.to_string()))
}

#[cfg(test)]
pub(crate) mod tests {
    use openssl::asn1::Asn1Integer;
    use openssl::bn::BigNum;
    use openssl::hash::MessageDigest;
    use openssl::pkey::Private;
    use openssl::rsa::Rsa;
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509Builder, X509NameBuilder};

    use super::*;

    /// A self-signed certificate for mx.test and its key.
    pub(crate) fn made(from: i64, until: i64) -> (Vec<u8>, PKey<Private>) {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "common.test").unwrap();
        let name = name.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&Asn1Integer::from_bn(&BigNum::from_u32(7).unwrap()).unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(from).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(until).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let names = SubjectAlternativeName::new().dns("mx.test").build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        (builder.build().to_pem().unwrap(), key)
    }

    #[test]
    fn certificates_tell_names_and_dates() {
        let (pem, _) = made(1_700_000_000, 1_900_000_001);
        let facts = certificate(&pem).unwrap();
        assert_eq!(facts.not_before, Timestamp::from_seconds(1_700_000_000));
        assert_eq!(facts.not_after, Timestamp::from_seconds(1_900_000_001));
        assert_eq!(facts.names, ["mx.test"]);
        assert!(matches!(certificate(b"-----BEGIN CERTIFICATE-----\nAA==\n"), Err(PairError::Certificate(_))));
    }

    #[test]
    fn a_key_belongs_to_its_certificate_only() {
        let (pem, key) = made(0, 1_900_000_000);
        let (_, other) = made(0, 1_900_000_000);
        let pem_of = |k: &PKey<Private>| k.private_key_to_pem_pkcs8().unwrap();
        assert_eq!(belong_together(&pem, &pem_of(&key)), Ok(()));
        assert_eq!(belong_together(&pem, &pem_of(&other)), Err(PairError::Mismatch));
        let locked = key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret").unwrap();
        assert!(matches!(belong_together(&pem, &locked), Err(PairError::Key(_))));
    }
}
