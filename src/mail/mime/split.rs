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
    /// Lines that hold a delimiter but begin or go on with other text; some clients take them for one. At most
    /// [`NEAR`], and only those with a header section behind them.
    pub near: Vec<Range<usize>>,
    /// More parts than allowed; the rest was not cut.
    pub over: bool,
}

/// At most this many lines that are nearly delimiters are kept.
const NEAR: usize = 16;
/// A boundary is declared this near before its delimiters.
const DECLARED: usize = 64 << 10;
/// The longest token of a delimiter line that is guessed at.
const LONGEST: usize = 4096;

/// How many lines of a message may still be looked at to tell whether a header section follows something. What is behind
/// them is not guessed at: a hostile message repeats itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looks(pub usize);

impl Default for Looks {
    fn default() -> Self {
        Self(1_000_000)
    }
}

/// Cuts `body` at `boundary` into at most `limit` parts.
pub fn cut(body: &[u8], boundary: &[u8], limit: usize, looks: &mut Looks) -> Cut {
    let mut needle = b"--".to_vec();
    needle.extend_from_slice(boundary);
    let finder = Finder::new(&needle);
    let mut cut = Cut { preamble: 0..body.len(), epilogue: body.len()..body.len(), ..Cut::default() };
    let (mut open, mut at): (Option<usize>, usize) = (None, 0);
    while let Some(found) = body.get(at..).and_then(|rest| finder.find(rest)) {
        let start = at + found;
        at = start + needle.len();
        let is_line = start == 0 || matches!(body.get(start - 1), Some(b'\n'));
        let line = Line::after(body, at);
        if !is_line || line.kind == Kind::Other {
            if cut.near.len() < NEAR && header_follows(body.get(line.end..).unwrap_or_default(), looks) {
                cut.near.push(start..line.end);
            }
            // Nothing else can begin on this line but behind what was found.
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

/// A delimiter that the body itself shows: a line `--x` with a header section that holds a Content field below it; where
/// the line begins, and the token behind its dashes. The way out when the header names none that occurs.
pub fn sniff<'b>(body: &'b [u8], looks: &mut Looks) -> Option<(usize, &'b [u8])> {
    let starts = std::iter::once(0).chain(memchr::memmem::find_iter(body, b"\n--").map(|i| i + 1));
    for start in starts {
        let Some(rest) = body.get(start..).and_then(|r| r.strip_prefix(b"--")) else { continue };
        let Some(length) = memchr::memchr(b'\n', rest.get(..LONGEST).unwrap_or(rest)) else { continue };
        let Some((line, next)) = rest.split_at_checked(length + 1) else { continue };
        if header_follows(next, looks) {
            return Some((start, line.trim_ascii_end()));
        }
    }
    None
}

/// What [`loose`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loose {
    pub entities: Vec<Range<usize>>,
    /// There are more.
    pub over: bool,
    /// A token that was not named before it in the same octets: no message that is quoted whole.
    pub strange: bool,
}

/// Entities behind whatever looks like a delimiter line, each up to the next line with the same token; at most `limit`.
pub fn loose(body: &[u8], limit: usize, looks: &mut Looks) -> Loose {
    let (mut found, mut at) = (Loose::default(), 0);
    while let Some((start, token)) = body.get(at..).and_then(|rest| sniff(rest, looks)) {
        if found.entities.len() >= limit {
            found.over = true;
            return found;
        }
        let start = at + start;
        let blank_below = body.get(start + 2..).and_then(|r| r.split(|b| *b == b'\n').nth(1)).is_none_or(is_blank);
        let is_heading = blank_below || token.iter().any(|b| matches!(b, b' ' | b'\t'));
        found.strange |= !is_heading && !is_declared(body, start, token);
        let from = start + 2 + memchr::memchr(b'\n', body.get(start + 2..).unwrap_or_default()).map_or(0, |i| i + 1);
        let mut needle = b"\n--".to_vec();
        needle.extend_from_slice(token);
        let rest = body.get(from..).unwrap_or_default();
        let end = if token.is_empty() { None } else { memchr::memmem::find(rest, &needle) };
        // The line end before a delimiter is the delimiter's.
        let end = end.map_or(body.len(), |i| before_line_end(body, from + i + 1));
        found.entities.push(from..end.max(from));
        // What lies between may hold other tokens: the entity itself is read for those.
        at = end.max(from);
    }
    found
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// Whether `token` is named as a boundary shortly before `at`.
pub fn is_declared(body: &[u8], at: usize, token: &[u8]) -> bool {
    let before = body.get(at.saturating_sub(DECLARED)..at).unwrap_or_default();
    let names = |place: usize| {
        let head = before.get(place.saturating_sub(24)..place).unwrap_or_default().to_ascii_lowercase();
        memchr::memmem::find(&head, b"boundary").is_some()
    };
    !token.is_empty() && memchr::memmem::find_iter(before, token).take(64).any(names)
}

/// Whether `rest` begins with a header section that has a Content field in it: lines that look like fields, or that some
/// client skips, up to one that begins with `Content-`.
pub fn header_follows(rest: &[u8], looks: &mut Looks) -> bool {
    for line in rest.get(..8192).unwrap_or(rest).split(|b| matches!(b, b'\n' | b'\r')).take(64) {
        let Some(left) = looks.0.checked_sub(1) else { return false };
        looks.0 = left;
        let name: Vec<u8> = line.iter().copied().filter(|b| *b > b' ').take(8).collect();
        if name.eq_ignore_ascii_case(b"content-") {
            return true;
        }
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        let is_field = memchr::memchr(b':', line).is_some_and(|at| at > 0 && at < 100);
        if !(folded || is_field || name.is_empty()) {
            return false;
        }
    }
    false
}
