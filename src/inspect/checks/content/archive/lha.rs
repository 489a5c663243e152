//! Archives of the DOS days that attackers still send because little opens them: LHA (`lzh`) and ARJ, whose methods one
//! to three are LHA's seventh under another name, and whose cover a password lifts.

use std::io::Read;

use delharc::LhaDecodeReader;
use delharc::decode::{Decoder, Lh7Decoder};

use super::super::Object;
use super::bytes::{from, le, piece, text, upto};
use super::{Budget, Member, Report, Stop};

/// Octets of one header; longer ones are made by nobody.
const HEADER: usize = 4096;

/// Whether an LHA header begins `data`.
pub(in super::super) fn is_lha(data: &[u8]) -> bool {
    matches!(data.get(2..7), Some([b'-', b'l', b'h' | b'z', b'0'..=b'9' | b'd' | b's' | b'x', b'-']))
        || matches!(data.get(2..7), Some([b'-', b'p', b'm', b'0'..=b'9' | b's', b'-']))
}

/// The archive that begins `data` goes to its end, as far as can be told before it is read.
pub(super) fn lha_length(data: &[u8]) -> Option<usize> {
    let header = upto(data, 0, HEADER);
    (is_lha(data) && LhaDecodeReader::new(header).is_ok_and(|reader| reader.is_decoder_supported()))
        .then_some(data.len())
}

pub(super) fn lha(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    read_lha(&object.data, budget, report)
}

pub(super) fn read_lha(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (mut members, mut source) = (Vec::new(), data);
    let Ok(mut reader) = LhaDecodeReader::new(&mut source) else {
        report.unknown("archive.malformed", "the header of the archive is damaged");
        return Vec::new();
    };
    loop {
        let header = reader.header();
        let (name, folder, packed) = (header.parse_pathname_to_str(), header.is_directory(), header.compressed_size);
        report.check_name(&name);
        let known = reader.is_decoder_supported();
        if !known && !folder {
            report.unknown("archive.unsupported", &format!("{name:?} uses a method that is not known"));
        }
        let (data, stop) = if known && !folder {
            budget.read(&mut reader, usize::try_from(packed).unwrap_or(usize::MAX))
        } else {
            budget.copy(&[])
        };
        if stop == Stop::Broken || (known && stop == Stop::End && !reader.crc_is_ok()) {
            report.unknown("archive.malformed", &format!("{name:?} cannot be unpacked to its end"));
        }
        if !folder {
            members.push(Member { name, data });
        }
        if report.stopped(stop, "entry") || stop == Stop::Bomb || budget.is_spent() {
            break;
        }
        match reader.next_file() {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                report.unknown("archive.malformed", "a header of the archive is damaged");
                break;
            }
        }
    }
    drop(reader);
    report.ends_at(data.len() - source.len());
    members
}

/// As [`lha_length`]; the header of an arj has a checksum of its own.
pub(super) fn arj_length(data: &[u8]) -> Option<usize> {
    let size = le(data, 2, 2).filter(|size| (30..=HEADER).contains(size))?;
    let header = piece(data, 4, size)?;
    let sum = le(data, 4 + size, 4)?;
    let is_first = header.get(6) == Some(&2);
    (is_first && data.starts_with(b"\x60\xea") && usize::try_from(crc32fast::hash(header)).ok() == Some(sum))
        .then_some(data.len())
}

pub(super) fn arj(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    read_arj(&object.data, budget, report)
}

pub(super) fn read_arj(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (mut at, mut members) = (0_usize, Vec::new());
    let mut whole = false;
    while piece(data, at, 2) == Some(b"\x60\xea") {
        let Some(size) = le(data, at + 2, 2) else { break };
        if size == 0 {
            whole = true;
            break;
        }
        let Some(header) = piece(data, at + 4, size) else { break };
        at += 4 + size + 4;
        // Further headers, each with a checksum; a length of zero ends them.
        while let Some(more) = le(data, at, 2) {
            at += 2;
            if more == 0 {
                break;
            }
            at += more + 4;
        }
        let field = |at, width| le(header, at, width).unwrap_or_default();
        // The first header is the archive's own.
        if field(6, 1) == 2 {
            continue;
        }
        let name = text(from(header, field(0, 1)));
        let body = upto(data, at, field(12, 4));
        at = at.saturating_add(field(12, 4));
        report.check_name(&name);
        if field(6, 1) == 3 {
            continue;
        }
        let modifier = (field(4, 1) & 1 != 0).then(|| header.get(7).copied().unwrap_or_default());
        let entry = Entry { method: field(5, 1), size: field(16, 4), crc: field(20, 4), modifier };
        let (data, stop) = entry.unpack(body, &name, budget, report);
        members.push(Member { name, data });
        if report.stopped(stop, "entry") {
            return members;
        }
    }
    if !whole {
        report.unknown("archive.malformed", "the arj archive is cut off");
    }
    report.ends_at(at.min(data.len()));
    members
}

struct Entry {
    method: usize,
    size: usize,
    crc: usize,
    /// Of the cover, when the entry is under a password.
    modifier: Option<u8>,
}

