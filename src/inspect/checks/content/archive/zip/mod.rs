//! zip (APPNOTE 6.3), read from every local header there is and from every record of every central directory: what
//! another program could show (a second archive behind, an entry without a record, another name, method or length)
//! is seen too (THREATS Z-01, Z-02). Where directory and entries disagree, a finding says so and both readings are
//! members. A scan goes over each octet once, so that overlapping entries cannot multiply.

mod crypt;
mod directory;
mod entry;
mod method;

use std::collections::BTreeSet;

use memchr::memmem;

use super::super::Object;
use super::bytes::le;
use super::{Budget, Member, Report, Stop};
use directory::{Directory, Record};
use entry::{Entry, Reader};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

/// Entries that lie inside others and are opened beside them; honest archives have none.
const OVERLAPS: usize = 16;

/// Whether a zip lies in `data`, at its start or behind something else.
#[must_use]
pub fn is_inside(data: &[u8]) -> bool {
    // "PK00" and "PK\x07\x08" begin archives that were cut up.
    data.starts_with(LOCAL)
        || ((data.starts_with(b"PK00") || data.starts_with(b"PK\x07\x08")) && memmem::find(data, LOCAL).is_some())
        || (memmem::find(data, LOCAL).is_some() && memmem::rfind(data, END).is_some())
}

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    let directory = Directory::read(data);
    let mut reader = Reader::new(data, budget, report);
    let (mut members, mut seen, mut at) = (Vec::new(), Seen::default(), 0);
    while let Some(found) = data.get(at..).and_then(|rest| memmem::find(rest, b"PK")) {
        let start = at + found;
        at = start + 2;
        if !data.get(start..).unwrap_or_default().starts_with(LOCAL) {
            continue;
        }
        let Some(local) = Entry::local(data, start) else { continue };
        seen.names.insert(local.raw_name.to_vec());
        seen.offsets.insert(start);
        let record = directory.at(start);
        let (length, stop) = reader.both(&local, record, &mut members);
        if stop == Stop::Full {
            return members;
        }
        at = local.data_at.saturating_add(length).max(at);
        seen.covered.push((start, at));
    }
    // What lies in an entry is that entry's: a zip that is stored in this one has a directory of its own.
    let directory = directory.without(&seen.covered);
    // Records that point where the scan saw no header: inside another entry, or at one whose magic was wiped out.
    // Those of an archive that was cut up count from the starts of its volumes.
    let joined = reader.report.is_joined();
    let seen_there = |r: &Record| seen.offsets.contains(&r.offset) || (joined && seen.names.contains(&r.raw_name));
    for (number, record) in directory.records.iter().filter(|r| !seen_there(r)).enumerate() {
        let Some(local) = record.as_entry(data) else { continue };
        reader.report.say("archive.inconsistent", "a zip record points into another entry");
        if number >= OVERLAPS {
            reader.report.say("archive.bomb", "zip entries that overlap");
            break;
        }
        if reader.both(&local, Some(record), &mut members).1 == Stop::Full {
            break;
        }
    }
    compare(data, &directory, &seen, reader.report);
    if let Some(end) = directory.end {
        reader.report.ends_at(end);
    }
    members
}

/// What the scan over local headers came by.
#[derive(Default)]
struct Seen {
    names: BTreeSet<Vec<u8>>,
    offsets: BTreeSet<usize>,
    /// From where upto where entries lie, in order.
    covered: Vec<(usize, usize)>,
}

fn compare(data: &[u8], directory: &Directory, seen: &Seen, report: &mut Report<'_>) {
    let central: BTreeSet<&[u8]> = directory.records.iter().map(|r| &*r.raw_name).collect();
    if seen.names.iter().map(|n| &**n).collect::<BTreeSet<_>>() != central {
        report.say("archive.inconsistent", "the zip directory and the entries name different files");
    }
    let offsets: BTreeSet<usize> = directory.records.iter().map(|r| r.offset).collect();
    if offsets.len() < directory.records.len() {
        report.say("archive.inconsistent", "several zip records point at one entry");
    }
    // APPNOTE §4.4.19: the number of the volume that this is.
    let disk = |end: &usize| le(data, end + 4, 2).is_some_and(|n| n != 0 && n != 0xFFFF);
    if directory.ends.iter().any(disk) && !report.is_joined() {
        report.unknown("archive.volume", "the zip is the last of several volumes");
    }
    if directory.ends.len() > 1 {
        report.say("archive.inconsistent", "several zips in one file");
    }
    if !data.starts_with(b"PK") {
        report.say("archive.inconsistent", "the zip begins behind other octets");
    }
}
