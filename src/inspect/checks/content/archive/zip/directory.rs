//! Every record of every central directory in the octets, and where each says that its entry lies (APPNOTE §4.3.12,
//! §4.3.16). Offsets count from the start of an archive, which may begin anywhere in a file: each end record tells
//! how far the archive before it was moved.

use std::collections::BTreeMap;

use memchr::memmem;

use super::super::bytes::{le, piece};
use super::entry::{Entry, Extra};
use super::{CENTRAL, END};

/// Records of more than this are not looked at: they repeat what the entries say, and those are all read.
const RECORDS: usize = 100_000;
/// End records from the start, and from the end.
const ENDS: usize = 32;

#[derive(Default)]
pub(super) struct Directory {
    pub(super) records: Vec<Record>,
    /// Where the end records stand.
    pub(super) ends: Vec<usize>,
    /// Where the last one ends, its comment included.
    pub(super) end: Option<usize>,
    /// Numbers of records by the place of their entry; the first one counts.
    places: BTreeMap<usize, usize>,
}

/// What the directory says of one entry.
pub(super) struct Record {
    pub(super) raw_name: Vec<u8>,
    pub(super) name: String,
    pub(super) flags: usize,
    pub(super) method: usize,
    pub(super) time: usize,
    pub(super) crc: u32,
    pub(super) packed: usize,
    pub(super) size: usize,
    /// Where the record itself stands.
    pub(super) at: usize,
    /// Where the local header stands in the octets.
    pub(super) offset: usize,
    aes: Option<super::crypt::Aes>,
}

impl Directory {
    pub(super) fn read(data: &[u8]) -> Self {
        let mut directory = Self::default();
        // Directories as the end records place them: from where, upto where, moved by how much.
        let mut moved: Vec<(usize, usize, usize)> = Vec::new();
        // Of many, the first and the last: programs begin to look at either end.
        let mut ends: Vec<usize> = memmem::find_iter(data, END).take(ENDS).collect();
        ends.extend(memmem::rfind_iter(data, END).take(ENDS));
        ends.sort_unstable();
        ends.dedup();
        for end in ends {
            let Some((size, offset)) = place(data, end) else { continue };
            directory.ends.push(end);
            directory.end = le(data, end + 20, 2).map(|comment| (end + 22 + comment).min(data.len()));
            if let Some(start) = end.checked_sub(size) {
                moved.push((start, end, start.saturating_sub(offset)));
            }
        }
        let mut at = 0;
        while let Some(found) = data.get(at..).and_then(|rest| memmem::find(rest, CENTRAL)) {
            let start = at + found;
            at = start + 4;
            if directory.records.len() >= RECORDS {
                break;
            }
            let shift = moved.iter().find(|(from, to, _)| (*from..*to).contains(&start)).map_or(0, |(.., by)| *by);
            if let Some((record, length)) = Record::read(data, start, shift) {
                directory.places.entry(record.offset).or_insert(directory.records.len());
                directory.records.push(record);
                at = start + length;
            }
        }
        directory
    }

    /// Only what stands outside of these ranges, which are in order.
    pub(super) fn without(mut self, covered: &[(usize, usize)]) -> Self {
        let is_free = |at: usize| {
            let before = covered.partition_point(|(from, _)| *from <= at);
            before.checked_sub(1).and_then(|n| covered.get(n)).is_none_or(|(_, upto)| at >= *upto)
        };
        self.places.clear();
        self.records.retain(|record| is_free(record.at));
        self.ends.retain(|end| is_free(*end));
        self
    }

    /// The record of the entry whose header stands at `offset`: the one that says something else than its neighbours
    /// is of no more weight than the first.
    pub(super) fn at(&self, offset: usize) -> Option<&Record> {
        self.places.get(&offset).and_then(|number| self.records.get(*number))
    }
}

/// Size and offset of the directory that the end record at `end` speaks of.
fn place(data: &[u8], end: usize) -> Option<(usize, usize)> {
    let (size, offset) = (le(data, end + 12, 4)?, le(data, end + 16, 4)?);
    if size != 0xFFFF_FFFF && offset != 0xFFFF_FFFF {
        return Some((size, offset));
    }
    // ZIP64: a locator of 20 octets stands before, a record of at least 56 before that.
    let from = end.saturating_sub(20 + 56 + 4096);
    let record = from + memmem::rfind(data.get(from..end)?, b"PK\x06\x06")?;
    Some((le(data, record + 40, 8)?.saturating_add(end - record), le(data, record + 48, 8)?))
}

impl Record {
    fn read(data: &[u8], start: usize, shift: usize) -> Option<(Self, usize)> {
        let (names, extras, comments) = (le(data, start + 28, 2)?, le(data, start + 30, 2)?, le(data, start + 32, 2)?);
        let raw_name = piece(data, start + 46, names)?;
        let extra = Extra::read(piece(data, start + 46 + names, extras).unwrap_or_default(), raw_name);
        let (mut packed, mut offset) = (le(data, start + 20, 4)?, le(data, start + 42, 4)?);
        let (mut wide, mut size) = (extra.wide.iter(), le(data, start + 24, 4)?);
        // APPNOTE §4.5.3: only those that are all ones stand there, in this order.
        if size == 0xFFFF_FFFF {
            size = wide.next().copied().unwrap_or(size);
        }
        if packed == 0xFFFF_FFFF {
            packed = wide.next().copied().unwrap_or(packed);
        }
        if offset == 0xFFFF_FFFF {
            offset = wide.next().copied().unwrap_or(offset);
        }
        let record = Self {
            name: extra.name.unwrap_or_else(|| String::from_utf8_lossy(raw_name).into_owned()),
            raw_name: raw_name.to_vec(),
            flags: le(data, start + 8, 2)?,
            method: le(data, start + 10, 2)?,
            time: le(data, start + 12, 2)?,
            crc: u32::try_from(le(data, start + 16, 4)?).ok()?,
            packed,
            size,
            at: start,
            offset: offset.saturating_add(shift),
            aes: extra.aes,
        };
        Some((record, 46 + names + extras + comments))
    }

    /// The entry as this record has it; only where its octets begin is asked of the entry.
    pub(super) fn as_entry<'d>(&self, data: &'d [u8]) -> Option<Entry<'d>> {
        let (names, extras) = (le(data, self.offset.checked_add(26)?, 2)?, le(data, self.offset + 28, 2)?);
        let raw_name = piece(data, self.offset + 30, names)?;
        Some(Entry {
            raw_name,
            name: self.name.clone(),
            flags: self.flags,
            method: self.method,
            time: self.time,
            crc: self.crc,
            packed: self.packed,
            size: self.size,
            data_at: self.offset + 30 + names + extras,
            aes: self.aes,
            stale: None,
        })
    }
}
