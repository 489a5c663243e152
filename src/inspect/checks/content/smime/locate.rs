//! Where a message is signed or encrypted: candidates in its tree of parts, and the exact octets that were signed.

use crate::mail::mime::{Part, Tree};

/// Candidates looked at in one message; the rest stays unread.
const MAX_CANDIDATES: usize = 8;

/// A part that claims to be S/MIME.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Index into the tree's parts.
    pub index: usize,
    pub form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// multipart/signed with a PKCS#7 signature (RFC 8551 §3.5.3).
    Detached,
    /// application/pkcs7-mime: signed, encrypted or compressed (RFC 8551 §3.2).
    Opaque,
}

/// All candidates that belong to this message and not to one attached to it.
pub fn candidates(tree: &Tree<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (index, part) in tree.parts.iter().enumerate() {
        if found.len() >= MAX_CANDIDATES {
            break;
        }
        if inside_attached_message(tree, index) {
            continue;
        }
        if is_detached(tree, index, part) {
            found.push(Candidate { index, form: Form::Detached });
        } else if is_opaque(part) && !is_signature_of(tree, &found, index) {
            found.push(Candidate { index, form: Form::Opaque });
        }
    }
    found
}

fn is_detached(tree: &Tree<'_>, index: usize, part: &Part<'_>) -> bool {
    if part.content_type != "multipart/signed" {
        return false;
    }
    match part.param("protocol") {
        Some(protocol) => is_signature_type(&protocol.to_ascii_lowercase()),
        None => children(tree, index).any(|(_, child)| is_signature_type(&child.content_type)),
    }
}

pub fn is_signature_type(kind: &str) -> bool {
    matches!(kind, "application/pkcs7-signature" | "application/x-pkcs7-signature")
}

/// RFC 8551 §3.10: by type, or by the name where some mailer wrote octet-stream.
fn is_opaque(part: &Part<'_>) -> bool {
    match part.content_type.as_str() {
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => true,
        "application/octet-stream" => {
            let name = part.name.to_ascii_lowercase();
            name.ends_with(".p7m") || name.ends_with(".p7z")
        }
        _ => false,
    }
}

/// The second part of a multipart/signed that is itself a candidate.
fn is_signature_of(tree: &Tree<'_>, found: &[Candidate], index: usize) -> bool {
    let Some(parent) = tree.parts.get(index).and_then(|p| p.parent) else { return false };
    found.iter().any(|c| c.index == parent && c.form == Form::Detached)
        && children(tree, parent).next().is_some_and(|(first, _)| first != index)
}

pub fn children<'t, 'a>(tree: &'t Tree<'a>, parent: usize) -> impl Iterator<Item = (usize, &'t Part<'a>)> {
    tree.parts.iter().enumerate().filter(move |(_, p)| p.parent == Some(parent))
}

/// Ancestors of a part, nearest first. Parents stand before their children, so this ends.
pub fn ancestors<'t, 'a>(tree: &'t Tree<'a>, index: usize) -> impl Iterator<Item = &'t Part<'a>> {
    let mut at = index;
    std::iter::from_fn(move || {
        let parent = tree.parts.get(at)?.parent.filter(|p| *p < at)?;
        at = parent;
        tree.parts.get(parent)
    })
}

fn inside_attached_message(tree: &Tree<'_>, index: usize) -> bool {
    ancestors(tree, index).any(|p| p.content_type.starts_with("message/"))
}

/// The octets of the first part between its delimiters, without the CRLF that belongs to the second
/// (RFC 2046 §5.1.1, RFC 1847 §2.1). `None` when the delimiters are not where a strict reader wants them.
pub fn signed_octets<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    if boundary.is_empty() {
        return None;
    }
    let (mut start, mut at) = (None, 0);
    while let Some(rest) = body.get(at..).filter(|r| !r.is_empty()) {
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        let line = rest.get(..length).unwrap_or(rest);
        if is_delimiter(line, boundary) {
            match start {
                None => start = Some(at + length),
                Some(from) => {
                    let octets = body.get(from..at)?;
                    return octets.strip_suffix(b"\r\n").or_else(|| octets.strip_suffix(b"\n"));
                }
            }
        }
        at += length;
    }
    None
}

fn is_delimiter(line: &[u8], boundary: &str) -> bool {
    let Some(rest) = line.strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary.as_bytes())) else { return false };
    rest.strip_prefix(b"--").unwrap_or(rest).trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(body: &str) -> Option<&str> {
        signed_octets(body.as_bytes(), "b").map(|o| std::str::from_utf8(o).unwrap())
    }

    #[test]
    fn rfc1847_2_1_the_last_line_end_belongs_to_the_delimiter() {
        assert_eq!(cut("pre\r\n--b\r\nA: 1\r\n\r\nx \r\n\r\n--b\r\nsig\r\n--b--\r\n"), Some("A: 1\r\n\r\nx \r\n"));
        assert_eq!(cut("--b  \r\nx\r\n--b--"), Some("x"));
    }

    #[test]
    fn rfc2046_5_1_1_only_whole_delimiter_lines_count() {
        assert_eq!(cut("--b\r\nx --b\r\n--bb\r\ny\r\n--b\r\n"), Some("x --b\r\n--bb\r\ny"));
        assert_eq!(cut("--b\r\nno end"), None);
        assert_eq!(cut(""), None);
    }
}
