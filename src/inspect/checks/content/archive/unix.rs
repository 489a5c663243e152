//! The plain archives of Unix: ar (and so Debian packages), cpio in its four forms, rpm, which is a cpio in a coding.

use super::super::Object;
use super::bytes::{be, from, le, piece, text, upto};
use super::{Budget, Member, Report, Stop};

/// `!<arch>`: headers of 60 octets in text.
pub(super) fn ar(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (data, mut at) = (&*object.data, 8);
    let (mut members, mut names): (Vec<Member>, &[u8]) = (Vec::new(), &[]);
    while let Some(header) = piece(data, at, 60) {
        let Some(size) = decimal(header.get(48..58).unwrap_or_default()) else {
            report.unknown("archive.malformed", "a header of the ar archive is damaged");
            break;
        };
        let field = String::from_utf8_lossy(header.get(..16).unwrap_or_default()).trim_end().to_owned();
        let mut body = upto(data, at + 60, size);
        at = at.saturating_add(60).saturating_add(size).saturating_add(size & 1);
        if field == "//" {
            names = body;
            continue;
        }
        let mut name = field.trim_end_matches('/').to_owned();
        if let Some(length) = field.strip_prefix("#1/").and_then(|n| n.parse::<usize>().ok()) {
            // BSD: the name stands before the octets.
            name = text(upto(body, 0, length));
            body = from(body, length);
        } else if let Some(offset) = field.strip_prefix('/').and_then(|n| n.parse::<usize>().ok()) {
            let rest = from(names, offset);
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            name = String::from_utf8_lossy(upto(rest, 0, end)).trim_end_matches('/').to_owned();
        }
        if !push(name, body, &mut members, budget, report) {
            break;
        }
    }
    members
}

fn decimal(field: &[u8]) -> Option<usize> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

fn push(name: String, body: &[u8], members: &mut Vec<Member>, budget: &mut Budget, report: &mut Report<'_>) -> bool {
    report.check_name(&name);
    let (data, stop) = budget.copy(body);
    members.push(Member { name, data });
    !report.stopped(stop, "entry")
}

/// Whether a cpio header of any form begins `data`.
pub(in super::super) fn is_cpio(data: &[u8]) -> bool {
    Entry::read(data).is_some_and(|entry| entry.name_length > 0 && entry.name_length < 4096 && entry.is_sane())
}

pub(super) fn cpio(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (data, mut at, mut members) = (&*object.data, 0_usize, Vec::new());
    while at < data.len() {
        let Some(entry) = Entry::read(from(data, at)) else {
            if !from(data, at).iter().all(|b| *b == 0) {
                report.unknown("archive.malformed", "a header of the cpio archive is damaged");
            }
            break;
        };
        let name_at = at.saturating_add(entry.header);
        let name = text(upto(data, name_at, entry.name_length));
        let body_at = entry.padded(name_at.saturating_add(entry.name_length), at);
        if name == "TRAILER!!!" {
            if entry.mode & 0o170_000 != 0 {
                report.say("archive.inconsistent", "the end of the cpio archive is an entry");
            }
            report.ends_at(body_at.min(data.len()));
            break;
        }
        let body = upto(data, body_at, entry.size);
        at = entry.padded(body_at.saturating_add(entry.size), at);
        match entry.mode & 0o170_000 {
            0o040_000 => continue,
            0o120_000 => report.say("archive.link", &format!("{name:?} is a link to {:?}", text(body))),
            _ => {}
        }
        if !push(name, body, &mut members, budget, report) {
            break;
        }
    }
    members
}

/// A cpio header.
struct Entry {
    header: usize,
    mode: usize,
    name_length: usize,
    size: usize,
    /// Names and octets begin at multiples of this.
    round: usize,
}

impl Entry {
    fn read(data: &[u8]) -> Option<Self> {
        let hex = |at: usize| usize::from_str_radix(std::str::from_utf8(piece(data, at, 8)?).ok()?, 16).ok();
        let octal =
            |at: usize, width: usize| usize::from_str_radix(std::str::from_utf8(piece(data, at, width)?).ok()?, 8).ok();
        match data.get(..6)? {
            b"070701" | b"070702" => {
                Some(Self { header: 110, mode: hex(14)?, name_length: hex(94)?, size: hex(54)?, round: 4 })
            }
            b"070707" => Some(Self {
                header: 76,
                mode: octal(18, 6)?,
                name_length: octal(59, 6)?,
                size: octal(65, 11)?,
                round: 1,
            }),
            [0xC7, 0x71, ..] => {
                let size = le(data, 22, 2)? << 16 | le(data, 24, 2)?;
                Some(Self { header: 26, mode: le(data, 6, 2)?, name_length: le(data, 20, 2)?, size, round: 2 })
            }
            [0x71, 0xC7, ..] => {
                let size = be(data, 22, 4)?;
                Some(Self { header: 26, mode: be(data, 6, 2)?, name_length: be(data, 20, 2)?, size, round: 2 })
            }
            _ => None,
        }
    }
    /// Two octets are a weak magic: the kind of file must be one there is.
    const fn is_sane(&self) -> bool {
        matches!(self.mode >> 12, 1 | 2 | 4 | 6 | 8 | 9 | 10 | 12)
    }
    /// `at`, rounded up as counted from `start`.
    fn padded(&self, at: usize, start: usize) -> usize {
        let distance = at.saturating_sub(start);
        start.saturating_add(distance.div_ceil(self.round).saturating_mul(self.round))
    }
}

/// A lead of 96 octets, two headers with an index each, then the cpio in its coding, whose magic tells where it begins.
pub(super) fn rpm(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    let header = |at: usize| {
        let (magic, entries, size) = (piece(data, at, 4)?, be(data, at + 8, 4)?, be(data, at + 12, 4)?);
        (magic == b"\x8e\xad\xe8\x01").then_some(at + 16 + entries.checked_mul(16)?.checked_add(size)?)
    };
    let payload = header(96).and_then(|end| header(end.checked_next_multiple_of(8)?)).filter(|at| *at < data.len());
    // Headers that lie about their lengths: the first coding that begins behind the lead.
    let codings: [&[u8]; 5] = [b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh9", b"070701"];
    let search = || codings.iter().filter_map(|magic| memchr::memmem::find(from(data, 96), magic)).min();
    let Some(payload) = payload.or_else(|| Some(96 + search()?)) else {
        report.unknown("archive.malformed", "the headers of the rpm are damaged");
        return Vec::new();
    };
    let (data, stop) = budget.copy(from(data, payload));
    if stop != Stop::End {
        report.stopped(stop, "payload");
        return Vec::new();
    }
    vec![Member { name: "payload".to_owned(), data }]
}
