//! One file in one coding: gzip (RFC 1952), bzip2, xz, lzma, lzip, Zstandard (RFC 8878), LZ4 frames, compress. All of
//! its parts are read, whatever lies between and behind them; a decoder's window is never more than [`WINDOW`].

use std::io::Read;

use flate2::bufread::GzDecoder;
use lzma_rust2::{LzipReader, LzmaReader, XzReader};

use super::super::Object;
use super::bytes::{from, le};
use super::{Budget, Member, Report, Stop, WINDOW, lzw};

/// What a packed file is called when it is unpacked: endings that go, and what takes their place.
const ENDINGS: &[(&str, &str)] = &[
    ("bz2", ""),
    ("gz", ""),
    ("lz", ""),
    ("lz4", ""),
    ("lzma", ""),
    ("taz", "tar"),
    ("tbz", "tar"),
    ("tbz2", "tar"),
    ("tgz", "tar"),
    ("tlz", "tar"),
    ("txz", "tar"),
    ("tz2", "tar"),
    ("tzst", "tar"),
    ("xz", ""),
    ("z", ""),
    ("zst", ""),
];

/// The one member of a packed file.
pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (data, name) = (&*object.data, inner_name(object.name()));
    let (out, stop) = match object.kind {
        "application/gzip" => gzip(data, budget),
        "application/x-bzip2" => bzip2(data, budget),
        "application/x-xz" => budget.peek(xz(data), data.len()),
        "application/x-lzma" => match lzma_alone(data) {
            Some(decoder) => budget.peek(decoder, data.len()),
            None => (Vec::new(), Stop::Broken),
        },
        "application/x-lzip" => budget.peek(LzipReader::new(lzip_members(data)), data.len()),
        "application/zstd" => zstd(data, budget),
        "application/x-lz4" => lz4(data, budget),
        "application/x-ms-compress" => expand(data, budget),
        _ => lzw::unpack(data, budget),
    };
    report.stopped(stop, &name);
    if stop == Stop::Broken {
        report.unknown("archive.malformed", &format!("the stream ({}) cannot be read to its end", object.kind));
    }
    if out.is_empty() {
        return Vec::new();
    }
    if !budget.take(out.len()) {
        report.stopped(Stop::Full, &name);
        return Vec::new();
    }
    vec![Member { name, data: out }]
}

fn inner_name(name: &str) -> String {
    let Some((stem, extension)) = name.rsplit_once('.') else { return "content".to_owned() };
    match ENDINGS.iter().find(|(ending, _)| extension.eq_ignore_ascii_case(ending)) {
        Some((_, "")) => stem.to_owned(),
        Some((_, other)) => format!("{stem}.{other}"),
        None => "content".to_owned(),
    }
}

/// Octets behind a stream that only look like another one.
const FALSE_STARTS: usize = 64;

/// Every gzip member, also behind padding and other octets (THREATS Z-07). A checksum that is wrong does not hide what
/// came before it.
fn gzip(data: &[u8], budget: &Budget) -> (Vec<u8>, Stop) {
    members(
        data,
        budget,
        |at| memchr::memmem::find(from(data, at), b"\x1f\x8b\x08").map(|n| at + n),
        |rest| {
            let mut decoder = GzDecoder::new(rest);
            let (out, stop) = budget.peek(&mut decoder, data.len());
            (out, stop, decoder.into_inner().len())
        },
    )
}

/// The streams in `data`, one behind the other, whatever lies between them: `next` finds where one begins at or behind a
/// place, `one` reads it and tells how many octets it left.
fn members(
    data: &[u8],
    budget: &Budget,
    next: impl Fn(usize) -> Option<usize>,
    one: impl Fn(&[u8]) -> (Vec<u8>, Stop, usize),
) -> (Vec<u8>, Stop) {
    let (mut all, mut at) = (Vec::new(), 0);
    let (mut last, mut false_starts) = (Stop::End, 0);
    while let Some(start) = next(at) {
        let (out, stop, left) = one(from(data, start));
        // Octets that only look like a stream are none.
        if out.is_empty() && stop == Stop::Broken && !all.is_empty() {
            false_starts += 1;
            if false_starts > FALSE_STARTS {
                break;
            }
            at = start + 3;
            continue;
        }
        join(&mut all, out);
        last = stop;
        let room = budget.bytes();
        if matches!(stop, Stop::Bomb | Stop::Full) || all.len() > room.min(budget.dense(data.len())) {
            let over = if all.len() > room { Stop::Full } else { Stop::Bomb };
            all.truncate(room);
            return (all, if stop == Stop::End { over } else { stop });
        }
        at = data.len().saturating_sub(left).max(start + 3);
    }
    (all, last)
}

