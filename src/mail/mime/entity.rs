//! Small readings of one entity: what its encoding is called, where its header ends, how it looks without controls.

use std::borrow::Cow;

use super::{Part, transfer, uu};
use crate::mail::header::Headers;

/// The body of an encoded multipart behind its own type, as an entity to be parsed.
pub(super) fn rewrap(part: &Part<'_>, decoded: &[u8]) -> Vec<u8> {
    let mut entity = b"Content-Type:".to_vec();
    entity.extend_from_slice(part.headers.find("content-type").map_or(b" multipart/mixed".as_slice(), |f| f.value));
    entity.extend_from_slice(b"\r\n\r\n");
    entity.extend_from_slice(decoded);
    entity
}

pub(super) fn decode<'b>(encoding: &str, body: &'b [u8]) -> Cow<'b, [u8]> {
    match encoding {
        "base64" => Cow::Owned(transfer::base64(body)),
        "quoted-printable" => transfer::quoted_printable(body),
        "binhex" => Cow::Owned(uu::binhex(body).unwrap_or_else(|| body.to_vec())),
        "x-uuencode" => Cow::Owned(uu::uu_files(body, 1).pop().map_or_else(|| uu::uu_lines(body), |f| f.data)),
        _ => Cow::Borrowed(body),
    }
}

pub(super) fn known_encoding(name: &str) -> Option<&'static str> {
    Some(match name {
        "base64" => "base64",
        "quoted-printable" => "quoted-printable",
        // Honest programs misspell these two; no client reads anything but the octets as they are.
        "7bit" | "7-bit" | "7bits" => "7bit",
        "8bit" | "8-bit" | "8bits" => "8bit",
        "binary" => "binary",
        "x-uuencode" | "uuencode" | "x-uue" | "uue" => "x-uuencode",
        _ => return None,
    })
}

/// Every encoding whose name can be seen in a field that is no name.
pub(super) fn loose_encodings(text: &str) -> Vec<&'static str> {
    let plain: String = text.to_ascii_lowercase().chars().filter(|c| !matches!(c, '\\' | '"' | ' ')).collect();
    let order = [("base64", "base64"), ("quoted", "quoted-printable"), ("uu", "x-uuencode"), ("binhex", "binhex")];
    order.iter().filter(|(mark, _)| plain.contains(mark)).map(|(_, name)| *name).collect()
}

pub(super) fn distinct(texts: &[String]) -> usize {
    texts.iter().enumerate().filter(|(i, t)| !texts.iter().take(*i).any(|u| u == *t)).take(2).count()
}

pub(super) fn cut_text(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The entity as a client sees it that ends lines at a lone carriage return and drops other controls; only where a
/// Content field appears by that.
pub(super) fn without_controls(head: &[u8], headers: &Headers<'_>, octets: &[u8]) -> Option<Vec<u8>> {
    let odd = |at: usize, b: u8| match b {
        b'\r' => head.get(at + 1) != Some(&b'\n'),
        b'\n' | b'\t' => false,
        _ => b < b' ',
    };
    if !head.iter().enumerate().any(|(at, b)| odd(at, *b)) {
        return None;
    }
    let mut clean = Vec::with_capacity(octets.len());
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\r' if odd(at, *byte) => clean.extend_from_slice(b"\r\n"),
            _ if odd(at, *byte) => {}
            _ => clean.push(*byte),
        }
    }
    let count =
        |h: &Headers<'_>| h.fields().iter().filter(|f| f.name.to_ascii_lowercase().starts_with(b"content-")).count();
    if count(&Headers::parse(&clean)) == count(headers) {
        return None;
    }
    clean.extend_from_slice(octets.get(head.len()..).unwrap_or_default());
    Some(clean)
}

/// The first line of blanks only: where the line before it ends, and where the next one begins.
pub(super) fn blank_fold(head: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    for line in head.split_inclusive(|b| *b == b'\n') {
        let end = at + line.len();
        if matches!(line.first(), Some(b' ' | b'\t')) && line.trim_ascii().is_empty() && line.ends_with(b"\n") {
            return Some((at, end));
        }
        at = end;
    }
    None
}
