//! The header section as bytes: fields in their order, found, removed and prepended without touching the rest.
//! RFC 5322 §2.2. Never fails: a line that is no field is kept as a [`Field`] without a name, so checks can see it.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

/// One field, possibly folded over lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// Without colon and without white space before it; empty for a line that is no field.
    pub name: &'a [u8],
    /// After the colon, still folded, without the last line end.
    pub value: &'a [u8],
    /// Where the whole field lies in the message, line end included.
    pub range: Range<usize>,
    /// White space stood before the colon, or the line is no field at all (RFC 5322 §4.5.8; THREATS A-01).
    pub malformed: bool,
}

impl Field<'_> {
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
    /// The value on one line, white space around it removed; octets that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn unfolded(&self) -> Cow<'_, str> {
        unfold(self.value)
    }
}

/// The header section of a message and where its body begins.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    raw: &'a [u8],
    fields: Vec<Field<'a>>,
    body: usize,
}

impl<'a> Headers<'a> {
    /// Reads the header section of `raw`; at most `limit` fields are looked at, the rest stays unread.
    #[must_use]
    pub fn parse_limited(raw: &'a [u8], limit: usize) -> Self {
        let (mut fields, mut at) = (Vec::new(), 0);
        while let Some(rest) = raw.get(at..).filter(|r| !r.is_empty()) {
            if let Some(end) = blank_line(rest) {
                return Self { raw, fields, body: at + end };
            }
            if fields.len() >= limit {
                // Beyond the limit only the body's place is of interest.
                let body = find_blank(raw, at);
                return Self { raw, fields, body };
            }
            let end = at + field_end(rest);
            fields.push(field(raw, at..end));
            at = end;
        }
        Self { raw, fields, body: raw.len() }
    }

    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Self {
        Self::parse_limited(raw, usize::MAX)
    }
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }
    /// Offset of the first octet of the body, after the empty line.
    #[must_use]
    pub const fn body_offset(&self) -> usize {
        self.body
    }
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.raw.get(self.body..).unwrap_or_default()
    }
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field<'a>> {
        self.fields.iter().filter(move |f| f.is(name))
    }
    /// The first field of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|f| f.is(name))
    }
    /// The unfolded value of the first field of that name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.find(name).map(|f| f.unfolded().into_owned())
    }
}

fn blank_line(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => None,
    }
}

fn find_blank(raw: &[u8], mut at: usize) -> usize {
    while let Some(rest) = raw.get(at..).filter(|r| !r.is_empty()) {
        if let Some(end) = blank_line(rest) {
            return at + end;
        }
        at += line_end(rest);
    }
    raw.len()
}

fn line_end(rest: &[u8]) -> usize {
    memchr(b'\n', rest).map_or(rest.len(), |i| i + 1)
}

/// A field ends at a line end that no white space follows.
fn field_end(rest: &[u8]) -> usize {
    let mut end = line_end(rest);
    while matches!(rest.get(end), Some(b' ' | b'\t')) {
        end += line_end(rest.get(end..).unwrap_or_default());
    }
    end
}

fn field(raw: &[u8], range: Range<usize>) -> Field<'_> {
    let text = raw.get(range.clone()).unwrap_or_default();
    let Some(colon) = memchr(b':', text) else {
        return Field { name: b"", value: trim_line_end(text), range, malformed: true };
    };
    let (before, after) = text.split_at(colon);
    let name = before.trim_ascii();
    let clean = name.len() == before.len() && !name.is_empty() && name.iter().all(|b| matches!(b, 33..=126));
    let name = if name.iter().any(|b| matches!(b, b'\r' | b'\n')) { &b""[..] } else { name };
    Field { name, value: trim_line_end(after.get(1..).unwrap_or_default()), range, malformed: !clean }
}

fn trim_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// RFC 5322 §2.2.3: removes the line ends of folding; trims the whole.
#[must_use]
pub fn unfold(value: &[u8]) -> Cow<'_, str> {
    let value = value.trim_ascii();
    if memchr(b'\n', value).is_none() && memchr(b'\r', value).is_none() {
        return String::from_utf8_lossy(value);
    }
    let joined: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    Cow::Owned(String::from_utf8_lossy(&joined).into_owned())
}

/// `name: value` with CRLF, folded at spaces so that lines stay below 78 where they can (RFC 5322 §2.1.1).
#[must_use]
pub fn fold(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 16);
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut column = out.len();
    for word in value.split(' ').filter(|w| !w.is_empty()) {
        if column + 1 + word.len() > 76 && column > name.len() + 1 {
            out.extend_from_slice(b"\r\n\t");
            column = 8;
        } else {
            out.push(b' ');
            column += 1;
        }
        // A value made by us carries no control characters; a stranger's text inside it must not either.
        out.extend(word.bytes().filter(|b| !matches!(b, 0..=31 | 127)));
        column += word.len();
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5322_2_2_3_folded_fields_are_one_field() {
        let h = Headers::parse(b"A: 1\r\n 2\r\nB:3\r\n\r\nbody");
        assert_eq!(h.fields().len(), 2);
        assert_eq!(h.text("a").unwrap(), "1 2");
        assert_eq!(h.body(), b"body");
    }

    #[test]
    fn lines_that_are_no_field_are_kept_and_marked() {
        let h = Headers::parse(b"From : a\r\nnonsense\r\nTo: b\r\n\r\n");
        let marks: Vec<bool> = h.fields().iter().map(|f| f.malformed).collect();
        assert_eq!(marks, [true, true, false]);
        assert!(h.find("From").is_some(), "clients read it as From, so must we");
    }

    #[test]
    fn a_message_without_body_or_header_is_read() {
        assert_eq!(Headers::parse(b"").body_offset(), 0);
        assert_eq!(Headers::parse(b"A: b").body(), b"");
        assert_eq!(Headers::parse(b"\r\nx").body(), b"x");
    }

    #[test]
    fn folding_reads_back() {
        let long = "word ".repeat(60);
        let raw = fold("X-Test", &long);
        assert!(raw.split(|b| *b == b'\n').all(|l| l.len() < 80));
        let text = Headers::parse(&raw).text("X-Test").unwrap();
        assert_eq!(text.split_whitespace().count(), 60);
    }

    #[test]
    fn folding_drops_injected_lines() {
        assert_eq!(fold("X", "a\r\nBcc:x"), b"X: aBcc:x\r\n");
    }
}
