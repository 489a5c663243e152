//! Who signed: a certificate as people read it, and whether it speaks for the From address.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::x509::{X509NameRef, X509Ref};

use super::cms;
use crate::inspect::SmimeStatus;
use crate::inspect::case::Signer;
use crate::mail::{Mailbox, Timestamp};

/// Addresses shown of one certificate; one with more names than this is not shown in full.
const MAX_ADDRESSES: usize = 50;

/// The certificate's data for receipts; `status` is filled in by the caller.
pub fn describe(certificate: &X509Ref, digest: Nid, status: SmimeStatus) -> Signer {
    let serial = certificate.serial_number().to_bn().and_then(|n| n.to_hex_str().map(|s| s.to_string()));
    Signer {
        subject: name(certificate.subject_name()),
        issuer: name(certificate.issuer_name()),
        serial: serial.unwrap_or_default(),
        addresses: addresses(certificate),
        not_before: date(certificate.not_before()),
        not_after: date(certificate.not_after()),
        digest: digest.short_name().unwrap_or("unknown").to_ascii_lowercase(),
        status,
    }
}

/// A distinguished name on one line, most specific first, as it stands (controls are escaped where it is shown).
pub fn name(name: &X509NameRef) -> String {
    let mut parts: Vec<String> = name
        .entries()
        .take(20)
        .map(|entry| {
            let key = entry.object().nid().short_name().unwrap_or("?");
            let value = entry.data().to_string().unwrap_or_default();
            let value: String = value.chars().take(200).collect();
            format!("{key}={value}")
        })
        .collect();
    parts.reverse();
    parts.join(", ")
}

/// All rfc822Names; the e-mail addresses of the subject only where there is no rfc822Name (THREATS G-01).
pub fn addresses(certificate: &X509Ref) -> Vec<String> {
    let Some(names) = certificate.subject_alt_names() else {
        // A SAN that cannot be read must not open the door to the weaker name.
        let unreadable = cms::has_extension(certificate, Nid::SUBJECT_ALT_NAME);
        return if unreadable { Vec::new() } else { subject_addresses(certificate) };
    };
    let found: Vec<String> = names.iter().filter_map(|n| n.email()).take(MAX_ADDRESSES).map(str::to_owned).collect();
    if found.is_empty() { subject_addresses(certificate) } else { found }
}

fn subject_addresses(certificate: &X509Ref) -> Vec<String> {
    certificate
        .subject_name()
        .entries_by_nid(Nid::PKCS9_EMAILADDRESS)
        .take(MAX_ADDRESSES)
        .filter_map(|entry| entry.data().to_string().ok())
        .collect()
}

/// RFC 8550 §3: one of the certificate's addresses is the From address. The local part must be the same octet for
/// octet, domains are compared as A-labels; a name with controls in it is no address at all (NUL tricks).
pub fn speaks_for(addresses: &[String], from: &Mailbox) -> bool {
    addresses
        .iter()
        .filter_map(|address| Mailbox::parse(address).ok())
        .any(|mailbox| mailbox.local() == from.local() && mailbox.domain() == from.domain())
}

fn date(time: &Asn1TimeRef) -> String {
    let seconds = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    seconds.map_or_else(
        |_| time.to_string(),
        |d| Timestamp::from_seconds(i64::from(d.days) * 86_400 + i64::from(d.secs)).rfc3339(),
    )
}
