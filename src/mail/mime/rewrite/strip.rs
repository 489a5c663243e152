//! Parts replaced by a notice; every other octet of the message stays as it is.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::{Limits, Part, Tree, encode, parse};
use super::{CannotRewrite, PartPath, check_whole, is_ambiguous, is_content, is_message_root, reread, sealed};

/// What the notice is called; it tells in both languages of the country's offices what it is.
pub const NOTICE_NAME: &str = "THONG-BAO-NOTICE.txt";

/// `raw` with each of `parts` replaced by a text/plain attachment that holds `notice` (UTF-8, any line ends).
///
/// A part that is the body of a message (`1`, or `0` for all of it) gives way to the notice below the same header. A
/// part inside another one that is taken out goes with it. Paths come from [`Part::path`], or from an object's path by
/// [`PartPath::of`].
///
/// # Errors
/// When the part, something around it or something in it is signed or encrypted; when the message can be read in several
/// ways, for then nobody knows what would be left; when there is no such part.
pub fn strip(raw: &[u8], parts: &[PartPath], notice: &str, limits: &Limits) -> Result<Vec<u8>, CannotRewrite> {
    let tree = parse(raw, limits);
    check_whole(&tree)?;
    if is_ambiguous(&tree) {
        return Err(CannotRewrite::Ambiguous);
    }
    let chosen = chosen(&tree, parts)?;
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    for range in edits(&tree, &chosen) {
        out.extend_from_slice(raw.get(at..range.0.start).unwrap_or_default());
        out.extend_from_slice(&range.1.written(raw, notice));
        at = range.0.end;
    }
    out.extend_from_slice(raw.get(at..).unwrap_or_default());
    verify(&tree, &chosen, &out, limits)?;
    Ok(out)
}

/// What becomes of each part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Replaced,
    /// Lies in one that is replaced.
    Gone,
}

fn chosen(tree: &Tree<'_>, paths: &[PartPath]) -> Result<Vec<Fate>, CannotRewrite> {
    let index: BTreeMap<&str, usize> = tree.parts.iter().enumerate().map(|(i, p)| (p.path.as_str(), i)).collect();
    let mut fates = vec![Fate::Stays; tree.parts.len()];
    for path in paths {
        let at = *index.get(path.as_str()).ok_or_else(|| CannotRewrite::NoSuchPart(path.as_str().to_owned()))?;
        if let Some(fate) = fates.get_mut(at) {
            *fate = Fate::Replaced;
        }
    }
    // Parents stand before their children, so one pass forward carries a fate to all that lies below it.
    for (at, part) in tree.parts.iter().enumerate() {
        let above = part.parent.filter(|p| *p < at).and_then(|p| fates.get(p).copied()).unwrap_or(Fate::Stays);
        if let (true, Some(fate)) = (above != Fate::Stays, fates.get_mut(at)) {
            *fate = Fate::Gone;
        }
    }
    for (part, fate) in tree.parts.iter().zip(&fates) {
        let touched = *fate != Fate::Stays;
        if let (true, Some(why)) = (touched, sealed(part)) {
            return Err(why);
        }
        if *fate == Fate::Replaced {
            check_above(tree, part)?;
        }
    }
    Ok(fates)
}

/// Nothing around the part is signed or encrypted.
fn check_above(tree: &Tree<'_>, part: &Part<'_>) -> Result<(), CannotRewrite> {
    let (mut at, mut steps) = (part.parent, tree.parts.len());
    while let Some(above) = at.and_then(|i| tree.parts.get(i)).filter(|_| steps > 0) {
        if let Some(why) = sealed(above) {
            return Err(why);
        }
        (at, steps) = (above.parent, steps - 1);
    }
    Ok(())
}

/// What stands in the place of a part.
struct Edit<'t, 'a> {
    part: &'t Part<'a>,
    keeps_header: bool,
}

impl Edit<'_, '_> {
    fn written(&self, raw: &[u8], notice: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for field in self.part.headers.fields().iter().filter(|_| self.keeps_header) {
            if is_content(field.name) || field.name.is_empty() {
                continue;
            }
            let start = self.part.span.start;
            let range = start.saturating_add(field.range.start)..start.saturating_add(field.range.end);
            out.extend_from_slice(raw.get(range).unwrap_or_default());
        }
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
        if self.keeps_header {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        notice_part(notice, &mut out);
        if !self.keeps_header {
            // The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
            out.truncate(out.len().saturating_sub(2));
        }
        out
    }
}

/// In the order of the message.
fn edits<'t, 'a>(tree: &'t Tree<'a>, fates: &[Fate]) -> Vec<(Range<usize>, Edit<'t, 'a>)> {
    let mut edits: Vec<_> = tree
        .parts
        .iter()
        .zip(fates)
        .filter(|(_, fate)| **fate == Fate::Replaced)
        .map(|(part, _)| (part.span.clone(), Edit { part, keeps_header: is_message_root(tree, part) }))
        .collect();
    edits.sort_by_key(|(range, _)| range.start);
    edits
}

/// The notice as an entity. Base64, so that no line of it can look like a delimiter.
fn notice_part(notice: &str, out: &mut Vec<u8>) {
    let text = notice.replace("\r\n", "\n").replace('\n', "\r\n");
    out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
    out.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n");
    out.extend_from_slice(format!("Content-Disposition: attachment; filename=\"{NOTICE_NAME}\"\r\n\r\n").as_bytes());
    encode::base64(text.as_bytes(), out);
}

/// The same parts in the same order, those that stay with the same octets.
fn verify(before: &Tree<'_>, fates: &[Fate], out: &[u8], limits: &Limits) -> Result<(), CannotRewrite> {
    let after = reread(out, limits)?;
    let kept: Vec<(&Part<'_>, Fate)> =
        before.parts.iter().zip(fates.iter().copied()).filter(|(_, f)| *f != Fate::Gone).collect();
    let same = |(part, fate): &(&Part<'_>, Fate), now: &Part<'_>| match fate {
        Fate::Replaced => now.content_type == "text/plain" && now.name == NOTICE_NAME,
        // Containers hold what changed.
        _ => part.content_type == now.content_type && (part.decoded == now.decoded || part.is_message()),
    };
    let is_good = kept.len() == after.parts.len()
        && kept.iter().zip(&after.parts).all(|(then, now)| same(then, now))
        && !is_ambiguous(&after);
    if is_good { Ok(()) } else { Err(CannotRewrite::Unverified) }
}
