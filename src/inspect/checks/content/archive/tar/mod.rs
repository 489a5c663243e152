//! tar: v7, POSIX ustar, pax, GNU. Two readings of a size are both taken: the entry holds the longer one, and the search
//! for the next header begins after the shorter one, so that nothing hides between them (THREATS Z-06).

mod pax;
mod sparse;

use super::super::Object;
use super::bytes::{from, piece, text, upto};
use super::{Budget, Member, Report, Stop};
use pax::Pax;

const BLOCK: usize = 512;
/// Octets of a pax or GNU header's content.
const EXTENDED: usize = 1 << 20;

/// Whether a header begins `data`: its checksum is right, and its name is text.
pub(in super::super) fn is_tar(data: &[u8]) -> bool {
    let Some(header) = data.get(..BLOCK) else { return false };
    let named = header.first().is_some_and(|b| *b > b' ');
    named && Entry::read(header).is_some_and(|e| matches!(e.kind, 0 | b'0'..=b'7' | b'A'..=b'Z' | b'x' | b'g'))
}

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &*object.data;
    let (mut members, mut at) = (Vec::new(), 0_usize);
    let mut pax = Pax::default();
    while let Some(header) = piece(data, at, BLOCK) {
        at += BLOCK;
        let Some(entry) = Entry::read(header) else { continue };
        let body = from(data, at);
        let content = upto(body, 0, entry.size);
        match entry.kind {
            b'x' | b'g' => {
                pax.read(upto(content, 0, EXTENDED), entry.kind == b'g');
                at = at.saturating_add(rounded(entry.size));
                continue;
            }
            b'L' | b'K' => {
                if entry.kind == b'L' {
                    pax.name = Some(text(upto(content, 0, EXTENDED)));
                }
                at = at.saturating_add(rounded(entry.size));
                continue;
            }
            b'1' | b'2' => report.say("archive.link", &format!("{:?} is a link to {:?}", entry.name, entry.link)),
            _ => {}
        }
        let Pax { name, size, sparse, .. } = pax.take();
        let name = name.unwrap_or(entry.name);
        let other = size.unwrap_or(entry.size);
        if other != entry.size && size.is_some() && entry.size != 0 {
            report.say("archive.inconsistent", "two sizes of one tar entry");
        }
        report.check_name(&name);
        let map = if entry.kind == b'S' { sparse::gnu(header, body) } else { sparse };
        let long = upto(body, 0, entry.size.max(other).saturating_add(map.as_ref().map_or(0, |m| m.lead)));
        if !long.is_empty() {
            let (data, stop) = match &map {
                Some(map) => map.expand(long, budget),
                None => budget.copy(long),
            };
            members.push(Member { name, data });
            if report.stopped(stop, "entry") {
                return members;
            }
        } else if !matches!(entry.kind, b'1' | b'2' | b'5') {
            if !budget.take(0) {
                report.stopped(Stop::Full, &name);
                return members;
            }
            members.push(Member { name, data: Vec::new() });
        }
        // What pax says of a size holds where the header says nothing.
        let shorter = if entry.size == 0 { other } else { entry.size.min(other) };
        at = at.saturating_add(rounded(shorter)).saturating_add(map.as_ref().map_or(0, |m| m.lead));
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
        let sum = number(header.get(148..156)?)?;
        let blank = header.get(148..156)?.iter().map(|b| usize::from(*b)).sum::<usize>();
        let all = header.iter().map(|b| usize::from(*b)).sum::<usize>();
        // Some old programs added signed octets.
        let signed = |field: &[u8]| field.iter().map(|b| i64::from(b.cast_signed())).sum::<i64>();
        let other = signed(header) - signed(header.get(148..156)?) + 8 * i64::from(b' ');
        if all.checked_sub(blank)? + 8 * usize::from(b' ') != sum && usize::try_from(other).ok() != Some(sum) {
            return None;
        }
        let mut name = text(header.get(..100)?);
        // POSIX ustar: folders in front. GNU keeps times there.
        if header.get(257..263) == Some(b"ustar\0") {
            let prefix = text(header.get(345..500)?);
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        Some(Self {
            name,
            size: number(header.get(124..136)?)?,
            kind: *header.get(156)?,
            link: text(header.get(157..257)?),
        })
    }
}

/// Octal digits, or GNU's binary number behind a high bit.
fn number(field: &[u8]) -> Option<usize> {
    if let Some((0x80, rest)) = field.split_first() {
        return rest.iter().try_fold(0_usize, |sum, b| Some(sum.checked_mul(256)? | usize::from(*b)));
    }
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let digits = std::str::from_utf8(field.get(..end)?).ok()?.trim_matches(' ');
    if digits.is_empty() { Some(0) } else { usize::from_str_radix(digits, 8).ok() }
}

fn rounded(size: usize) -> usize {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}