fn bzip2(data: &[u8], budget: &Budget) -> (Vec<u8>, Stop) {
    let is_start = |at: &usize| {
        matches!(data.get(at + 3..at + 10), Some([b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y']))
            || matches!(data.get(at + 3..at + 10), Some([b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90]))
    };
    members(
        data,
        budget,
        |at| memchr::memmem::find_iter(from(data, at), b"BZh").map(|n| at + n).find(is_start),
        |rest| {
            let mut decoder = bzip2::bufread::BzDecoder::new(rest);
            let (out, stop) = budget.peek(&mut decoder, data.len());
            (out, stop, decoder.into_inner().len())
        },
    )
}

/// Of all streams; a window over the limit is an error.
pub(super) fn xz(data: &[u8]) -> impl Read + use<'_> {
    XzReader::new_mem_limit(data, true, limit_kib())
}

/// What Microsoft's COMPRESS.EXE made and EXPAND undoes: LZSS in a ring of 4096 octets that begins with blanks.
fn expand(data: &[u8], budget: &Budget) -> (Vec<u8>, Stop) {
    let (mut ring, mut place, mut out) = ([b' '; 4096], 4096 - 16, Vec::new());
    let (size, mut rest) = (le(data, 10, 4).unwrap_or_default(), from(data, 14));
    let dense = budget.dense(data.len());
    let most = budget.bytes().min(dense).min(size);
    let mut put = |octet: u8, ring: &mut [u8; 4096], out: &mut Vec<u8>| {
        if let Some(slot) = ring.get_mut(place) {
            *slot = octet;
        }
        place = (place + 1) % 4096;
        out.push(octet);
    };
    while let Some((flags, more)) = rest.split_first().filter(|_| out.len() < most) {
        rest = more;
        for bit in 0..8 {
            if flags >> bit & 1 == 1 {
                let Some((octet, more)) = rest.split_first() else { break };
                put(*octet, &mut ring, &mut out);
                rest = more;
                continue;
            }
            let Some((&[low, high], more)) = rest.split_first_chunk::<2>() else { break };
            rest = more;
            let start = usize::from(low) | usize::from(high & 0xF0) << 4;
            for n in start..start + usize::from(high & 15) + 3 {
                let octet = ring.get(n % 4096).copied().unwrap_or_default();
                put(octet, &mut ring, &mut out);
            }
        }
    }
    let stop = match out.len() {
        length if length >= size => Stop::End,
        length if length >= dense => Stop::Bomb,
        length if length >= most => Stop::Full,
        _ => Stop::Broken,
    };
    out.truncate(size.min(most));
    (out, stop)
}

fn limit_kib() -> u32 {
    u32::try_from((WINDOW >> 10) + 1024).unwrap_or(u32::MAX)
}

/// The members without what trails them: each ends with its own length.
fn lzip_members(data: &[u8]) -> &[u8] {
    let mut start = 0;
    while from(data, start).starts_with(b"LZIP") {
        let is_end = |end: &usize| le(data, end - 8, 8) == Some(end - start);
        let Some(end) = (start + 26..=data.len()).find(is_end) else { return data };
        start = end;
    }
    data.get(..start).unwrap_or(data)
}

/// The `.lzma` file format: properties, window, length, stream.
fn lzma_alone(data: &[u8]) -> Option<impl Read + use<'_>> {
    let (properties, window, size) = (*data.first()?, le(data, 1, 4)?, data.get(5..13)?);
    let size = u64::from_le_bytes(size.try_into().ok()?);
    lzma_raw(from(data, 13), properties, window, size)
}

/// An LZMA stream without header. A smaller window than declared serves as long as what comes out fits into it.
pub(super) fn lzma_raw<R: Read>(source: R, properties: u8, window: usize, size: u64) -> Option<LzmaReader<R>> {
    let fitting = usize::try_from(size).unwrap_or(usize::MAX).max(4096);
    let window = u32::try_from(window.min(WINDOW).min(fitting)).ok()?;
    LzmaReader::new_with_props(source, size, properties, window, None).ok()
}

/// Zstandard.
pub(super) fn zstd(data: &[u8], budget: &Budget) -> (Vec<u8>, Stop) {
    let one = |rest: &mut &[u8], whole: usize| {
        if !budget.has_room(2 * WINDOW) {
            return Some((Vec::new(), Stop::Full));
        }
        let mut decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(rest, WINDOW as u64).ok()?;
        Some(budget.peek(&mut decoder, whole))
    };
    frames(data, budget, |mark| mark == 0xFD2F_B528, one)
}

/// LZ4, the old form too.
pub(super) fn lz4(data: &[u8], budget: &Budget) -> (Vec<u8>, Stop) {
    let one = |rest: &mut &[u8], whole: usize| Some(budget.peek(&mut lz4_flex::frame::FrameDecoder::new(rest), whole));
    frames(data, budget, |mark| matches!(mark, 0x184D_2204 | 0x184C_2102), one)
}

/// Every frame that begins with a mark of the format; what can be skipped is (RFC 8878 §3.1.2, the same in LZ4). `one`
/// reads a frame of input that is `whole` octets in all, and leaves what is behind it.
fn frames(
    mut data: &[u8],
    budget: &Budget,
    begins: impl Fn(usize) -> bool,
    one: impl Fn(&mut &[u8], usize) -> Option<(Vec<u8>, Stop)>,
) -> (Vec<u8>, Stop) {
    let (mut all, whole) = (Vec::new(), data.len());
    loop {
        if let (Some(0x184D_2A50..=0x184D_2A5F), Some(length)) = (le(data, 0, 4), le(data, 4, 4)) {
            data = from(data, 8_usize.saturating_add(length));
            continue;
        }
        if !le(data, 0, 4).is_some_and(&begins) {
            return (all, if data.len() == whole { Stop::Broken } else { Stop::End });
        }
        let mut rest = data;
        let Some((out, stop)) = one(&mut rest, whole) else { return (all, Stop::Broken) };
        join(&mut all, out);
        let over = all.len() > budget.bytes().min(budget.dense(whole));
        if stop != Stop::End || over || rest.len() == data.len() {
            all.truncate(budget.bytes());
            return (all, if stop == Stop::End { Stop::Full } else { stop });
        }
        data = rest;
    }
}

/// `more` behind `all`, without a copy where there is only one.
fn join(all: &mut Vec<u8>, more: Vec<u8>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.extend_from_slice(&more);
    }
}
