//! Compiled help (ITSF): the names of its pages, read from the chunks of its directory. Their content is compressed in
//! a way that nothing else uses and stays closed.

use super::super::bytes::{slice, u32_at};
use super::super::report::{Found, Report};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::name::Name;

const CHUNKS: usize = 2000;

pub fn is_help(object: &Object<'_>) -> bool {
    object.data.starts_with(b"ITSF")
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let mut names: Vec<String> = Vec::new();
    for at in memchr::memmem::find_iter(&object.data, b"PMGL").take(CHUNKS) {
        // Free space at the end of the chunk of 4,096 octets.
        let free = u32_at(&object.data, at + 4).unwrap_or(0).min(4096);
        chunk(slice(&object.data, at + 20, 4096 - 20 - free.min(4076)), &mut names);
    }
    report.unknown("link.help-file", format!("is compiled help of {} files, which run as programs do", names.len()));
    if let Some(program) = names.iter().find(|n| Name::read(n).is_active()) {
        report.say("office.package-program", format!("holds {program:?}"));
    }
    let list = names.join("\n");
    if budget.take(list.len()) { vec![Found::text("names", list)] } else { Vec::new() }
}

/// Entries: length, name, then three numbers of seven bits an octet.
fn chunk(data: &[u8], names: &mut Vec<String>) {
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
        if number(&mut at).and(number(&mut at)).and(number(&mut at)).is_none() || names.len() > 10_000 {
            break;
        }
        if !name.starts_with("::") && !name.ends_with('/') {
            names.push(name);
        }
    }
}
