//! Archives of the DOS days that attackers still send because little opens them: LHA (`lzh`) and ARJ, whose methods one
//! to three are LHA's seventh under another name.

use std::io::Read;

use delharc::LhaDecodeReader;
use delharc::decode::{Decoder, Lh7Decoder};

use super::super::Object;
use super::bytes::{from, le, piece, text, upto};
use super::{Budget, Member, Report, Stop};

/// Whether an LHA header begins `data`.
pub(in super::super) fn is_lha(data: &[u8]) -> bool {
    matches!(data.get(2..7), Some([b'-', b'l', b'h' | b'z', b'0'..=b'9' | b'd' | b's' | b'x', b'-']))
        || matches!(data.get(2..7), Some([b'-', b'p', b'm', b'0'..=b'9' | b's', b'-']))
}

pub(super) fn lha(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (mut members, mut source) = (Vec::new(), &*object.data);
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
    members
}

pub(super) fn arj(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (data, mut at, mut members) = (&*object.data, 0_usize, Vec::new());
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
        let entry = Entry { method: field(5, 1), size: field(16, 4), crc: field(20, 4), covered: field(4, 1) & 1 != 0 };
        let (data, stop) = entry.unpack(body, &name, budget, report);
        members.push(Member { name, data });
        if report.stopped(stop, "entry") {
            return members;
        }
    }
    if !whole {
        report.unknown("archive.malformed", "the arj archive is cut off");
    }
    members
}

struct Entry {
    method: usize,
    size: usize,
    crc: usize,
    covered: bool,
}

impl Entry {
    fn unpack(&self, body: &[u8], name: &str, budget: &mut Budget, report: &mut Report<'_>) -> (Vec<u8>, Stop) {
        if self.covered {
            report.unknown("archive.encrypted", &format!("{name:?} is encrypted"));
            return budget.copy(&[]);
        }
        let (data, stop) = match self.method {
            0 => budget.copy(body),
            1..=3 => budget.read(Filling { decoder: Lh7Decoder::new(body), left: self.size }, body.len()),
            method => {
                report.unknown("archive.unsupported", &format!("{name:?} uses method {method}"));
                return budget.copy(&[]);
            }
        };
        let right = usize::try_from(crc32fast::hash(&data)).ok() == Some(self.crc);
        if stop == Stop::Broken || (stop == Stop::End && !right) {
            report.unknown("archive.malformed", &format!("{name:?} cannot be unpacked to its end"));
        }
        (data, stop)
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
