//! ISO 9660 (ECMA-119) with Joliet and Rock Ridge. The trees may show different files: all of them are read, what lies
//! at one place is taken once, under the name that Windows shows.

use std::collections::{BTreeSet, VecDeque};

use super::super::bytes::{from, le, piece, text, upto};
use super::{Budget, Disk, ENTRIES, Extent, Member, Object, Report, Taker, Volume, join, udf};

const SECTOR: usize = 2048;
/// Octets of one folder.
const FOLDER: usize = 4 << 20;
/// Pieces of one file.
const PIECES: usize = 4096;
/// Further fields of one entry.
const FIELDS: usize = 64;

pub(in super::super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    let mut taker = Taker { members: Vec::new(), budget, report, packed: data.len(), places: BTreeSet::new() };
    let disk = Disk::raw(data);
    let volume = Volume::whole(&disk);
    let mut trees: Vec<(bool, &[u8])> = Vec::new();
    for number in 16..64 {
        let Some(descriptor) = piece(data, number * SECTOR, SECTOR).filter(|d| d.get(1..6) == Some(b"CD001")) else {
            break;
        };
        match descriptor.first() {
            Some(1) => trees.push((false, descriptor)),
            // The escape sequences of UCS-2.
            Some(2) if matches!(descriptor.get(88..91), Some(b"%/@" | b"%/C" | b"%/E")) => {
                trees.push((true, descriptor));
            }
            Some(255) => break,
            _ => {}
        }
    }
    // Windows shows Joliet where there is one.
    trees.sort_by_key(|(joliet, _)| !joliet);
    let mut goes_on = true;
    for (joliet, descriptor) in &trees {
        goes_on = goes_on && tree(data, &volume, *joliet, from(descriptor, 156), &mut taker);
    }
    if goes_on {
        udf::read(data, &volume, &mut taker);
    }
    // Nobody sends an image without a file: what is in it was not found.
    if taker.members.is_empty() {
        taker.report.unknown("archive.malformed", "the image holds no file that can be read");
    }
    taker.members
}

/// Every file below one root; false when nothing more fits.
fn tree(data: &[u8], volume: &Volume<'_, '_>, joliet: bool, root: &[u8], taker: &mut Taker<'_, '_>) -> bool {
    let Some(root) = Record::read(data, root, joliet) else { return true };
    let (mut folders, mut seen, mut looked) =
        (VecDeque::from([(String::new(), root.at, root.size)]), BTreeSet::new(), 0);
    while let Some((path, at, size)) = folders.pop_front() {
        if !seen.insert(at) {
            continue;
        }
        // A folder without entries costs time, too.
        if !taker.may_go_on() {
            return false;
        }
        let mut pieces: Vec<Extent> = Vec::new();
        for record in records(data, at, size, joliet) {
            looked += 1;
            if looked > ENTRIES || !taker.may_go_on() {
                taker.report.say("unpack.limit", "the image holds too many entries");
                return false;
            }
            let name = join(&path, &record.name);
            if let Some(target) = record.link {
                taker.report.say("archive.link", &format!("{name:?} is a link to {target:?}"));
                continue;
            }
            if record.is_folder {
                folders.push_back((name, record.at, record.size));
                continue;
            }
            if record.is_packed {
                taker.report.unknown("archive.unsupported", &format!("{name:?} is packed by its file system"));
            }
            pieces.push((Some(record.at), record.size));
            if record.goes_on && pieces.len() < PIECES {
                continue;
            }
            let extents = std::mem::take(&mut pieces);
            let size = extents.iter().map(|(_, length)| *length).sum();
            let first = extents.first().and_then(|(at, _)| *at).unwrap_or_default();
            // A second name of the same octets is looked at as a name.
            let known = size > 0 && !taker.places.insert((first, size));
            let (extents, size) = if known { (&[][..], 0) } else { (&*extents, size) };
            if known && taker.members.iter().any(|member| member.name.eq_ignore_ascii_case(&name)) {
                continue;
            }
            if !taker.file(name, volume, extents, size) {
                return false;
            }
        }
    }
    true
}

struct Record {
    name: String,
    at: u64,
    size: u64,
    is_folder: bool,
    /// More of the same file follows.
    goes_on: bool,
    link: Option<String>,
    is_packed: bool,
}

fn records(data: &[u8], at: u64, size: u64, joliet: bool) -> Vec<Record> {
    let (start, length) =
        (usize::try_from(at).unwrap_or(usize::MAX), usize::try_from(size).unwrap_or(FOLDER).min(FOLDER));
    let octets = upto(data, start, length);
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(length) = octets.get(at).copied().map(usize::from) {
        if length == 0 {
            // Records do not go over the end of a sector.
            at = (at / SECTOR + 1) * SECTOR;
            continue;
        }
        let record = upto(octets, at, length);
        at += length;
        // The first two are the folder itself and the one above.
        if matches!(record.get(32..34), Some([1, 0 | 1])) {
            continue;
        }
        found.extend(Record::read(data, record, joliet));
    }
    found
}

impl Record {
    fn read(data: &[u8], record: &[u8], joliet: bool) -> Option<Self> {
        let attributes = le(record, 1, 1)? as u64;
        let (at, size, flags) = (le(record, 2, 4)? as u64, le(record, 10, 4)? as u64, le(record, 25, 1)?);
        let length = le(record, 32, 1)?;
        let raw = piece(record, 33, length)?;
        let mut name = if joliet { utf16_be(raw) } else { text(raw) };
        if let Some((stem, _)) = name.rsplit_once(';') {
            name.truncate(stem.len());
        }
        let mut found = Self {
            name: name.trim_end_matches('.').to_owned(),
            at: (at + attributes) * SECTOR as u64,
            size,
            is_folder: flags & 2 != 0,
            goes_on: flags & 0x80 != 0,
            link: None,
            is_packed: false,
        };
        if !joliet {
            found.rock_ridge(data, from(record, 33 + length + (length + 1) % 2));
        }
        Some(found)
    }

    /// System use fields (SUSP, RRIP): the long name, the target of a link, whether the octets are packed.
    fn rock_ridge(&mut self, data: &[u8], fields: &[u8]) {
        let (mut area, mut name, mut left) = (fields, String::new(), FIELDS);
        let mut next: Option<&[u8]> = None;
        loop {
            let length = le(area, 2, 1).unwrap_or_default();
            if length < 4 || length > area.len() {
                match next.take() {
                    Some(more) => area = more,
                    None => break,
                }
                continue;
            }
            let body = upto(area, 4, length - 4);
            match area.get(..2) {
                Some(b"NM") => name.push_str(&String::from_utf8_lossy(from(body, 1))),
                Some(b"SL") => self.link = Some(self.link.take().unwrap_or_default() + &text(from(body, 3))),
                Some(b"ZF") => self.is_packed = true,
                Some(b"CE") => {
                    let field = |at| le(body, at, 4).unwrap_or_default();
                    next = Some(upto(data, field(0).saturating_mul(SECTOR).saturating_add(field(8)), field(16)));
                }
                _ => {}
            }
            area = from(area, length);
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if !name.is_empty() {
            self.name = name;
        }
    }
}

pub(super) fn utf16_be(octets: &[u8]) -> String {
    let swapped: Vec<u8> = octets.chunks_exact(2).flat_map(|pair| pair.iter().rev().copied()).collect();
    super::super::bytes::utf16(&swapped)
}
