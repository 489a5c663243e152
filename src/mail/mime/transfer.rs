//! Content-Transfer-Encodings (RFC 2045 §6): lenient decoders in linear time that never fail.
//! Output is never longer than input, so it is bounded by the message.

use std::borrow::Cow;

const SKIP: u8 = 0xFF;
const PAD: u8 = 0xFE;

const TABLE: [u8; 256] = {
    let mut table = [SKIP; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        #[allow(clippy::indexing_slicing)]
        {
            table[alphabet[i] as usize] = i as u8;
        }
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
    for other in [decode64(text, Padding::Stop), decode64(text, Padding::Ignore), base64(&clean)] {
        if other != main && !other.is_empty() && !out.contains(&other) {
            out.push(other);
        }
    }
    out
}

/// Only the alphabet, line ends, and padding at the very end: every decoder agrees.
fn is_canonical(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let data = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    data.iter().all(|b| value(*b) < 64 || matches!(b, b'\r' | b'\n'))
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

/// One file of a uuencoded or `begin-base64` block (POSIX uuencode).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UuFile {
    pub name: String,
    pub data: Vec<u8>,
}

/// Every `begin 644 name` … `end` block in `text`, at most `limit`.
#[must_use]
pub fn uu_files(text: &[u8], limit: usize) -> Vec<UuFile> {
    let mut files = Vec::new();
    let mut open: Option<(UuFile, bool)> = None;
    for line in text.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some((file, is_base64)) = &mut open {
            if line.trim_ascii() == b"end" || line.starts_with(b"====") {
                files.extend(open.take().map(|(f, _)| f));
            } else if *is_base64 {
                file.data.extend(base64(line));
            } else {
                uu_line(line, &mut file.data);
            }
        } else if files.len() < limit {
            open = uu_begin(line);
        }
    }
    files.extend(open.map(|(f, _)| f));
    files.retain(|f| !f.data.is_empty());
    files
}

fn uu_begin(line: &[u8]) -> Option<(UuFile, bool)> {
    let (rest, is_base64) = match line.strip_prefix(b"begin-base64 ") {
        Some(rest) => (rest, true),
        None => (line.strip_prefix(b"begin ")?, false),
    };
    let space = memchr::memchr(b' ', rest)?;
    let (mode, name) = rest.split_at_checked(space)?;
    let octal = (3..=5).contains(&mode.len()) && mode.iter().all(|b| matches!(b, b'0'..=b'7'));
    let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
    octal.then_some((UuFile { name, data: Vec::new() }, is_base64))
}

fn uu_line(line: &[u8], out: &mut Vec<u8>) {
    let Some((&first, data)) = line.split_first() else { return };
    let length = usize::from(first.wrapping_sub(b' ') & 63);
    let start = out.len();
    for group in data.chunks(4) {
        let six = |i: usize| u32::from(group.get(i).map_or(0, |b| b.wrapping_sub(b' ') & 63));
        let [_, a, b, c] = (six(0) << 18 | six(1) << 12 | six(2) << 6 | six(3)).to_be_bytes();
        out.extend_from_slice(&[a, b, c]);
    }
    out.truncate(start.saturating_add(length).min(out.len()));
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
