//! ActiveMime (`editdata.mso`, `oledata.mso`): a compound file behind a header and zlib, as MHT and Word's XML carry
//! macros; and MHT that lies behind a PDF, which a viewer shows as one and Word opens as the other.

use super::super::bytes::slice;
use super::super::flate;
use super::super::report::{Found, Report, Role};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

pub fn is_active_mime(object: &Object<'_>) -> bool {
    object.data.starts_with(b"ActiveMime")
}

/// The stream begins where a zlib header stands; its place differs between writers.
pub fn open_active_mime(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = &object.data;
    let starts = (0x20..data.len().min(0x100)).filter(|at| data.get(*at) == Some(&0x78));
    for start in starts {
        let body = data.get(start..).unwrap_or_default();
        // RFC 1950 §2.2: the two octets are a multiple of 31.
        let check = body.get(1).map_or(1, |low| (0x78_u32 * 256 + u32::from(*low)) % 31);
        if check == 0
            && let Some(inner) = flate::zlib(body, budget, report)
        {
            return vec![Found::stream("project", inner)];
        }
    }
    report.unknown("office.malformed", "an ActiveMime part cannot be opened");
    Vec::new()
}

/// How far into a file Word looks for the header of a web archive.
const HEAD: usize = 1 << 20;

fn archive_at(data: &[u8]) -> Option<usize> {
    let head = slice(data, 0, HEAD);
    let at = memchr::memmem::find(head, b"MIME-Version:").or_else(|| memchr::memmem::find(head, b"MIME-version:"))?;
    let near = slice(data, at, 4096).to_ascii_lowercase();
    (at > 0 && memchr::memmem::find(&near, b"multipart/").is_some()).then_some(at)
}

pub fn is_archive_behind(object: &Object<'_>) -> bool {
    object.kind == "application/pdf" && archive_at(&object.data).is_some()
}

pub fn archive_behind(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let Some(rest) = archive_at(&object.data).and_then(|at| object.data.get(at..)) else { return Vec::new() };
    report.say("pdf.polyglot", "is a PDF and a web archive, which Word opens with its macros");
    if !budget.take(rest.len()) {
        report.say("unpack.limit", "the budget of unpacked octets or files is spent");
        return Vec::new();
    }
    vec![Found { name: "archive".to_owned(), data: rest.to_vec(), role: Role::Entity }]
}
