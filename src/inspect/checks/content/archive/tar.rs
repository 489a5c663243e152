//! tar (POSIX ustar, pax). Two readings of a size are both taken: the entry holds the longer one, and the search for
//! the next header begins after the shorter one, so that nothing hides between them (THREATS Z-06).

use super::super::Object;
use super::bytes::text;
use super::{Budget, Member, Report};

const BLOCK: usize = 512;

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    let (mut members, mut at) = (Vec::new(), 0_usize);
    let (mut pax_size, mut pax_name): (Option<usize>, Option<String>) = (None, None);
    while let Some(header) = at.checked_add(BLOCK).and_then(|end| data.get(at..end)) {
        at += BLOCK;
        let Some(entry) = Entry::read(header) else { continue };
        let body = data.get(at..).unwrap_or_default();
        let content = |size: usize| body.get(..size.min(body.len())).unwrap_or_default();
        match entry.kind {
            b'x' | b'g' => {
                let text = String::from_utf8_lossy(content(entry.size.min(1 << 16))).into_owned();
                pax_size = pax(&text, "size").and_then(|v| v.parse().ok());
                pax_name = pax(&text, "path").map(str::to_owned);
                at = at.saturating_add(rounded(entry.size));
                continue;
            }
            b'L' => {
                let text = String::from_utf8_lossy(content(entry.size.min(1 << 16)));
                pax_name = Some(text.trim_end_matches('\0').to_owned());
                at = at.saturating_add(rounded(entry.size));
                continue;
            }
            b'1' | b'2' => report.say("archive.link", &format!("{:?} is a link to {:?}", entry.name, entry.link)),
            _ => {}
        }
        let name = pax_name.take().unwrap_or(entry.name);
        let other = pax_size.take().unwrap_or(entry.size);
        if other != entry.size {
            report.say("archive.inconsistent", "two sizes of one tar entry");
        }
        report.check_name(&name);
        let long = content(entry.size.max(other));
        if !long.is_empty() {
            if !budget.take(long.len()) {
                report.stopped(super::Stop::Full, &name);
                return members;
            }
            members.push(Member { name, data: long.to_vec() });
        }
        at = at.saturating_add(rounded(entry.size.min(other)));
    }
    members
}

struct Entry {
    name: String,
    size: usize,
    kind: u8,
    link: String,
}

impl Entry {
    /// `None` when the block is no header: its checksum is wrong.
    fn read(header: &[u8]) -> Option<Self> {
        let sum = octal(header.get(148..156)?)?;
        let blank = header.get(148..156)?.iter().map(|b| usize::from(*b)).sum::<usize>();
        let all = header.iter().map(|b| usize::from(*b)).sum::<usize>();
        if all.checked_sub(blank)? + 8 * usize::from(b' ') != sum {
            return None;
        }
        Some(Self {
            name: text(header.get(..100)?),
            size: octal(header.get(124..136)?)?,
            kind: *header.get(156)?,
            link: text(header.get(157..257)?),
        })
    }
}

fn octal(field: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if digits.is_empty() { Some(0) } else { usize::from_str_radix(digits, 8).ok() }
}

fn rounded(size: usize) -> usize {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// `key=value` of a pax record.
fn pax<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.split_once(' ')?.1.split_once('=').filter(|(k, _)| *k == key).map(|(_, v)| v))
}
