//! TLSA records and the check of a server's certificate against them (RFC 6698, 7671, 7672). What a record means is
//! plain data here; the check itself is OpenSSL's own (`SSL_dane_*`), which the safe bindings do not offer: five
//! functions of libssl are declared below, and nothing else in this file is unsafe.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_uchar, c_ulong};

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslRef};

/// One TLSA record (RFC 6698 §2.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tlsa {
    pub usage: u8,
    pub selector: u8,
    pub matching: u8,
    pub association: Vec<u8>,
}

impl Tlsa {
    /// From the record's data; `None` when it is too short to be one.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let [usage, selector, matching, association @ ..] = data else { return None };
        Some(Self { usage: *usage, selector: *selector, matching: *matching, association: association.to_vec() })
    }

    /// Whether SMTP can use it: RFC 7672 §3.1.3 leaves usages 0 and 1 out, RFC 7671 §10.1.2 digests of a wrong length.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let right_length = match self.matching {
            0 => !self.association.is_empty(),
            1 => self.association.len() == 32,
            2 => self.association.len() == 64,
            _ => false,
        };
        matches!(self.usage, 2 | 3) && self.selector <= 1 && right_length
    }
}

/// As reports write it (RFC 8460 §4.4): `3 1 1 0C0F…`.
impl std::fmt::Display for Tlsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.association.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

/// `DANE_FLAG_NO_DANE_EE_NAMECHECKS` of <openssl/ssl.h>.
const NO_NAME_CHECKS_FOR_USAGE_3: c_ulong = 1;

// SAFETY: the signatures are those of <openssl/ssl.h> since OpenSSL 1.1.0; libssl is linked by openssl-sys.
unsafe extern "C" {
    fn SSL_CTX_dane_enable(context: *mut openssl_sys::SSL_CTX) -> c_int;
    fn SSL_dane_enable(ssl: *mut openssl_sys::SSL, base: *const c_char) -> c_int;
    fn SSL_dane_tlsa_add(
        ssl: *mut openssl_sys::SSL,
        usage: u8,
        selector: u8,
        matching: u8,
        data: *const c_uchar,
        length: usize,
    ) -> c_int;
    fn SSL_dane_set_flags(ssl: *mut openssl_sys::SSL, flags: c_ulong) -> c_ulong;
    fn SSL_add1_host(ssl: *mut openssl_sys::SSL, host: *const c_char) -> c_int;
}

/// Lets connections of this context be checked by TLSA records.
pub(super) fn enable(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    // SAFETY: the builder owns a live SSL_CTX; the call changes its settings and keeps no pointer.
    if unsafe { SSL_CTX_dane_enable(context.as_ptr()) } > 0 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Arms a connection that has not begun its handshake. The first of `names` goes into SNI; a certificate under a trust
/// anchor (usage 2) must carry one of them (RFC 7672 §3.2.2), one that is pinned itself (usage 3) need not (§3.1.1).
/// Gives how many of the records OpenSSL took; 0 means that nothing would be checked.
pub(super) fn arm(ssl: &mut SslRef, names: &[String], records: &[Tlsa]) -> Result<usize, ErrorStack> {
    let names: Vec<CString> = names.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    let Some((base, others)) = names.split_first() else { return Ok(0) };
    let raw = ssl.as_ptr();
    // SAFETY: `ssl` is live and has not begun its handshake; the strings live through the calls, which copy them.
    let enabled = unsafe {
        let enabled = SSL_dane_enable(raw, base.as_ptr()) > 0;
        SSL_dane_set_flags(raw, NO_NAME_CHECKS_FOR_USAGE_3);
        enabled && others.iter().all(|name| SSL_add1_host(raw, name.as_ptr()) == 1)
    };
    if !enabled {
        return Err(ErrorStack::get());
    }
    let mut taken = 0_usize;
    for record in records.iter().filter(|record| record.is_usable()) {
        let data = &record.association;
        // SAFETY: pointer and length are those of a live slice; OpenSSL copies it and checks what it holds.
        let added = unsafe {
            SSL_dane_tlsa_add(raw, record.usage, record.selector, record.matching, data.as_ptr(), data.len())
        };
        taken = taken.saturating_add(usize::from(added > 0));
    }
    // What was refused left its reasons behind; the next call must not find them.
    drop(ErrorStack::get());
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7672_3_1_3_only_usages_2_and_3_with_whole_digests_are_usable() {
        let record =
            |usage, selector, matching, length| Tlsa { usage, selector, matching, association: vec![7; length] };
        for (usage, selector, matching, length, usable) in [
            (3, 1, 1, 32, true),
            (2, 0, 2, 64, true),
            (3, 0, 0, 500, true),
            (0, 1, 1, 32, false),
            (1, 1, 1, 32, false),
            (4, 1, 1, 32, false),
            (3, 2, 1, 32, false),
            (3, 1, 3, 32, false),
            (3, 1, 1, 31, false),
            (3, 1, 2, 32, false),
            (3, 0, 0, 0, false),
        ] {
            let record = record(usage, selector, matching, length);
            assert_eq!(record.is_usable(), usable, "{usage} {selector} {matching} of {length} octets");
        }
        assert_eq!(Tlsa::read(&[3, 1]), None);
        assert_eq!(Tlsa::read(&[3, 1, 1, 0, 255]).unwrap().to_string(), "3 1 1 00FF");
    }
}