impl Entry {
    fn unpack(&self, body: &[u8], name: &str, budget: &mut Budget, report: &mut Report<'_>) -> (Vec<u8>, Stop) {
        let Some(modifier) = self.modifier else { return self.open(body, name, budget, report) };
        let words = budget.passwords.iter().take_while(|_| budget.may_guess());
        let opened = { words }.find_map(|word| {
            let plain = uncover(body, word.as_bytes(), modifier);
            self.decode(&plain, budget).filter(|(data, _)| self.is_right(data))
        });
        let Some((data, stop)) = opened else {
            report.unknown("archive.encrypted", &format!("{name:?} is encrypted"));
            return budget.copy(&[]);
        };
        report.say("archive.password_in_text", &format!("{name:?} opens with a word of the message"));
        let counted = budget.take(data.len());
        (data, if counted { stop } else { Stop::Full })
    }

    fn open(&self, body: &[u8], name: &str, budget: &mut Budget, report: &mut Report<'_>) -> (Vec<u8>, Stop) {
        let Some((data, stop)) = self.decode(body, budget) else {
            report.unknown("archive.unsupported", &format!("{name:?} uses method {}", self.method));
            return budget.copy(&[]);
        };
        if stop == Stop::Broken || (stop == Stop::End && !self.is_right(&data)) {
            report.unknown("archive.malformed", &format!("{name:?} cannot be unpacked to its end"));
        }
        let counted = budget.take(data.len());
        (data, if counted { stop } else { Stop::Full })
    }

    fn is_right(&self, data: &[u8]) -> bool {
        usize::try_from(crc32fast::hash(data)).ok() == Some(self.crc)
    }

    /// `None`: not a method known here.
    fn decode(&self, body: &[u8], budget: &Budget) -> Option<(Vec<u8>, Stop)> {
        Some(match self.method {
            0 => budget.peek(body, body.len()),
            1..=3 => budget.peek(Filling { decoder: Lh7Decoder::new(body), left: self.size }, body.len()),
            4 => budget.peek(
                Fastest { data: body, bit: 0, ring: vec![0; RING], at: 0, copy: (0, 0), left: self.size },
                body.len(),
            ),
            _ => return None,
        })
    }
}

/// The cover of arj: each octet under one of the password's and a number that is the entry's.
fn uncover(body: &[u8], password: &[u8], modifier: u8) -> Vec<u8> {
    body.iter().zip(password.iter().cycle()).map(|(octet, key)| octet ^ key.wrapping_add(modifier)).collect()
}

const RING: usize = 1 << 15;

/// Method 4 of arj: lengths and distances in a code that is written down nowhere, for it is fixed: the more ones in
/// front, the more bits follow.
struct Fastest<'d> {
    data: &'d [u8],
    bit: usize,
    ring: Vec<u8>,
    at: usize,
    /// What is being repeated: how many octets more, from how far back.
    copy: (usize, usize),
    left: usize,
}

impl Fastest<'_> {
    /// High bits first.
    fn bits(&mut self, count: usize) -> Option<usize> {
        let mut sum = 0;
        for _ in 0..count {
            let octet = self.data.get(self.bit / 8)?;
            sum = sum << 1 | usize::from(octet >> (7 - self.bit % 8) & 1);
            self.bit += 1;
        }
        Some(sum)
    }
    fn number(&mut self, least: usize, most: usize) -> Option<usize> {
        let (mut sum, mut width) = (0, least);
        while width < most && self.bits(1)? == 1 {
            sum += 1 << width;
            width += 1;
        }
        Some(sum + self.bits(width)?)
    }
    fn next(&mut self) -> Option<u8> {
        if self.copy.0 == 0 {
            let length = self.number(0, 7)?;
            if length == 0 {
                return u8::try_from(self.bits(8)?).ok();
            }
            self.copy = (length + 2, self.number(9, 13)? + 1);
        }
        self.copy.0 -= 1;
        self.ring.get((self.at + RING - self.copy.1 % RING) % RING).copied()
    }
}

impl Read for Fastest<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = out.len().min(self.left);
        for (n, place) in out.iter_mut().take(length).enumerate() {
            let Some(octet) = self.next() else {
                // What came before a damaged place is handed out first.
                self.left = if n == 0 { 0 } else { self.left - n };
                return if n == 0 { Err(std::io::Error::other("the stream is damaged")) } else { Ok(n) };
            };
            *place = octet;
            if let Some(slot) = self.ring.get_mut(self.at) {
                *slot = octet;
            }
            self.at = (self.at + 1) % RING;
        }
        self.left -= length;
        Ok(length)
    }
}

/// A decoder that must be told how much is to come, as a reader.
struct Filling<D> {
    decoder: D,
    left: usize,
}

impl<'d, D: Decoder<&'d [u8]>> Read for Filling<D> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = out.len().min(self.left);
        let part = out.get_mut(..length).unwrap_or_default();
        self.decoder.fill_buffer(part).map_err(|_| std::io::Error::other("the stream is damaged"))?;
        self.left -= length;
        Ok(length)
    }
}
