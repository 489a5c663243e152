//! Files inside text, from before MIME: uuencode and `begin-base64` (POSIX), yEnc, BinHex 4.0 (RFC 1741).
//! Lenient, linear, bounded by the input.

use super::transfer;

/// One file of a uuencoded or `begin-base64` block (POSIX uuencode).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UuFile {
    pub name: String,
    pub data: Vec<u8>,
}

/// Every `begin 644 name` … `end` block in `text`, at most `limit`. Also begins that only some programs take: without a
/// mode, with other white space, in capitals; then the next line must look like data.
#[must_use]
pub fn uu_files(text: &[u8], limit: usize) -> Vec<UuFile> {
    let mut files = Vec::new();
    let mut open: Option<(UuFile, bool)> = None;
    let mut lines = text.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).peekable();
    while let Some(line) = lines.next() {
        let next_line = lines.peek().copied().unwrap_or_default();
        let begin = || uu_begin(line, next_line);
        if let Some((file, is_base64)) = &mut open {
            if line.trim_ascii() == b"end" || line.starts_with(b"====") {
                files.extend(open.take().map(|(f, _)| f).filter(|f| !f.data.is_empty()));
            } else if let Some(next) = begin() {
                // A begin without an end: what follows is another file.
                files.extend(open.replace(next).map(|(f, _)| f).filter(|f| !f.data.is_empty()));
            } else if *is_base64 {
                file.data.extend(transfer::base64(line));
            } else {
                uu_line(line, &mut file.data);
            }
        } else {
            open = begin();
        }
        if files.len() >= limit {
            return files;
        }
    }
    files.extend(open.map(|(f, _)| f).filter(|f| !f.data.is_empty()));
    files
}

/// A uuencoded body without its `begin` line.
#[must_use]
pub fn uu_lines(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        uu_line(line.strip_suffix(b"\r").unwrap_or(line), &mut out);
    }
    out
}

/// Every `=ybegin … name=x` … `=yend` block (yEnc 1.3), at most `limit`.
#[must_use]
pub fn yenc_files(text: &[u8], limit: usize) -> Vec<UuFile> {
    let mut files: Vec<UuFile> = Vec::new();
    let mut open: Option<UuFile> = None;
    for line in text.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(rest) = line.strip_prefix(b"=ybegin ") {
            let name = memchr::memmem::find(rest, b"name=").and_then(|at| rest.get(at + 5..)).unwrap_or_default();
            open = Some(UuFile { name: String::from_utf8_lossy(name).into_owned(), data: Vec::new() });
        } else if line.starts_with(b"=yend") {
            files.extend(open.take());
        } else if let Some(file) = open.as_mut().filter(|_| !line.starts_with(b"=ypart")) {
            yenc_line(line, &mut file.data);
        }
        if files.len() >= limit {
            return files;
        }
    }
    files.extend(open);
    files
}

fn yenc_line(line: &[u8], out: &mut Vec<u8>) {
    let mut escaped = false;
    for byte in line {
        if *byte == b'=' && !escaped {
            escaped = true;
            continue;
        }
        out.push(byte.wrapping_sub(if escaped { 42 + 64 } else { 42 }));
        escaped = false;
    }
}

/// A file that begins on this line, and whether it is in base64.
fn uu_begin(line: &[u8], next: &[u8]) -> Option<(UuFile, bool)> {
    let line = line.trim_ascii();
    let word = line.get(..5).filter(|w| w.eq_ignore_ascii_case(b"begin"))?;
    let rest = line.get(word.len()..)?;
    let (rest, is_base64) = match rest.get(..7).filter(|w| w.eq_ignore_ascii_case(b"-base64")) {
        Some(_) => (rest.get(7..)?, true),
        None => (rest, false),
    };
    if !matches!(rest.first(), Some(b' ' | b'\t')) {
        return None;
    }
    let rest = rest.trim_ascii();
    let end = rest.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(rest.len());
    let (mode, name) = rest.split_at_checked(end)?;
    let has_mode = (3..=5).contains(&mode.len()) && mode.iter().all(|b| matches!(b, b'0'..=b'7'));
    let name = if has_mode { name.trim_ascii() } else { rest };
    if !(has_mode && !name.is_empty()) && !(is_base64 || is_uu_data(next)) {
        return None;
    }
    Some((UuFile { name: String::from_utf8_lossy(name).into_owned(), data: Vec::new() }, is_base64))
}

/// A line of uuencoded data: its length stands first and fits.
fn is_uu_data(line: &[u8]) -> bool {
    let Some((first, data)) = line.split_first() else { return false };
    let length = usize::from(first.wrapping_sub(b' ') & 63);
    let whole = length.div_ceil(3) * 4;
    let fits = data.len() + 3 >= whole && data.len() <= whole + 4;
    length > 0 && fits && line.iter().all(|b| matches!(b, b' '..=b'`'))
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

const BINHEX: &[u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
/// Run lengths may blow a text up; more than this many octets out for one in is no honest file.
const BINHEX_RATIO: usize = 8;

/// The data fork of a BinHex 4.0 file; `None` when there is none in `text`.
#[must_use]
pub fn binhex(text: &[u8]) -> Option<Vec<u8>> {
    let mark = memchr::memmem::find(text, b"(This file must be converted with BinHex")?;
    let start = text.get(mark..)?;
    let start = start.get(memchr::memchr(b':', start)? + 1..)?;
    let coded = start.get(..memchr::memchr(b':', start).unwrap_or(start.len()))?;
    let (mut octets, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for byte in coded {
        let Some(six) = BINHEX.iter().position(|c| c == byte).and_then(|p| u32::try_from(p).ok()) else { continue };
        bits = (bits << 6 | six) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held).to_be_bytes()[3]);
        }
    }
    let plain = unrun(&octets, coded.len().saturating_mul(BINHEX_RATIO));
    let name = usize::from(*plain.first()?);
    // Name, version, type, creator, flags; then the lengths of both forks and a checksum (RFC 1741 appendix A).
    let at = 1 + name + 1 + 4 + 4 + 2;
    let length = u32::from_be_bytes(plain.get(at..at + 4)?.try_into().ok()?);
    let data = plain.get(at + 4 + 4 + 2..)?;
    Some(data.get(..usize::try_from(length).ok()?.min(data.len()))?.to_vec())
}

/// Undoes the run lengths: `x 90 n` is n times x, `90 00` is 90.
fn unrun(octets: &[u8], limit: usize) -> Vec<u8> {
    let (mut out, mut octets) = (Vec::new(), octets.iter());
    while let Some(&byte) = octets.next() {
        match (byte, out.last().copied()) {
            (0x90, last) => match (octets.next(), last) {
                (Some(0), _) => out.push(0x90),
                (Some(&count), Some(last)) => out.extend(std::iter::repeat_n(last, usize::from(count) - 1)),
                _ => break,
            },
            _ => out.push(byte),
        }
        if out.len() > limit {
            break;
        }
    }
    out
}
