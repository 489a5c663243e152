//! OneNote sections (MS-ONESTORE): files kept in them, found by the header of their store, and the names they show.

use super::super::bytes::{slice, strings, u64_at};
use super::super::report::{Found, Report};
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::name::Name;
use crate::inspect::checks::content::{Object, kind};

/// FileDataStoreObject (MS-ONESTORE §2.6.13): mark, length, 12 octets, data.
const STORE: &[u8] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";
const FILES: usize = 500;

pub fn is_notebook(object: &Object<'_>) -> bool {
    object.kind == "application/onenote" || memchr::memmem::find(slice(&object.data, 0, 1 << 20), STORE).is_some()
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = &object.data;
    let text = strings(data, 5, 256 << 10);
    report.links_in(&text);
    let is_name = |l: &&str| l.len() < 260 && Name::read(l).is_active();
    let names: Vec<&str> = text.lines().map(str::trim).filter(is_name).collect();
    if let Some(name) = names.first() {
        report.say("office.package-program", format!("names an embedded program or script: {name:?}"));
    }
    let mut found = Vec::new();
    let mut names = names.into_iter();
    for at in memchr::memmem::find_iter(data, STORE).take(FILES) {
        let Some(length) = u64_at(data, at + 16) else { break };
        let body = slice(data, at + 36, length);
        if !budget.take(body.len()) {
            report.say("unpack.limit", "an embedded file does not fit the budget");
            break;
        }
        let picture = kind::of(body).starts_with("image/");
        let name = if picture { None } else { names.next() };
        let name = name.map_or_else(|| format!("file {}", found.len() + 1), str::to_owned);
        found.push(Found::member(name, body));
    }
    found
}
