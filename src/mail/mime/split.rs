//! Cutting a multipart body at its delimiter lines (RFC 2046 §5.1.1): at line starts only, blanks behind allowed.

use std::ops::Range;

use memchr::memmem::Finder;

/// A body cut at one boundary. Ranges count from the start of the body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    pub preamble: Range<usize>,
    pub parts: Vec<Range<usize>>,
    pub epilogue: Range<usize>,
    /// The closing delimiter was there.
    pub closed: bool,
    /// A line begins like a delimiter but goes on with other text; some clients take it for one.
    pub near: Option<Range<usize>>,
    /// More parts than allowed; the rest was not cut.
    pub over: bool,
}

/// Cuts `body` at `boundary` into at most `limit` parts.
pub fn cut(body: &[u8], boundary: &[u8], limit: usize) -> Cut {
    let mut needle = b"--".to_vec();
    needle.extend_from_slice(boundary);
    let finder = Finder::new(&needle);
    let mut cut = Cut { preamble: 0..body.len(), epilogue: body.len()..body.len(), ..Cut::default() };
    let (mut open, mut at): (Option<usize>, usize) = (None, 0);
    while let Some(found) = body.get(at..).and_then(|rest| finder.find(rest)) {
        let start = at + found;
        at = start + needle.len();
        if start > 0 && !matches!(body.get(start - 1), Some(b'\n')) {
            continue;
        }
        let line = Line::after(body, at);
        if line.kind == Kind::Other {
            cut.near.get_or_insert(start..line.end);
            continue;
        }
        let content_end = before_line_end(body, start);
        match open {
            Some(from) => cut.parts.push(from.min(content_end)..content_end),
            None => cut.preamble = 0..content_end,
        }
        at = line.end;
        if line.kind == Kind::Close {
            cut.closed = true;
            cut.epilogue = line.end..body.len();
            return cut;
        }
        if cut.parts.len() >= limit {
            cut.over = true;
            cut.epilogue = line.end..body.len();
            return cut;
        }
        open = Some(line.end);
    }
    if let Some(from) = open {
        cut.parts.push(from.min(body.len())..body.len());
    }
    cut
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delimiter,
    Close,
    Other,
}

/// What follows the boundary on its line, and where the next line begins.
struct Line {
    kind: Kind,
    end: usize,
}

impl Line {
    fn after(body: &[u8], at: usize) -> Self {
        let rest = body.get(at..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        let text = rest.get(..length).unwrap_or_default();
        let blank = |t: &[u8]| t.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
        let kind = match text {
            [b'-', b'-', tail @ ..] if blank(tail) => Kind::Close,
            _ if blank(text) => Kind::Delimiter,
            _ => Kind::Other,
        };
        Self { kind, end: at + length }
    }
}

/// The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
fn before_line_end(body: &[u8], start: usize) -> usize {
    let before = body.get(..start).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

/// A boundary that the body itself shows: a line `--x` with a `Content-` field on the next line.
/// The way out when the header names none that occurs.
pub fn sniff(body: &[u8]) -> Option<&[u8]> {
    let starts = std::iter::once(0).chain(memchr::memmem::find_iter(body, b"\n--").map(|i| i + 1));
    for start in starts.take(10_000) {
        let Some(rest) = body.get(start..).and_then(|r| r.strip_prefix(b"--")) else { continue };
        let Some(length) = memchr::memchr(b'\n', rest) else { continue };
        let Some((line, next)) = rest.split_at_checked(length + 1) else { continue };
        let token = line.trim_ascii_end();
        let header = next.get(..8).is_some_and(|h| h.eq_ignore_ascii_case(b"content-"));
        if header && token.len() <= 200 {
            return Some(token);
        }
    }
    None
}
