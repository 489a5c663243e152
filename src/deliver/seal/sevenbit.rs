//! 7-bit safe content: what is signed detached must cross relays unchanged (RFC 8551 §3.1.3).
//!
//! Leaves with 8-bit octets, NUL or lines over 998 octets get quoted-printable (text) or base64 (the rest); nothing
//! else of the entity changes by an octet. Where that would edit a signed or encrypted part, or a raw 8-bit header,
//! there is no safe form and the answer is `None`.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mail::mime::{self, Limits, Part, Tree};

/// RFC 5322 §2.1.1.
const MAX_LINE: usize = 998;

/// Whether octets survive a relay without 8BITMIME.
pub fn is_safe(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| b.is_ascii() && *b != 0) && bytes.split(|b| *b == b'\n').all(|l| l.len() <= MAX_LINE + 1)
}

/// A 7-bit form of `entity` (MIME header section, empty line, body), or `None` when there is none.
pub fn convert(entity: Vec<u8>) -> Option<Vec<u8>> {
    if is_safe(&entity) {
        return Some(entity);
    }
    let tree = mime::parse(&entity, &Limits::default());
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    for (index, part) in tree.parts.iter().enumerate() {
        let is_leaf = !tree.parts.iter().any(|p| p.parent == Some(index));
        if is_leaf && !is_safe(part.body) {
            edits.push(edit(&entity, &tree, index, part)?);
        }
    }
    drop(tree);
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = Vec::with_capacity(entity.len() + entity.len() / 2);
    let mut at = 0;
    for (range, replacement) in edits {
        out.extend_from_slice(entity.get(at..range.start)?);
        out.extend_from_slice(&replacement);
        at = range.end;
    }
    out.extend_from_slice(entity.get(at..)?);
    is_safe(&out).then_some(out)
}

/// Header section and body of one leaf, written anew.
fn edit(entity: &[u8], tree: &Tree<'_>, index: usize, part: &Part<'_>) -> Option<(Range<usize>, Vec<u8>)> {
    if is_protected(tree, index) || !matches!(part.encoding.as_str(), "" | "7bit" | "8bit" | "binary") {
        return None;
    }
    let body = place(entity, part.body)?;
    let start = body.start.checked_sub(part.headers.body_offset())?;
    let mut out = Vec::new();
    for field in part.headers.fields() {
        let range = start.checked_add(field.range.start)?..start.checked_add(field.range.end)?;
        let octets = entity.get(range)?;
        if !octets.starts_with(field.name) {
            return None;
        }
        if !field.is("Content-Transfer-Encoding") {
            out.extend_from_slice(octets);
        }
    }
    if part.content_type.starts_with("text/") {
        out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        quoted_printable(part.body, &mut out);
    } else {
        out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n\r\n");
        base64_lines(part.body, &mut out);
        if !part.body.ends_with(b"\n") {
            out.truncate(out.len().saturating_sub(2)); // The line end belongs to the delimiter that follows.
        }
    }
    Some((start..body.end, out))
}

/// Decision 9: signed or encrypted parts are never edited. The part itself counts.
fn is_protected(tree: &Tree<'_>, index: usize) -> bool {
    let mut at = Some(index);
    while let Some(part) = at.and_then(|i| tree.parts.get(i)) {
        if matches!(part.content_type.as_str(), "multipart/signed" | "multipart/encrypted")
            || part.content_type.starts_with("message/") && at == Some(index)
        {
            return true;
        }
        at = part.parent.filter(|p| Some(*p) < at);
    }
    false
}

/// Where a slice of `whole` lies in it.
fn place(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    whole.get(start..end).filter(|found| std::ptr::eq(found.as_ptr(), part.as_ptr())).map(|_| start..end)
}

/// Base64 in lines of 76 with CRLF.
pub fn base64_lines(octets: &[u8], out: &mut Vec<u8>) {
    for line in octets.chunks(57) {
        out.extend_from_slice(STANDARD.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// RFC 2045 §6.7; CRLF stays a line end, every other control is encoded.
fn quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            column = 0;
            rest = rest.get(2..).unwrap_or_default();
            continue;
        }
        let at_end = tail.is_empty() || tail.starts_with(b"\r\n");
        let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !at_end);
        let width = if plain { 1 } else { 3 };
        if column + width > 75 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(byte);
        } else {
            out.push(b'=');
            out.extend(
                [byte >> 4, byte & 15].map(|n| b"0123456789ABCDEF".get(usize::from(n)).copied().unwrap_or(b'0')),
            );
        }
        column += width;
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        quoted_printable(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc2045_6_7_quoted_printable() {
        assert_eq!(quoted("a=b \r\nế\r\n"), "a=3Db=20\r\n=E1=BA=BF\r\n");
        let long = quoted(&"ă".repeat(200));
        assert!(long.split("\r\n").all(|l| l.len() <= 76));
        assert_eq!(long.replace("=\r\n", "").len(), 200 * 6);
    }

    #[test]
    fn rfc8551_3_1_3_a_leaf_with_8_bit_text_becomes_7_bit() {
        let entity = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nchào\r\n";
        let safe = String::from_utf8(convert(entity.as_bytes().to_vec()).unwrap()).unwrap();
        assert_eq!(
            safe,
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nch=C3=A0o\r\n"
        );
    }

    #[test]
    fn safe_content_is_not_touched() {
        let entity = b"Content-Type: text/plain\r\n\r\nhello\r\n".to_vec();
        assert_eq!(convert(entity.clone()), Some(entity));
        assert!(!is_safe(&[b'x'; 1000]));
    }
}
