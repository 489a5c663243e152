//! Archives behind other octets: programs that unpack themselves, pictures with an archive at their end, archives behind
//! archives. 7-Zip and WinRAR find them, so that a person who was told to open a picture with them does (THREATS Z-09).

use memchr::memmem;

use super::super::Object;
use super::bytes::from;
use super::{Budget, Member, Report, cab, lha, rar, sevenz};

/// A kind of archive that is known where it begins.
struct Mark {
    octets: &'static [u8],
    /// So many octets of the archive stand before them.
    lead: usize,
    /// How long the archive is that begins some octets, when one does.
    length: fn(&[u8]) -> Option<usize>,
    read: fn(&[u8], &mut Budget, &mut Report<'_>) -> Vec<Member>,
}

const MARKS: &[Mark] = &[
    Mark { octets: b"7z\xbc\xaf\x27\x1c", lead: 0, length: sevenz::length, read: sevenz::read },
    Mark { octets: b"Rar!\x1a\x07", lead: 0, length: rar_length, read: rar::read },
    Mark { octets: b"MSCF", lead: 0, length: cab::length, read: cab::read },
    Mark { octets: b"-lh", lead: 2, length: lha::lha_length, read: lha::read_lha },
    Mark { octets: b"\x60\xea", lead: 0, length: lha::arj_length, read: lha::read_arj },
];

/// Archives of one kind looked for in one object.
const FOUND: usize = 8;
/// Places that only look like the start of one.
const FALSE_STARTS: usize = 4096;

/// Kinds whose members lie in them as they are: an archive inside is a member, and opened as one.
const LINEAR: &[&str] = &[
    "application/x-archive",
    "application/x-cpio",
    "application/x-disk-image",
    "application/x-exfat-image",
    "application/x-fat-image",
    "application/x-iso9660-image",
    "application/x-ntfs-image",
    "application/x-tar",
    "application/x-udf-image",
    "application/x-vhd",
    "application/x-vhdx",
    "message/rfc822",
    "message/x-entity",
];

/// Whether an archive may lie in the object, behind its first octets.
pub(super) fn is_inside(object: &Object<'_>) -> bool {
    !LINEAR.contains(&object.kind) && is_marked(&object.data)
}

/// Whether the mark of an archive stands behind the first octet.
pub(super) fn is_marked(data: &[u8]) -> bool {
    MARKS.iter().any(|mark| !found(data, 1, mark, 1).is_empty())
}

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    // What stands before is the archive that was opened already.
    let mut at = report.end().unwrap_or(1).max(1);
    let places = MARKS.iter().flat_map(|mark| found(data, at, mark, FOUND).into_iter().map(move |place| (place, mark)));
    let mut places: Vec<((usize, usize), &Mark)> = places.collect();
    places.sort_unstable_by_key(|(place, _)| *place);
    let mut members = Vec::new();
    for ((start, length), mark) in places {
        if start < at || budget.is_spent() {
            continue;
        }
        report.say("archive.embedded", &format!("an archive lies behind other octets, at {start}"));
        members.extend((mark.read)(from(data, start), budget, report));
        at = start.saturating_add(length);
    }
    members
}

/// Where whole archives of one kind stand at or behind `start`, and how long each is; at most so many.
fn found(data: &[u8], start: usize, mark: &Mark, most: usize) -> Vec<(usize, usize)> {
    let places = memmem::find_iter(from(data, start + mark.lead), mark.octets).map(|at| start + at);
    places.take(FALSE_STARTS).filter_map(|at| Some((at, (mark.length)(from(data, at))?))).take(most).collect()
}

fn rar_length(data: &[u8]) -> Option<usize> {
    matches!(data.get(6..8), Some([0, _] | [1, 0])).then_some(data.len())
}
