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
    /// The data ends where the padding makes a quantum whole; elsewhere it is noise (Python's binascii).
    Whole,
    /// It is noise like any other.
    Ignore,
}

/// Base64 as most clients decode: foreign characters skipped, a padded quantum ends and the next begins.
#[must_use]
pub fn base64(text: &[u8]) -> Vec<u8> {
    decode64(text, Padding::Restart)
}

/// What other clients see where [`base64`] sees `main`: decoders that stop at padding or ignore it, that drop a line with
/// foreign characters, take each line for itself, know the alphabet of RFC 4648 §5 or look at seven bits only. `keep`
/// gets each new one and says whether it wants more.
pub fn base64_alternatives(text: &[u8], main: &[u8], mut keep: impl FnMut(Vec<u8>) -> bool) {
    if is_canonical(text) {
        return;
    }
    let ways: [fn(&[u8]) -> Vec<u8>; 8] = [
        |t| decode64(t, Padding::Whole),
        |t| decode64(t, Padding::Stop),
        |t| decode64(t, Padding::Ignore),
        clean_lines,
        |t| by_line(t, Tail::Drop),
        |t| by_line(t, Tail::Keep),
        |t| if t.iter().any(|b| matches!(b, b'-' | b'_')) { base64(&mapped(t, url_safe)) } else { Vec::new() },
        |t| if t.is_ascii() { Vec::new() } else { base64(&mapped(t, |b| b & 0x7F)) },
    ];
    let mut seen: Vec<(usize, u64)> = Vec::new();
    for way in ways {
        let other = way(text);
        if other == main || other.is_empty() {
            continue;
        }
        let mark = (other.len(), fingerprint(&other));
        if !seen.contains(&mark) {
            seen.push(mark);
            if !keep(other) {
                return;
            }
        }
    }
}

/// Tells outputs apart without keeping them; a chance hit would only cost one more reading.
fn fingerprint(octets: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}

fn mapped(text: &[u8], change: fn(u8) -> u8) -> Vec<u8> {
    text.iter().map(|b| change(*b)).collect()
}

const fn url_safe(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

/// Without the lines that hold a foreign character.
fn clean_lines(text: &[u8]) -> Vec<u8> {
    let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let clean: Vec<u8> = lines.filter(|l| l.iter().all(|b| value(*b) != SKIP)).flatten().copied().collect();
    base64(&clean)
}

/// What a decoder that takes each line for itself does with an unfinished quantum at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Drop,
    Keep,
}

/// Decoders that take each line for itself; padding inside a line is noise to them.
fn by_line(text: &[u8], tail: Tail) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
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
    let (mut bits, mut count, mut pads) = (0_u32, 0_u32, 0_u32);
    for &byte in text {
        match value(byte) {
            SKIP => {}
            PAD if padding == Padding::Ignore => {}
            PAD if padding == Padding::Whole => {
                pads += 1;
                if count >= 2 && count + pads >= 4 {
                    break;
                }
            }
            PAD => {
                tail(&mut out, bits, count);
                (bits, count) = (0, 0);
                if padding == Padding::Stop && !out.is_empty() {
                    return out;
                }
            }
            six => {
                bits = bits << 6 | u32::from(six);
                (count, pads) = (count + 1, 0);
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
/// between them. Nothing for a clean text, and for one that is mostly readable. `keep` as in [`base64_alternatives`].
pub fn quoted_printable_alternatives(text: &[u8], main: &[u8], is_text: bool, mut keep: impl FnMut(Vec<u8>) -> bool) {
    let marks = memchr::memchr_iter(b'=', text).count();
    let dense = marks.saturating_mul(6) > text.len();
    if marks == 0 || !(is_irregular(text) || (dense && !is_text)) {
        return;
    }
    let ways: [fn(&[u8]) -> Vec<u8>; 7] = [
        |t| escapes(t, Between::Drop, Broken::Skip(1)),
        |t| {
            let squeezed: Vec<u8> = t.iter().copied().filter(|b| *b > b' ').collect();
            escapes(&squeezed, Between::Keep, Broken::Skip(1))
        },
        |t| escapes(t, Between::Keep, Broken::Skip(1)),
        |t| escapes(t, Between::Keep, Broken::Skip(2)),
        |t| escapes(t, Between::Keep, Broken::Stays),
        |t| escapes(t, Between::Keep, Broken::Line),
        |t| escapes(t, Between::Keep, Broken::Skip(0)),
    ];
    let mut seen: Vec<(usize, u64)> = Vec::new();
    for way in ways {
        let other = way(text);
        let mark = (other.len(), fingerprint(&other));
        if other != main && !other.is_empty() && !seen.contains(&mark) {
            seen.push(mark);
            if !keep(other) {
                return;
            }
        }
    }
}

/// Whether there are escapes enough in `text` for a quoted-printable body, whatever its header says.
#[must_use]
pub fn looks_like_quoted_printable(text: &[u8]) -> bool {
    let escape = |at: &usize| text.get(at + 1..at + 3).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
    memchr::memchr_iter(b'=', text).filter(escape).take(8).count() == 8
}

/// An `=` that begins neither an escape nor a clean soft line break, or a carriage return alone.
fn is_irregular(text: &[u8]) -> bool {
    let bad = |at: usize| match text.get(at + 1..at + 3) {
        Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => false,
        rest => !matches!(rest.and_then(|r| r.first()), None | Some(b'\r' | b'\n')),
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

/// What becomes of an `=` that begins neither an escape nor a line break.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// It vanishes with up to so many characters behind it, when the first is a digit.
    Skip(usize),
    /// It stays as it is.
    Stays,
    /// As Python's binascii has it: with a carriage return behind it, a soft break that takes the rest of the line; with
    /// another one behind it, one of the two; else it stays.
    Line,
}

/// What valid escapes say, with or without what stands between them; soft line breaks vanish.
fn escapes(text: &[u8], between: Between, broken: Broken) -> Vec<u8> {
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
        at += 1 + match (digit(0), digit(1), broken) {
            (Some(high), Some(low), _) => {
                out.push(high << 4 | low);
                2
            }
            (Some(_), None, Broken::Skip(width)) => {
                rest.iter().take(width).take_while(|b| !matches!(b, b'=' | b'\r' | b'\n')).count()
            }
            (_, _, Broken::Line) if rest.starts_with(b"\r") => {
                memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1)
            }
            _ if rest.starts_with(b"\r\n") => 2,
            _ if rest.starts_with(b"\n") => 1,
            (_, _, Broken::Line) if rest.starts_with(b"=") => {
                out.push(byte);
                1
            }
            (_, _, Broken::Stays | Broken::Line) => {
                out.push(byte);
                0
            }
            _ => 0,
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

/// Whether two readings of one base64 text differ before their ends: text behind the padding (the footer of a mailing
/// list) reads as noise to some and is no secret to anybody.
#[must_use]
pub fn differs_inside(main: &[u8], other: &[u8]) -> bool {
    let shared = main.iter().zip(other).take_while(|(a, b)| a == b).count();
    shared.saturating_add(3) < main.len().min(other.len())
}
