//! Office formats, old and new: compound files (.doc, .xls, .ppt, .msg), the parts of OOXML and OpenDocument packages,
//! Word's XML, RTF and OneNote.

mod biff;
mod compound;
mod cover;
mod embedded;
mod fields;
mod mapi;
mod mso;
mod onenote;
mod part;
mod relations;
mod rtf;
mod sheet;
mod slides;
mod spreadsheet;
#[cfg(test)]
pub mod tests;
mod vba;
mod xlm;

use super::bytes::holds;
use super::report::{Found, Report, Role};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;
use compound::{Compound, Entry, Kind};

pub use mso::{archive_behind, is_active_mime, is_archive_behind, open_active_mime};
pub use onenote::{is_notebook, open as notebook};
pub use part::{is_part, open as part};
pub use rtf::{is_rtf, open as rtf};
pub use spreadsheet::cells;
pub use vba::words::without_attributes;
pub use vba::{clear, judge_script};

/// Streams of one file that become objects, and octets of one.
const STREAMS: usize = 300;
const STREAM: usize = 32 << 20;

/// Classes of objects that attacks are made of (MS-CFB §2.6.1: little-endian in the first three fields).
const CLASSES: &[([u8; 16], &str, &str)] = &[
    (*b"\x02\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46", "office.equation", "Equation Editor"),
    (*b"\x6e\xdb\x7c\xd2\x6d\xae\xcf\x11\x96\xb8\x44\x45\x53\x54\x00\x00", "office.activex", "Flash"),
    (*b"\x20\x69\x33\x25\xf9\x03\xcf\x11\x8f\xd0\x00\xaa\x00\x68\x6f\x13", "office.activex", "HTML document"),
    (*b"\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc", "office.external-object", "script moniker"),
    (
        *b"\x4b\xf0\xd1\xbd\x8b\x85\xd1\x11\xb1\x6a\x00\xc0\xf0\x28\x36\x28",
        "office.activex",
        "MSComctlLib.ListViewCtrl",
    ),
    (
        *b"\xe0\xf5\x6b\x99\x44\x80\x50\x46\xad\xeb\x0b\x01\x39\x14\xe9\x9c",
        "office.activex",
        "MSComctlLib.TreeViewCtrl",
    ),
    (*b"\x00\x03\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46", "office.external-object", "linked object"),
];

pub fn is_compound(object: &Object<'_>) -> bool {
    object.kind == "application/x-ole-storage"
}

/// A compound file: what kind of document it is shows in the names of its streams.
pub fn compound(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let Some(file) = Compound::open(&object.data) else {
        report.unknown("office.malformed", "its directory cannot be read");
        return recover(&object.data);
    };
    if file.damaged {
        report.say("office.damaged", "chains of sectors that loop or end nowhere, or streams outside the tree");
    }
    let mut found = vba::open(&file, budget, report);
    found.extend(vba::forms(&file, budget, report));
    let mut opened = cover::open(&file, budget, report);
    found.append(&mut opened.found);
    for (class, code, words) in CLASSES {
        if file.entries.iter().any(|e| e.class == *class) {
            report.say(code, format!("holds an object of class {words}"));
        }
    }
    if mapi::is_message(&file) {
        found.extend(mapi::open(&file, budget, report));
        return found;
    }
    for entry in file.entries.iter().filter(|e| e.kind == Kind::Stream && e.size > 8).take(STREAMS) {
        let data = opened.read(entry, file.read(entry, STREAM));
        found.extend(stream(entry, data, budget, report));
        if file.is_spent() {
            report.say("unpack.limit", "its streams are longer than the file they lie in");
            break;
        }
    }
    found
}

/// One stream, by its name: what it means, and its octets for the scanners.
fn stream(entry: &Entry, data: Vec<u8>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    match entry.name().to_ascii_lowercase().as_str() {
        "workbook" | "book" => found.extend(biff::open(&data, budget, report)),
        "worddocument" => fields::in_word(&data, report),
        "powerpoint document" => found.extend(slides::open(&data, budget, report)),
        "\u{1}ole10native" => found.extend(embedded::native(&data, budget, report)),
        "equation native" => report.say("office.equation", "holds an equation of the old editor"),
        "package" | "contents" if is_file(&data) => {
            if budget.take(data.len()) {
                found.push(Found::member(format!("embedded {}", short(entry)), data));
            }
            return found;
        }
        "\u{1}ole" | "\u{3}linkinfo" => embedded::monikers(&data, report),
        _ => {}
    }
    if budget.take(data.len()) {
        found.push(Found::stream(entry.path.clone(), data));
    } else {
        report.say("unpack.limit", "the budget of unpacked octets or files is spent");
    }
    found
}

/// Octets that are a file of some format by themselves.
fn is_file(data: &[u8]) -> bool {
    [b"PK\x03\x04".as_slice(), b"\xd0\xcf\x11\xe0", b"%PDF-", b"{\\rt", b"MZ", b"\x89PNG", b"\xff\xd8\xff"]
        .iter()
        .any(|magic| data.starts_with(magic))
}

fn short(entry: &Entry) -> String {
    entry.path.chars().filter(|c| !c.is_control()).map(|c| if c == '/' { '-' } else { c }).take(60).collect()
}

/// A compound file without a directory: macro source by its shape, wherever it lies.
fn recover(data: &[u8]) -> Vec<Found> {
    if !holds(data, "Attribut") && !holds(data, "_VBA_PROJECT") {
        return Vec::new();
    }
    vec![Found { name: "remains".to_owned(), data: data.to_vec(), role: Role::Stream }]
}
