//! Archives behind other octets: programs that unpack themselves, pictures with an archive at their end, archives behind
//! archives. 7-Zip and WinRAR find them, so that a person who was told to open a picture with them does (THREATS Z-09).

use memchr::memmem;

use super::super::Object;
use super::bytes::from;
use super::{Budget, Member, Report, cab, rar, sevenz};

/// How long the archive is that begins some octets, when one does.
type Length = fn(&[u8]) -> Option<usize>;

const MARKS: &[(&[u8], Length)] =
    &[(b"7z\xbc\xaf\x27\x1c", sevenz::length), (b"Rar!\x1a\x07", rar_length), (b"MSCF", cab::length)];

/// Archives of one kind looked for in one object.
const FOUND: usize = 8;

/// Kinds whose members lie in them as they are: an archive inside is a member, and opened as one.
const LINEAR: &[&str] = &[
    "application/x-archive",
    "application/x-cpio",
    "application/x-disk-image",
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
    MARKS.iter().any(|(mark, _)| memmem::find(from(data, 1), mark).is_some())
}

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    // What stands before is the archive that was opened already.
    let mut at = report.end().unwrap_or(1).max(1);
    let mut places: Vec<(usize, usize)> =
        MARKS.iter().flat_map(|(mark, length)| found(data, at, mark, *length)).collect();
    places.sort_unstable();
    let mut members = Vec::new();
    for (start, length) in places {
        if start < at || budget.is_spent() {
            continue;
        }
        report.say("archive.embedded", &format!("an archive lies behind other octets, at {start}"));
        let rest = data.get(start..).unwrap_or_default();
        members.extend(match rest.first() {
            Some(b'7') => sevenz::read(rest, budget, report),
            Some(b'R') => rar::read(rest, budget, report),
            _ => cab::read(rest, budget, report),
        });
        at = start.saturating_add(length);
    }
    members
}

/// Where whole archives of one kind stand behind `from`, and how long each is.
fn found(data: &[u8], from: usize, mark: &[u8], length: Length) -> Vec<(usize, usize)> {
    let rest = data.get(from..).unwrap_or_default();
    let places = memmem::find_iter(rest, mark).map(|at| from + at);
    places.filter_map(|at| Some((at, length(data.get(at..)?)?))).take(FOUND).collect()
}

fn rar_length(data: &[u8]) -> Option<usize> {
    matches!(data.get(6..8), Some([0, _] | [1, 0])).then_some(data.len())
}
