//! DKIM signing, relaxed/relaxed (RFC 6376, RFC 8301, RFC 8463).
//!
//! Every field of the list is signed as often as it occurs, and those that readers believe once more: a second From,
//! Subject or Content-Type put on top later breaks the signature (RFC 6376 §8.15, THREATS A-13, A-14). No `l=`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::sha::{Sha256, sha256};
use openssl::sign::Signer;

use super::SealError;
use super::keys::{Algorithm, DkimPair};
use crate::mail::header::Headers;
use crate::mail::{Span, Timestamp};

/// How long a signature counts: longer than our queue and the receiver's together (5 days each).
const LIFETIME: Span = Span::days(14);
/// Signed, and protected against being added.
const OVERSIGNED: [&str; 10] = [
    "from",
    "reply-to",
    "subject",
    "date",
    "to",
    "cc",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];
/// Signed when present.
const SIGNED: [&str; 7] =
    ["sender", "in-reply-to", "references", "list-id", "list-unsubscribe", "list-unsubscribe-post", "auto-submitted"];
/// Instances of one field that are signed; a message with more is not one of ours.
const MAX_INSTANCES: usize = 10;

/// The hash of the body after relaxed canonicalisation (RFC 6376 §3.4.4), base64.
pub fn body_hash(body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let mut block = Vec::with_capacity(BLOCK + 1024);
    let mut empty_lines = 0_usize;
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|r| !r.is_empty()) {
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        let line = rest.get(..length).unwrap_or(rest);
        at += length;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = trim_blanks_end(line.strip_suffix(b"\r").unwrap_or(line));
        if line.is_empty() {
            empty_lines += 1; // Those at the end do not count.
            continue;
        }
        for _ in 0..std::mem::take(&mut empty_lines) {
            block.extend_from_slice(b"\r\n");
            flush(&mut block, &mut hash);
        }
        reduce_blanks(line, &mut block);
        block.extend_from_slice(b"\r\n");
        flush(&mut block, &mut hash);
    }
    hash.update(&block);
    STANDARD.encode(hash.finish())
}

const BLOCK: usize = 16 * 1024;

fn flush(block: &mut Vec<u8>, hash: &mut Sha256) {
    if block.len() >= BLOCK {
        hash.update(block);
        block.clear();
    }
}

fn trim_blanks_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !is_blank(*b)).map_or(0, |i| i + 1);
    line.get(..end).unwrap_or(line)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Runs of blanks become one space.
fn reduce_blanks(line: &[u8], out: &mut Vec<u8>) {
    let mut rest = line;
    while let Some(i) = memchr::memchr2(b' ', b'\t', rest) {
        let (word, blanks) = rest.split_at(i);
        out.extend_from_slice(word);
        out.push(b' ');
        let skip = blanks.iter().position(|b| !is_blank(*b)).unwrap_or(blanks.len());
        rest = blanks.get(skip..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// RFC 6376 §3.4.2, without the line end.
fn canonical_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let unfolded: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let start = unfolded.iter().position(|b| !is_blank(*b)).unwrap_or(unfolded.len());
    reduce_blanks(trim_blanks_end(unfolded.get(start..).unwrap_or_default()), out);
}

/// The DKIM-Signature field over header section `head` and a body whose hash is `body_hash`.
///
/// # Errors
/// Only when OpenSSL does not sign.
pub fn sign(pair: &DkimPair, head: &[u8], body_hash: &str, now: Timestamp) -> Result<Vec<u8>, SealError> {
    let headers = Headers::parse(head);
    let (names, mut input) = select(&headers);
    let seconds = now.seconds();
    let expiry = (now + LIFETIME).seconds();
    let mut field = format!(
        "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={};\r\n\ts={}; t={seconds}; x={expiry};\r\n\th=",
        pair.algorithm.as_str(),
        pair.domain,
        pair.selector
    );
    fold_list(&names, &mut field);
    field.push_str(&format!(";\r\n\tbh={body_hash};\r\n\tb="));
    let value = field.strip_prefix("DKIM-Signature:").unwrap_or(&field);
    canonical_field("dkim-signature", value.as_bytes(), &mut input);
    let signature = signature(pair, &input).map_err(|e| SealError::Dkim(pair.record_name(), e.to_string()))?;
    for (i, letter) in STANDARD.encode(signature).chars().enumerate() {
        if i > 0 && i % 72 == 0 {
            field.push_str("\r\n\t");
        }
        field.push(letter);
    }
    field.push_str("\r\n");
    Ok(field.into_bytes())
}

/// The names for `h=` and their canonical fields, instances taken from the bottom up (RFC 6376 §5.4.2).
fn select(headers: &Headers<'_>) -> (Vec<&'static str>, Vec<u8>) {
    let (mut names, mut input) = (Vec::new(), Vec::with_capacity(2048));
    for (list, extra) in [(&OVERSIGNED[..], 1), (&SIGNED[..], 0)] {
        for name in list {
            let found: Vec<_> = headers.all(name).take(MAX_INSTANCES).collect();
            for field in found.iter().rev() {
                canonical_field(name, field.value, &mut input);
                input.extend_from_slice(b"\r\n");
            }
            names.extend(std::iter::repeat_n(*name, found.len() + extra));
        }
    }
    (names, input)
}

fn fold_list(names: &[&str], out: &mut String) {
    let mut column = 10;
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            out.push(':');
        }
        if column + name.len() > 72 {
            out.push_str("\r\n\t ");
            column = 9;
        }
        out.push_str(name);
        column += name.len() + 1;
    }
}

fn signature(pair: &DkimPair, input: &[u8]) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    match pair.algorithm {
        Algorithm::RsaSha256 => {
            let mut signer = Signer::new(MessageDigest::sha256(), &pair.key)?;
            signer.sign_oneshot_to_vec(input)
        }
        // RFC 8463 §3: PureEdDSA over the SHA-256 of the input.
        Algorithm::Ed25519Sha256 => Signer::new_without_digest(&pair.key)?.sign_oneshot_to_vec(&sha256(input)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(body: &str, expected: &str) {
        assert_eq!(body_hash(body.as_bytes()), STANDARD.encode(sha256(expected.as_bytes())), "{body:?}");
    }

    #[test]
    fn rfc6376_3_4_4_relaxed_bodies() {
        canonical(" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n");
        canonical("", "");
        canonical("\r\n \r\n", "");
        canonical("x\r\n\r\n\ty", "x\r\n\r\n y\r\n");
        canonical(&"a  b\r\n".repeat(9000), &"a b\r\n".repeat(9000));
    }

    #[test]
    fn rfc6376_3_4_2_relaxed_fields() {
        let mut out = Vec::new();
        canonical_field("b", b" Y\t\r\n\tZ  ", &mut out);
        assert_eq!(out, b"b:Y Z");
    }

    #[test]
    fn rfc6376_8_15_from_is_signed_once_more_than_it_stands() {
        let (names, input) = select(&Headers::parse(b"To: b\r\nFrom: a\r\nTo: c\r\n\r\n"));
        assert_eq!(names.iter().filter(|n| **n == "from").count(), 2);
        assert_eq!(names.iter().filter(|n| **n == "to").count(), 3);
        assert_eq!(input, b"from:a\r\nto:c\r\nto:b\r\n");
    }
}
