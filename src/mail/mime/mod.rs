//! The tree of MIME parts (RFC 2045, 2046), limited in depth, count and size. Never fails and never recurses:
//! whatever a hostile message does, the result is a bounded tree and a list of what was odd about it.
//!
//! One main reading, as strict clients read: delimiters at line starts only, the first of duplicate fields. What
//! another client could read differently (a second boundary, another encoding, base64 behind padding) is kept beside
//! it in [`Tree::alternatives`], so that scanners see every plausible reading (THREATS §4).

mod charset;
mod encode;
mod entity;
pub mod rewrite;
mod split;
#[cfg(test)]
mod tests;
pub mod tnef;
pub mod transfer;
pub mod uu;
pub mod value;
mod walk;
mod why;
pub mod words;

use std::borrow::Cow;
use std::ops::Range;

use super::header::Headers;

pub use why::Why;

/// Bounds of one tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub depth: usize,
    pub parts: usize,
    pub header_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 32, parts: 2000, header_fields: 2000 }
    }
}

/// A message as its parts, in document order; the first is the message itself.
#[derive(Clone, Debug, Default)]
pub struct Tree<'a> {
    pub parts: Vec<Part<'a>>,
    pub oddities: Vec<Oddity>,
    /// Bodies that some client could see where the main reading sees something else.
    pub alternatives: Vec<Alternative<'a>>,
    /// Octets that were gone over: bounded by a fixed multiple of the message's (see `walk`).
    pub work: usize,
}

/// One node: a leaf, a multipart or an embedded message.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// `1`, `2.1`: position as IMAP counts (RFC 9051 §6.4.5); `0` and `2.0` for the multipart that is a whole message.
    pub path: String,
    pub parent: Option<usize>,
    pub depth: usize,
    pub headers: Headers<'a>,
    /// `text/plain`, lower case; the default of the context when there is none (RFC 2045 §5.2).
    pub content_type: String,
    /// Parameters of Content-Type in their order, names lower case, RFC 2231 put together and decoded.
    pub params: Vec<(String, String)>,
    /// `inline`, `attachment`, lower case; empty when there is none.
    pub disposition: String,
    /// File name from Content-Disposition or Content-Type, RFC 2231 and 2047 decoded, not yet normalised.
    pub name: String,
    /// Every name that some client could show, `name` first; duplicates removed.
    pub names: Vec<String>,
    /// Content-Transfer-Encoding, lower case; empty when there is none.
    pub encoding: String,
    /// Where the whole entity, header section and body, lies in the message. The body is its end.
    pub span: Range<usize>,
    /// The encoded body as it stands in the message.
    pub body: &'a [u8],
    /// The body after its transfer encoding; empty for multiparts.
    pub decoded: Cow<'a, [u8]>,
}

impl Part<'_> {
    #[must_use]
    pub fn is_multipart(&self) -> bool {
        self.content_type.starts_with("multipart/")
    }
    /// An embedded message whose parts follow in the tree.
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(&*self.content_type, "message/rfc822" | "message/global" | "message/news")
    }
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Another reading of some octets of the message.
#[derive(Clone, Debug)]
pub struct Alternative<'a> {
    /// The part that it belongs to.
    pub path: String,
    pub name: String,
    /// What makes clients differ: `second boundary`, `base64 behind padding`.
    pub why: &'static str,
    pub decoded: Cow<'a, [u8]>,
    /// The octets are a MIME entity themselves (header, empty line, body) and want to be parsed again.
    pub entity: bool,
}

/// Something about the structure that clients read differently, or that broke a limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oddity {
    /// A finding code: `mime.ambiguous`, `mime.malformed`, `mime.limit`, `mime.partial`, `mime.external-body`,
    /// `mime.unknown-encoding`.
    pub code: &'static str,
    pub path: String,
    /// What is ambiguous, for `mime.ambiguous`.
    pub why: Option<Why>,
    pub detail: String,
}

/// Reads `raw` (a whole RFC 5322 message).
#[must_use]
pub fn parse<'a>(raw: &'a [u8], limits: &Limits) -> Tree<'a> {
    walk::Walk::new(raw, *limits).run()
}
