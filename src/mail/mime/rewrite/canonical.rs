//! The canonical copy: the same content in one form. One Content-Type a part, fresh boundaries, clean encodings, file
//! names in one place and one way, nothing before, between or behind the parts.

use sha2::{Digest as _, Sha256};

use super::super::{Limits, Part, Tree, encode, parse, words};
use super::{CannotRewrite, check_whole, is_ambiguous, is_content, is_message_root, reread, sealed};

/// Fields of a part that say nothing of how it is read; the first of each is kept.
const KEPT: [&str; 5] = ["Content-ID", "Content-Description", "Content-Location", "Content-Language", "Content-Class"];

/// A message with the content of `raw`'s main reading that every client reads the same way. What only other readings
/// show is not in it.
///
/// # Errors
/// When something in it is signed or encrypted, a limit was broken, a composite part has a transfer encoding (RFC 2045
/// §6.4), a part is a fragment or lies elsewhere, or files stand inside a text: then nobody can tell what its content is.
pub fn canonical(raw: &[u8], limits: &Limits) -> Result<Vec<u8>, CannotRewrite> {
    let tree = parse(raw, limits);
    check_whole(&tree)?;
    tree.parts.iter().try_for_each(|part| sealed(part).map_or(Ok(()), Err))?;
    for part in &tree.parts {
        match part.content_type.as_str() {
            "message/partial" | "message/external-body" => return Err(CannotRewrite::Fragment(part.path.clone())),
            _ => {}
        }
        let is_composite = part.is_multipart() || part.is_message();
        if is_composite && !matches!(part.encoding.as_str(), "" | "7bit" | "8bit" | "binary") {
            return Err(CannotRewrite::Encoded(part.path.clone()));
        }
    }
    let out = Writer::new(raw, &tree).write();
    verify(&tree, &out, limits)?;
    Ok(out)
}

struct Writer<'t, 'a> {
    raw: &'a [u8],
    tree: &'t Tree<'a>,
    /// Parts that hold other parts.
    holds: Vec<bool>,
    /// Parts with 8-bit octets in a header below them.
    wide: Vec<bool>,
    /// Of all boundaries; `=_` stands in no base64 and in no quoted-printable text.
    stem: String,
    out: Vec<u8>,
    /// The empty line below a header was just written.
    fresh: bool,
    /// The last thing written is a quoted-printable body.
    ends_quoted: bool,
}

impl<'t, 'a> Writer<'t, 'a> {
    fn new(raw: &'a [u8], tree: &'t Tree<'a>) -> Self {
        let mut holds = vec![false; tree.parts.len()];
        let mut wide = vec![false; tree.parts.len()];
        // Children stand behind their parents: one pass backward carries what is below up.
        for (at, part) in tree.parts.iter().enumerate().rev() {
            let own = wide.get(at).copied().unwrap_or_default() || Self::has_wide_header(tree, part);
            let above = part.parent.filter(|p| *p < at);
            if let Some(slot) = above.and_then(|p| wide.get_mut(p)) {
                *slot |= own;
            }
            if let Some(slot) = above.and_then(|p| holds.get_mut(p)) {
                *slot = true;
            }
        }
        let digest = Sha256::digest(raw);
        let stem = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
        let out = Vec::with_capacity(raw.len() + raw.len() / 8);
        Self { raw, tree, holds, wide, stem, out, fresh: false, ends_quoted: false }
    }

    fn has_wide_header(tree: &Tree<'_>, part: &Part<'_>) -> bool {
        is_message_root(tree, part) && part.headers.fields().iter().any(|f| !f.value.is_ascii() && !is_content(f.name))
    }

    fn write(mut self) -> Vec<u8> {
        // Composites that are open, the innermost last, each with its boundary when it is a multipart.
        let mut open: Vec<(usize, Option<String>)> = Vec::new();
        for (at, part) in self.tree.parts.iter().enumerate() {
            while let Some((top, _)) = open.last()
                && Some(*top) != part.parent
            {
                self.close(open.pop());
            }
            if let Some((_, Some(boundary))) = open.last() {
                self.delimiter(&format!("--{boundary}\r\n"));
            }
            if is_message_root(self.tree, part) {
                self.message_fields(part);
            }
            let boundary = self.content_fields(at, part);
            self.out.extend_from_slice(b"\r\n");
            self.fresh = true;
            if self.holds.get(at).copied().unwrap_or_default() {
                open.push((at, boundary));
            } else {
                self.body(part);
            }
        }
        while let Some(frame) = open.pop() {
            self.close(Some(frame));
        }
        if !self.out.ends_with(b"\r\n") {
            // A soft line break, which leaves what it ends as it was.
            let soft: &[u8] = if self.ends_quoted { b"=\r\n" } else { b"\r\n" };
            self.out.extend_from_slice(soft);
        }
        self.out
    }

    fn close(&mut self, frame: Option<(usize, Option<String>)>) {
        if let Some((_, Some(boundary))) = frame {
            self.delimiter(&format!("--{boundary}--"));
        }
    }

