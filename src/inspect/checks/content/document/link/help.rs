//! Compiled help (ITSF): pages and files by the names of its directory, those of the compressed section too. Windows
//! opens it with a program that runs what the pages say.

use std::ops::Range;

use lzxd::Lzxd;

use super::super::bytes::{slice, u32_at, u64_at};
use super::super::report::{Found, Report};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::{Budget, lzx_window};
use crate::inspect::checks::content::name::Name;

const CHUNKS: usize = 2000;
const FILES: usize = 10_000;
/// Octets that one frame of the compressed section unpacks to.
const FRAME: usize = 32 << 10;

pub fn is_help(object: &Object<'_>) -> bool {
    object.data.starts_with(b"ITSF")
}

/// A file of the directory.
struct Entry {
    name: String,
    /// Lies in the compressed section.
    packed: bool,
    place: Range<usize>,
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = &object.data;
    let mut entries: Vec<Entry> = Vec::new();
    for at in memchr::memmem::find_iter(data, b"PMGL").take(CHUNKS) {
        // Free space at the end of the chunk of 4,096 octets.
        let free = u32_at(data, at + 4).unwrap_or(0).min(4096);
        chunk(slice(data, at + 20, 4096 - 20 - free.min(4076)), &mut entries);
    }
    let is_own = |e: &&Entry| !e.name.starts_with("::") && !e.name.ends_with('/') && !e.name.starts_with(['#', '$']);
    let files = || entries.iter().filter(is_own);
    report
        .unknown("link.help-file", format!("is compiled help of {} files, which run as programs do", files().count()));
    if let Some(program) = files().map(|e| &e.name).find(|n| Name::read(n).is_active()) {
        report.say("office.package-program", format!("holds {program:?}"));
    }
    let mut found = Vec::new();
    let list = files().map(|e| e.name.as_str()).collect::<Vec<_>>().join("\n");
    if budget.take(list.len()) {
        found.push(Found::text("names", list));
    }
    let packed = if files().any(|e| e.packed) { section(data, &entries, budget, report) } else { Vec::new() };
    for entry in files().filter(|e| !e.name.starts_with("/#") && !e.name.starts_with("/$") && !e.place.is_empty()) {
        let whole = if entry.packed { &packed } else { data.get(content(data)..).unwrap_or_default() };
        let body = slice(whole, entry.place.start, entry.place.len());
        if !budget.take(body.len()) {
            report.say("unpack.limit", "the budget of unpacked octets or files is spent");
            break;
        }
        found.push(Found::member(entry.name.trim_start_matches('/'), body));
    }
    found
}

/// Where the section begins that is not compressed.
fn content(data: &[u8]) -> usize {
    u64_at(data, 0x58).unwrap_or(data.len())
}

/// The compressed section: frames of LZX, the decoder begun anew at every so many of them.
fn section(data: &[u8], entries: &[Entry], budget: &Budget, report: &mut Report<'_>) -> Vec<u8> {
    let file = |ending: &str| {
        let entry = entries.iter().find(|e| !e.packed && e.name.ends_with(ending));
        let rest = data.get(content(data)..).unwrap_or_default();
        entry.map_or(&[] as &[u8], |e| slice(rest, e.place.start, e.place.len()))
    };
    let (control, table, packed) =
        (file("MSCompressed/ControlData"), file("/ResetTable"), file("MSCompressed/Content"));
    let unit = if u32_at(control, 8) == Some(1) { 1 } else { FRAME };
    let sizes = u32_at(control, 12).zip(u32_at(control, 16));
    let Some((interval, window)) = sizes.map(|(i, w)| (i.saturating_mul(unit) / FRAME, w.saturating_mul(unit))) else {
        report.unknown("archive.malformed", "the compressed pages cannot be found");
        return Vec::new();
    };
    let window = window.is_power_of_two().then(|| lzx_window(window.ilog2() as usize)).flatten();
    let (Some(window), Some(first), Some(length)) = (window, u32_at(table, 12), u64_at(table, 16)) else {
        report.unknown("archive.malformed", "the compressed pages cannot be found");
        return Vec::new();
    };
    let most = length.min(budget.bytes()).min(budget.dense(packed.len()));
    let starts = (0..).map_while(|n: usize| u64_at(table, first.checked_add(n.checked_mul(8)?)?));
    let starts: Vec<usize> = starts.take(packed.len() / 8 + 1).collect();
    let ends = starts.iter().skip(1).copied().chain([packed.len()]);
    let (mut out, mut decoder) = (Vec::new(), Lzxd::new(window));
    for (number, (start, end)) in starts.iter().zip(ends).enumerate() {
        if out.len() >= most || budget.is_late() {
            break;
        }
        if number > 0 && interval > 0 && number.is_multiple_of(interval) {
            decoder = Lzxd::new(window);
        }
        let frame = slice(packed, *start, end.saturating_sub(*start));
        match decoder.decompress_next(frame, FRAME.min(length.saturating_sub(out.len()))) {
            Ok(octets) => out.extend_from_slice(octets),
            Err(_) => {
                report.unknown("archive.malformed", "the compressed pages cannot be read to their end");
                break;
            }
        }
    }
    if out.len() < length && out.len() >= most {
        report.say("unpack.limit", "the compressed pages do not fit the budget");
    }
    out
}

/// Entries: length, name, then three numbers of seven bits an octet: section, place, length.
fn chunk(data: &[u8], entries: &mut Vec<Entry>) {
    let mut at = 0;
    let number = |at: &mut usize| -> Option<usize> {
        let mut value = 0_usize;
        for _ in 0..9 {
            let byte = usize::from(*data.get(*at)?);
            *at += 1;
            value = value.checked_mul(128)? + (byte & 0x7F);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    while let Some(length) = number(&mut at).filter(|l| *l > 0 && *l < 1024) {
        let name = String::from_utf8_lossy(slice(data, at, length)).into_owned();
        at += length;
        let (Some(section), Some(start), Some(size)) = (number(&mut at), number(&mut at), number(&mut at)) else {
            break;
        };
        if entries.len() >= FILES {
            break;
        }
        entries.push(Entry { name, packed: section > 0, place: start..start.saturating_add(size) });
    }
}
