//! Content-Transfer-Encodings (RFC 2045 §6): lenient decoders in linear time that never fail.
//! Output is never longer than input, so it is bounded by the message.

use std::borrow::Cow;

const SKIP: u8 = 0xFF;
const PAD: u8 = 0xFE;

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler: a wrong index does not build")]
const TABLE: [u8; 256] = {
    let mut table = [SKIP; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    table[b'=' as usize] = PAD;
    table
};

fn value(byte: u8) -> u8 {
    TABLE.get(usize::from(byte)).copied().unwrap_or(SKIP)
}

/// What a client does with `=` in the middle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    /// The quantum ends, the next begins.
    Restart,
    /// The data ends.
    Stop,
    /// It is noise like any other.
    Ignore,
}

/// Base64 as most clients decode: foreign characters skipped, a padded quantum ends and the next begins.
#[must_use]
pub fn base64(text: &[u8]) -> Vec<u8> {
    decode64(text, Padding::Restart)
}

/// What other clients see where [`base64`] sees something else: decoders that stop at padding, that ignore it, or
/// that drop a line with foreign characters.
#[must_use]
pub fn base64_alternatives(text: &[u8]) -> Vec<Vec<u8>> {
    if is_canonical(text) {
        return Vec::new();
    }
    let main = base64(text);
    let mut out = Vec::new();
    let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let clean: Vec<u8> = lines.filter(|l| l.iter().all(|b| value(*b) != SKIP)).flatten().copied().collect();
    let others = [
        decode64(text, Padding::Stop),
        decode64(text, Padding::Ignore),
        base64(&clean),
        by_line(text, Tail::Drop),
        by_line(text, Tail::Keep),
    ];
    for other in others {
        if other != main && !other.is_empty() && !out.contains(&other) {
            out.push(other);
        }
    }
    out
}

/// What a decoder that takes each line for itself does with an unfinished quantum at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Drop,
    Keep,
}

/// Decoders that take each line for itself; padding inside a line is noise to them.
fn by_line(text: &[u8], tail: Tail) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split(|b| *b == b'\n') {
        let data: Vec<u8> = line.iter().copied().filter(|b| value(*b) < 64).collect();
        let whole = if tail == Tail::Drop { data.len() / 4 * 4 } else { data.len() };
        out.extend(base64(data.get(..whole).unwrap_or_default()));
    }
    out
}

/// Only the alphabet, in lines of whole quanta, and padding at the very end: every decoder agrees.
fn is_canonical(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let data = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut uneven = 0;
    for line in data.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if uneven > 0 || !line.iter().all(|b| value(*b) < 64) {
            return false;
        }
        uneven += line.len() % 4;
    }
    true
}

fn decode64(text: &[u8], padding: Padding) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for &byte in text {
        match value(byte) {
            SKIP => {}
            PAD if padding == Padding::Ignore => {}
            PAD => {
                tail(&mut out, bits, count);
                (bits, count) = (0, 0);
                if padding == Padding::Stop && !out.is_empty() {
                    return out;
                }
            }
            six => {
                bits = bits << 6 | u32::from(six);
                count += 1;
                if count == 4 {
                    let [_, a, b, c] = bits.to_be_bytes();
                    out.extend_from_slice(&[a, b, c]);
                    (bits, count) = (0, 0);
                }
            }
        }
    }
    tail(&mut out, bits, count);
    out
}

/// The octets of an unfinished quantum.
fn tail(out: &mut Vec<u8>, bits: u32, count: u32) {
    let (octets, shift) = match count {
        2 => (1, 12),
        3 => (2, 6),
        _ => return,
    };
    let [_, a, b, _] = (bits << shift).to_be_bytes();
    out.extend([a, b].iter().take(octets));
}

/// Quoted-printable (RFC 2045 §6.7), lenient: lower-case digits are taken, a stray `=` stays, blanks at line ends go.
#[must_use]
pub fn quoted_printable(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'=', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let content = line.trim_ascii_end();
        let ending: &[u8] = if line.ends_with(b"\r\n") {
            b"\r\n"
        } else if line.ends_with(b"\n") {
            b"\n"
        } else {
            b""
        };
        match content.strip_suffix(b"=") {
            Some(soft) => out.extend(super::words::unescape(soft, b'=')),
            None => {
                out.extend(super::words::unescape(content, b'='));
                out.extend_from_slice(ending);
            }
        }
    }
    Cow::Owned(out)
}

/// What other clients see in quoted-printable text that breaks the rules: escapes cut by white space or noise put
/// between them. Empty for a clean text, and for one that is mostly readable.
#[must_use]
pub fn quoted_printable_alternatives(text: &[u8], is_text: bool) -> Vec<Vec<u8>> {
    let marks = memchr::memchr_iter(b'=', text).count();
    let dense = marks.saturating_mul(6) > text.len();
    if marks == 0 || !(is_irregular(text) || (dense && !is_text)) {
        return Vec::new();
    }
    let main = quoted_printable(text);
    let squeezed: Vec<u8> = text.iter().copied().filter(|b| *b > b' ').collect();
    let mut out = Vec::new();
    let others = [
        escapes(text, Between::Drop, 1),
        escapes(&squeezed, Between::Keep, 1),
        escapes(text, Between::Keep, 1),
        escapes(text, Between::Keep, 2),
    ];
    for other in others {
        if other != *main && !other.is_empty() && !out.contains(&other) {
            out.push(other);
        }
    }
    out
}

/// An `=` that begins neither an escape nor a soft line break, or a carriage return alone.
fn is_irregular(text: &[u8]) -> bool {
    let bad = |at: usize| match text.get(at + 1..at + 3) {
        Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => false,
        rest => !matches!(rest.and_then(|r| r.first()), None | Some(b'\r' | b'\n' | b' ' | b'\t')),
    };
    let lone = |at: usize| !matches!(text.get(at + 1), None | Some(b'\n'));
    memchr::memchr_iter(b'=', text).any(bad) || memchr::memchr_iter(b'\r', text).any(lone)
}

/// What stands between valid escapes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Drop,
    Keep,
}

/// What valid escapes say, with or without what stands between them; soft line breaks vanish, and so does a broken
/// escape together with up to `broken` characters behind its mark.
fn escapes(text: &[u8], between: Between, broken: usize) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        if byte != b'=' {
            if between == Between::Keep {
                out.push(byte);
            }
            at += 1;
            continue;
        }
        let rest = text.get(at + 1..).unwrap_or_default();
        let digit = |i: usize| rest.get(i).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        at += 1 + match (digit(0), digit(1)) {
            (Some(high), Some(low)) => {
                out.push(high << 4 | low);
                2
            }
            (Some(_), None) => rest.iter().take(broken).take_while(|b| !matches!(b, b'=' | b'\r' | b'\n')).count(),
            _ if rest.starts_with(b"\r\n") => 2,
            _ => usize::from(rest.starts_with(b"\n")),
        };
    }
    out
}

/// Whether `text` looks like base64 whatever its header says: its first lines hold nothing else.
#[must_use]
pub fn looks_like_base64(text: &[u8]) -> bool {
    let mut seen = 0;
    for line in text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).take(4) {
        if !line.iter().all(|b| value(*b) != SKIP) {
            return false;
        }
        seen += line.len();
    }
    seen >= 48
}