    /// The line end before a delimiter is its own (RFC 2046 §5.1.1); directly below a header there is none to add.
    fn delimiter(&mut self, line: &str) {
        if !std::mem::take(&mut self.fresh) {
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(line.as_bytes());
        self.ends_quoted = false;
    }

    /// The header section of a message but for what says how the body is read; lines that are no field go.
    fn message_fields(&mut self, part: &Part<'_>) {
        for field in part.headers.fields().iter().filter(|f| !f.name.is_empty() && !is_content(f.name)) {
            let start = part.span.start;
            let range = start.saturating_add(field.range.start)..start.saturating_add(field.range.end);
            let octets = self.raw.get(range).unwrap_or_default();
            if !field.malformed && is_plain(octets) {
                self.out.extend_from_slice(octets);
                continue;
            }
            self.out.extend(field.name.iter().filter(|b| matches!(b, 33..=126)));
            self.out.push(b':');
            let lines = field.value.split(|b| matches!(b, b'\r' | b'\n')).map(<[u8]>::trim_ascii);
            for (number, line) in lines.filter(|l| !l.is_empty()).enumerate() {
                self.out.extend_from_slice(if number == 0 { b" " } else { b"\r\n\t" });
                self.out.extend(line.iter().filter(|b| **b == b'\t' || (**b >= b' ' && **b != 127)));
            }
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }

    /// Content-* in one form; the boundary when there are parts inside.
    fn content_fields(&mut self, at: usize, part: &Part<'_>) -> Option<String> {
        let holds = self.holds.get(at).copied().unwrap_or_default();
        // A multipart without parts is shown as text.
        let kind = if part.is_multipart() && !holds { "text/plain" } else { &part.content_type };
        let boundary = (part.is_multipart() && holds).then(|| format!("=_{}_{at}", self.stem));
        let mut text = format!("Content-Type: {kind}");
        let mut said: Vec<&str> = vec!["boundary", "name", "filename"];
        for (name, value) in &part.params {
            let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if is_token && !said.contains(&name.as_str()) {
                said.push(name);
                encode::parameter(name, value, &mut text);
            }
        }
        if let Some(boundary) = &boundary {
            encode::parameter("boundary", boundary, &mut text);
        }
        text.push_str("\r\n");
        self.disposition(part, &mut text);
        let coded = self.encoding(part, holds, at);
        text.push_str(&format!("Content-Transfer-Encoding: {coded}\r\n"));
        self.out.extend_from_slice(text.as_bytes());
        for name in KEPT {
            let Some(field) = part.headers.find(name) else { continue };
            let value: String =
                field.unfolded().chars().filter(|c| !c.is_control() && c.is_ascii()).take(800).collect();
            if !value.is_empty() {
                self.out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        boundary
    }

    fn disposition(&self, part: &Part<'_>, text: &mut String) {
        let known = ["inline", "attachment", "form-data"].iter().find(|d| **d == part.disposition);
        let named = !part.name.trim().is_empty();
        let has_id = part.headers.find("content-id").is_some();
        if known.is_none() && !named && part.disposition.is_empty() {
            return;
        }
        // RFC 2183 §2.8: what is not known is an attachment; a picture that a page shows is not.
        let usual = if has_id { "inline" } else { "attachment" };
        text.push_str("Content-Disposition: ");
        text.push_str(known.copied().unwrap_or(usual));
        if named {
            encode::parameter("filename", &part.name, text);
        }
        text.push_str("\r\n");
    }

    fn encoding(&self, part: &Part<'_>, holds: bool, at: usize) -> &'static str {
        let kind = &part.content_type;
        if holds {
            return if self.wide.get(at).copied().unwrap_or_default() { "8bit" } else { "7bit" };
        }
        if kind.starts_with("message/") && is_seven_bit(&part.decoded) && part.decoded.ends_with(b"\r\n") {
            return "7bit"; // RFC 3464 §2.1.1 and others want these readable.
        }
        if kind.starts_with("text/") || kind.starts_with("message/") || kind.starts_with("multipart/") {
            return "quoted-printable";
        }
        "base64"
    }

    fn body(&mut self, part: &Part<'_>) {
        self.fresh = false;
        match self.encoding(part, false, 0) {
            "7bit" => self.out.extend_from_slice(&part.decoded),
            "base64" => {
                encode::base64(&part.decoded, &mut self.out);
                self.out.truncate(self.out.len().saturating_sub(if part.decoded.is_empty() { 0 } else { 2 }));
            }
            _ => {
                encode::quoted_printable(&part.decoded, &mut self.out);
                self.ends_quoted = true;
            }
        }
    }
}

/// Nothing but text, tabs, and CRLF before white space or the end: no client reads such a field in another way.
fn is_plain(octets: &[u8]) -> bool {
    let Some(inner) = octets.strip_suffix(b"\r\n") else { return false };
    inner.split(|b| *b == b'\n').enumerate().all(|(number, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let folded = number == 0 || matches!(line.first(), Some(b' ' | b'\t'));
        folded && !line.trim_ascii().is_empty() && line.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 127))
    }) && inner.split(|b| *b == b'\n').rev().skip(1).all(|line| line.ends_with(b"\r"))
}

fn is_seven_bit(octets: &[u8]) -> bool {
    let lines = || octets.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    octets.is_ascii() && lines().all(|l| l.len() <= 998 && l.iter().all(|b| *b == b'\t' || (32..127).contains(b)))
}

/// One reading, and the same content in it.
fn verify(before: &Tree<'_>, out: &[u8], limits: &Limits) -> Result<(), CannotRewrite> {
    let after = reread(out, limits)?;
    if let Some(embedded) = after.alternatives.first() {
        return Err(CannotRewrite::Embedded(embedded.path.clone()));
    }
    let name = |part: &Part<'_>| words::decode(&part.name).chars().filter(|c| !c.is_control()).collect::<String>();
    let same = |then: &Part<'_>, now: &Part<'_>| {
        let container = now.is_message() || (now.is_multipart() && then.is_multipart());
        then.path == now.path && (container || then.decoded == now.decoded) && name(then).trim() == now.name.trim()
    };
    let shape = before.parts.len() == after.parts.len()
        && before.parts.iter().zip(&after.parts).all(|(then, now)| same(then, now));
    if shape && !is_ambiguous(&after) { Ok(()) } else { Err(CannotRewrite::Unverified) }
}
